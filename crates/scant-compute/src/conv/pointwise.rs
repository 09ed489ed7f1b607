//! Convolutions with a single tap and nothing else: matrix products of channels, on the images as
//! they lie.

use std::mem::MaybeUninit;

use gemm::Parallelism;
use rayon::prelude::*;

use super::product::Shared;

/// Most pixels of a part: enough for the products to run at full speed, few enough to share.
const PART: usize = 4096;

/// Sizes of a pointwise convolution of one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointwise {
    pub(super) batch: usize,
    pub(super) groups: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) pixels: usize,
}

/// A strided view that `gemm` reads.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

impl Pointwise {
    /// `target [targets, pixels] = weight [targets, sources] x source [sources, pixels]`, for each
    /// image and group; `transposed` swaps the axes of the weight and the roles of the channels. Writes
    /// every value of the target.
    pub(super) fn product(
        &self,
        transposed: bool,
        source: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        shared: Shared,
    ) {
        let Self { batch, groups, inputs, outputs, pixels } = *self;
        let (sources, targets) = if transposed { (outputs, inputs) } else { (inputs, outputs) };
        assert_eq!(source.len(), batch * groups * sources * pixels, "source");
        let threads = rayon::current_num_threads();
        let share = pixels.div_ceil(threads.div_ceil(batch * groups)).next_multiple_of(64);
        let part = share.min(PART).min(pixels);
        let parts = pixels.div_ceil(part);
        (0..batch * groups * parts).into_par_iter().for_each(|task| {
            let (plane, first) = (task / parts, task % parts * part);
            let n = part.min(pixels - first);
            let group = plane % groups;
            let start = plane * targets * pixels + first;
            if let Some(bias) = bias {
                for (o, &b) in bias[group * targets..(group + 1) * targets].iter().enumerate() {
                    // SAFETY: pixels of this task alone; the slice ends here.
                    #[allow(unsafe_code)]
                    unsafe { shared.part(start + o * pixels, n) }.fill(MaybeUninit::new(b));
                }
            }
            let weight = &weight[group * inputs * outputs..(group + 1) * inputs * outputs];
            let (row, column) = if transposed { (1, inputs) } else { (inputs, 1) };
            let left = Matrix { values: weight, row, column };
            let values = &source[plane * sources * pixels + first..];
            let right = Matrix { values, row: pixels, column: 1 };
            let out = Target { shared, start, row: pixels, add: bias.is_some() };
            multiply([targets, n, sources], left, right, out);
        });
    }

    /// Sets `dw [groups, outputs, inputs]`.
    pub(super) fn weight_gradient(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let Self { batch, groups, inputs, outputs, pixels } = *self;
        assert_eq!(x.len(), batch * groups * inputs * pixels, "x");
        assert_eq!(dy.len(), batch * groups * outputs * pixels, "dy");
        let area = inputs * outputs;
        assert_eq!(dw.len(), groups * area, "dw");
        let threads = rayon::current_num_threads();
        // Each image in as many parts as it takes to keep all threads busy.
        let parts = threads.div_ceil(batch * groups).min(pixels.div_ceil(256));
        let part = pixels.div_ceil(parts);
        let chunks = threads.min(batch * parts);
        let sums: Vec<Vec<f32>> = (0..groups * chunks)
            .into_par_iter()
            .map(|task| {
                let (group, chunk) = (task / chunks, task % chunks);
                let mut sum = vec![0.0; area];
                let mut add = false;
                for t in chunk * batch * parts / chunks..(chunk + 1) * batch * parts / chunks {
                    let (image, first) = (t / parts, t % parts * part);
                    if first >= pixels {
                        continue;
                    }
                    let plane = image * groups + group;
                    let left = &dy[plane * outputs * pixels + first..];
                    let left = Matrix { values: left, row: pixels, column: 1 };
                    let right = &x[plane * inputs * pixels + first..];
                    let right = Matrix { values: right, row: 1, column: pixels };
                    let n = part.min(pixels - first);
                    let out = Target { shared: Shared::new(&mut sum), start: 0, row: inputs, add };
                    multiply([outputs, inputs, n], left, right, out);
                    add = true;
                }
                sum
            })
            .collect();
        for (dw, sums) in dw.chunks_exact_mut(area).zip(sums.chunks_exact(chunks)) {
            dw.copy_from_slice(&sums[0]);
            for sum in &sums[1..] {
                dw.iter_mut().zip(sum).for_each(|(d, s)| *d += s);
            }
        }
    }
}

/// Where a product goes; columns lie next to each other.
#[derive(Clone, Copy)]
struct Target {
    shared: Shared,
    start: usize,
    row: usize,
    add: bool,
}

/// `left [m, k] x right [k, n]`, added to the target or replacing it.
#[allow(unsafe_code)]
fn multiply([m, n, k]: [usize; 3], left: Matrix<'_>, right: Matrix<'_>, target: Target) {
    let inside = |v: &Matrix<'_>, rows: usize, columns: usize| {
        (rows - 1) * v.row + (columns - 1) * v.column < v.values.len()
    };
    assert!(m > 0 && n > 0 && k > 0, "a convolution has at least one channel and one pixel");
    assert!(inside(&left, m, k), "the left matrix reaches past its slice");
    assert!(inside(&right, k, n), "the right matrix reaches past its slice");
    assert!(m == 1 || target.row >= n, "rows of the result would overlap");
    let out = target.shared.pointer(target.start, (m - 1) * target.row + n);
    let stride = |v: usize| isize::try_from(v).expect("strides fit in an isize");
    // SAFETY: the assertions above show that all reads and writes lie inside their slices; the rows of
    // the result do not overlap, and belong to the calling task alone.
    unsafe {
        gemm::gemm::<f32>(
            m,
            n,
            k,
            out,
            1,
            stride(target.row),
            target.add,
            left.values.as_ptr(),
            stride(left.column),
            stride(left.row),
            right.values.as_ptr(),
            stride(right.column),
            stride(right.row),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
