//! The gradient of the weights: for each pair of channels and each tap, the product of the output
//! gradient with the shifted input, summed over positions.
//!
//! Vectors run along positions: a tile of output channels by (input channel, tap) pairs keeps vectors
//! of partial sums in registers for a whole band. The input lies as for the forward pass (see
//! [`shifted`](super::shifted)), the output gradient in rows of the same length with zeros at the end.

use rayon::prelude::*;

use super::axis::Axis;
use super::band::{self, Band, Layout};
use super::lanes::{Element, LaneKernel, Lanes};
use super::shifted::Room;

/// Output channels of a tile.
const ROWS: usize = 4;
/// Input channel and tap pairs of a tile with thirty-two registers, and with sixteen.
const WIDE: usize = 6;
const NARROW: usize = 3;
/// Bytes of the copies of a band of the input, and of the output gradient.
const BAND_BYTES: usize = 1 << 18;
/// Channels a band is made for: few, so that it is long enough for the final sums over lanes not to
/// matter, but enough that the copy of the output gradient, made anew for each, does not matter either.
const BAND_CHANNELS: usize = 8;
const BAND_PAIRS: usize = 64;

/// Sizes of one group.
pub(super) struct Correlation {
    /// From input to output.
    pub(super) axes: [Axis; 3],
    pub(super) kernel: [usize; 3],
    pub(super) batch: usize,
    pub(super) groups: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

/// What one thread does: some output channels of a group over some images and bands.
struct Task {
    group: usize,
    outputs: std::ops::Range<usize>,
    spans: std::ops::Range<usize>,
}

/// Where the two operands of a plane begin.
type Plane = (usize, usize);

impl Correlation {
    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Slots and shifts of every tap, in the order of the kernel.
    fn places(&self) -> Vec<([usize; 3], [usize; 3])> {
        let [z, y, x] = &self.axes;
        let mut places = Vec::with_capacity(self.taps());
        for z in &z.taps[0] {
            for y in &y.taps[0] {
                for x in &x.taps[0] {
                    places.push(([z.slot, y.slot, x.slot], [z.shift, y.shift, x.shift]));
                }
            }
        }
        places
    }

    /// Sets `dw [groups, outputs, inputs, taps]` from `x [batch, groups, inputs, ..]` and
    /// `dy [batch, groups, outputs, ..]`.
    pub(super) fn run<E: Element>(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let area = self.outputs * self.inputs * self.taps();
        assert_eq!(dw.len(), self.groups * area, "one gradient per weight");
        let channels = self.inputs.min(BAND_CHANNELS.max(BAND_PAIRS / self.taps()));
        let bands = band::bands(&self.axes, channels, BAND_BYTES / size_of::<E>());
        let spans = self.batch * bands.len();
        // Output channels are shared first, since that costs no memory; then images and bands.
        let needed = rayon::current_num_threads().div_ceil(self.groups);
        let by_output = needed.min(self.outputs / (2 * ROWS)).max(1);
        let chunks = needed.div_ceil(by_output).min(spans);
        let mut tasks = Vec::new();
        for group in 0..self.groups {
            for part in 0..by_output {
                let cut = |p: usize| (p * self.outputs / by_output).next_multiple_of(ROWS);
                let outputs = cut(part).min(self.outputs)..cut(part + 1).min(self.outputs);
                for chunk in 0..chunks {
                    let spans = chunk * spans / chunks..(chunk + 1) * spans / chunks;
                    tasks.push(Task { group, outputs: outputs.clone(), spans });
                }
            }
        }
        let places = self.places();
        let sums: Vec<Vec<f32>> =
            tasks.par_iter().map(|task| self.task::<E>(task, &bands, &places, x, dy)).collect();
        // In a fixed order, so that the sum does not depend on which thread was first.
        for (task, sum) in tasks.iter().zip(&sums) {
            let row = self.inputs * self.taps();
            let start = task.group * area + task.outputs.start * row;
            let out = &mut dw[start..start + sum.len()];
            if task.spans.start == 0 {
                out.copy_from_slice(sum);
            } else {
                out.iter_mut().zip(sum).for_each(|(o, s)| *o += s);
            }
        }
    }

    fn task<E: Element>(
        &self,
        task: &Task,
        bands: &[Band],
        places: &[([usize; 3], [usize; 3])],
        x: &[f32],
        dy: &[f32],
    ) -> Vec<f32> {
        let row = self.inputs * self.taps();
        let mut sums = vec![0.0; task.outputs.len() * row];
        let in_volume: usize = self.axes.iter().map(|a| a.source).product();
        let out_volume: usize = self.axes.iter().map(|a| a.target).product();
        let (mut room, mut gradient) = (Room::<E>::default(), Gradient::<E>::default());
        for span in task.spans.clone() {
            let (image, band) = (span / bands.len(), bands[span % bands.len()]);
            let plane = image * self.groups + task.group;
            let layout = Layout::new(&self.axes, band.count);
            let at_once = (BAND_BYTES / size_of::<E>() / layout.channel).max(1);
            let gradient_channel = Gradient::<E>::channel(layout.columns, band);
            let rows_at_once = (BAND_BYTES / size_of::<E>() / gradient_channel).max(ROWS);
            let rows_at_once = rows_at_once / ROWS * ROWS;
            let offsets: Vec<usize> =
                places.iter().map(|&(slot, shift)| layout.offset(slot, shift)).collect();
            for first in (0..self.inputs).step_by(at_once) {
                let count = at_once.min(self.inputs - first);
                let start = (plane * self.inputs + first) * in_volume;
                let volumes = &x[start..start + count * in_volume];
                room.fill(&self.axes, &layout, band, volumes, in_volume);
                for output in task.outputs.clone().step_by(rows_at_once) {
                    let rows = rows_at_once.min(task.outputs.end - output);
                    let start = (plane * self.outputs + output) * out_volume;
                    let volumes = &dy[start..start + rows * out_volume];
                    gradient.fill(&self.axes, layout.columns, band, volumes, out_volume);
                    let planes: Vec<Plane> = (0..band.count[0])
                        .map(|z| (z * gradient.plane, z * layout.plane()))
                        .collect();
                    let from = (output - task.outputs.start) * row + first * self.taps();
                    E::run(Tiles {
                        planes: &planes,
                        run: gradient.plane,
                        gradient: &gradient.values,
                        gradient_channel: gradient.channel,
                        source: &room.items,
                        source_channel: layout.channel,
                        rows,
                        columns: count * self.taps(),
                        offsets: &offsets,
                        sums: &mut sums[from..],
                        sums_row: row,
                    });
                }
            }
        }
        sums
    }
}

/// The output gradient of a band in rows as long as those of the input, zeros past its values.
#[derive(Default)]
struct Gradient<E> {
    values: Vec<E>,
    between: Vec<f32>,
    /// Distance of planes, whole vectors.
    plane: usize,
    /// Distance of channels.
    channel: usize,
}

impl<E: Element> Gradient<E> {
    fn plane(columns: usize, band: Band) -> usize {
        ((band.count[1] - 1) * columns + band.count[2]).next_multiple_of(32)
    }

    fn channel(columns: usize, band: Band) -> usize {
        // An odd number of cache lines, so that channels do not fall on the same cache set.
        ((band.count[0] * Self::plane(columns, band) / 16) | 1) * 16
    }

    fn fill(
        &mut self,
        axes: &[Axis; 3],
        columns: usize,
        band: Band,
        volumes: &[f32],
        volume: usize,
    ) {
        self.plane = Self::plane(columns, band);
        self.channel = Self::channel(columns, band);
        self.values.resize(volumes.len() / volume * self.channel, E::default());
        let channels = self.values.chunks_exact_mut(self.channel);
        for (out, volume) in channels.zip(volumes.chunks_exact(volume)) {
            let plane = self.plane;
            E::lay_out([Some(volume), None], &mut self.between, out, |volume, out| {
                pad_rows(axes, columns, band, plane, volume, out);
            });
        }
    }
}

/// Rows of one channel of the output gradient, zeros behind each.
fn pad_rows(
    axes: &[Axis; 3],
    columns: usize,
    band: Band,
    plane: usize,
    volume: &[f32],
    out: &mut [f32],
) {
    let [_, height, width] = [axes[0].target, axes[1].target, axes[2].target];
    let [z0, y0, x0] = band.start;
    let planes = out.chunks_exact_mut(plane).take(band.count[0]);
    for (z, plane) in planes.enumerate() {
        for (y, row) in plane.chunks_mut(columns).enumerate() {
            let count = if y < band.count[1] { band.count[2] } else { 0 };
            if count > 0 {
                let from = ((z0 + z) * height + y0 + y) * width + x0;
                row[..count].copy_from_slice(&volume[from..from + count]);
            }
            row[count..].fill(0.0);
        }
    }
}

/// All tiles of a band.
struct Tiles<'a, I> {
    planes: &'a [Plane],
    /// Items of a plane, whole vectors.
    run: usize,
    gradient: &'a [I],
    gradient_channel: usize,
    source: &'a [I],
    source_channel: usize,
    rows: usize,
    columns: usize,
    /// Distance of every tap.
    offsets: &'a [usize],
    sums: &'a mut [f32],
    sums_row: usize,
}

impl<I: Copy> LaneKernel<I> for Tiles<'_, I> {
    #[inline(always)]
    fn run<L: Lanes<Item = I>>(self) {
        let columns = if L::REGISTERS >= 32 { WIDE } else { NARROW };
        let taps = self.offsets.len();
        let furthest = (self.columns - 1) / taps * self.source_channel
            + self.offsets.iter().max().copied().unwrap_or(0);
        assert!(
            self.run.is_multiple_of(L::ITEMS)
                && self.planes.iter().all(|&(gradient, source)| {
                    (self.rows - 1) * self.gradient_channel + gradient + self.run
                        <= self.gradient.len()
                        && furthest + source + self.run <= self.source.len()
                }),
            "a tile must lie inside its slices",
        );
        let tiles = self.rows.div_ceil(ROWS);
        let per_tile = self.rows.div_ceil(tiles);
        let mut row = 0;
        while row < self.rows {
            let rows = per_tile.min(self.rows - row);
            for column in (0..self.columns).step_by(columns) {
                let used = columns.min(self.columns - column);
                // Past the last pair, the last one is computed again.
                let starts: [usize; WIDE] = std::array::from_fn(|j| {
                    let pair = column + j.min(used - 1);
                    pair / taps * self.source_channel + self.offsets[pair % taps]
                });
                let mut totals = [[0.0; WIDE]; ROWS];
                // SAFETY: the assertion above shows that all reads lie inside; the instruction set is
                // there because this runs inside `Element::run`.
                #[allow(unsafe_code)]
                unsafe {
                    if L::REGISTERS >= 32 {
                        match rows {
                            1 => self.tile::<L, 1, WIDE>(row, &starts, &mut totals),
                            2 => self.tile::<L, 2, WIDE>(row, &starts, &mut totals),
                            3 => self.tile::<L, 3, WIDE>(row, &starts, &mut totals),
                            _ => self.tile::<L, ROWS, WIDE>(row, &starts, &mut totals),
                        }
                    } else {
                        match rows {
                            1 => self.tile::<L, 1, NARROW>(row, &starts, &mut totals),
                            2 => self.tile::<L, 2, NARROW>(row, &starts, &mut totals),
                            3 => self.tile::<L, 3, NARROW>(row, &starts, &mut totals),
                            _ => self.tile::<L, ROWS, NARROW>(row, &starts, &mut totals),
                        }
                    }
                }
                for (r, totals) in totals.iter().take(rows).enumerate() {
                    let at = (row + r) * self.sums_row + column;
                    let sums = &mut self.sums[at..at + used];
                    sums.iter_mut().zip(totals).for_each(|(s, t)| *s += t);
                }
            }
            row += rows;
        }
    }
}

impl<I: Copy> Tiles<'_, I> {
    /// # Safety
    /// As asserted in `run`; `row + R` must not be larger than `rows`.
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn tile<L: Lanes<Item = I>, const R: usize, const C: usize>(
        &self,
        row: usize,
        starts: &[usize; WIDE],
        totals: &mut [[f32; WIDE]; ROWS],
    ) {
        // SAFETY: see `run`.
        unsafe {
            let mut sums: [[L::Sum; C]; R] = [[L::start(0.0); C]; R];
            for &(gradient, source) in self.planes {
                let rows: [*const I; R] = std::array::from_fn(|r| {
                    self.gradient.as_ptr().add((row + r) * self.gradient_channel + gradient)
                });
                let columns: [*const I; C] =
                    std::array::from_fn(|c| self.source.as_ptr().add(starts[c] + source));
                let mut i = 0;
                while i < self.run {
                    let left: [L::Operand; R] = std::array::from_fn(|r| L::load(rows[r].add(i)));
                    for c in 0..C {
                        let right = L::load(columns[c].add(i));
                        for r in 0..R {
                            sums[r][c] = L::add_product(left[r], right, sums[r][c]);
                        }
                    }
                    i += L::ITEMS;
                }
            }
            for r in 0..R {
                for c in 0..C {
                    totals[r][c] = L::total(sums[r][c]);
                }
            }
        }
    }
}
