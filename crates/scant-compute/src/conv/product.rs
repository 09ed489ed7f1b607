//! The innermost loops: a tile of target channels by neighbouring positions stays in registers while
//! all source channels and taps go by.

use std::mem::MaybeUninit;

use super::lanes::Lanes;

/// Most target channels of a tile.
pub(crate) const MAX_ROWS: usize = 8;
/// Vectors of positions of a tile, and of a tile of one or two channels: enough sums in flight to hide
/// how long a multiplication takes.
const VECTORS: usize = 3;
const FLAT_VECTORS: usize = 6;
/// Most positions of a tile.
pub(crate) const WIDTH: usize = FLAT_VECTORS * crate::simd::MAX_LANES;

/// Vectors of the next tile, of `left` that remain.
#[inline(always)]
pub(crate) fn vectors(rows: usize, left: usize) -> usize {
    if rows <= 2 && left >= FLAT_VECTORS { FLAT_VECTORS } else { left.min(VECTORS) }
}

/// Memory that several threads write at different places; nothing reads it before.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    start: *mut f32,
    len: usize,
}

// SAFETY: only an address; every write through it says why it is alone at its place.
#[allow(unsafe_code)]
unsafe impl Send for Shared {}
#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(values: &mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len() }
    }

    /// The vector of `len` values that `write` sets.
    ///
    /// # Safety
    /// `write` must set every one of them.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn written(len: usize, write: impl FnOnce(Self)) -> Vec<f32> {
        let mut values: Vec<f32> = Vec::with_capacity(len);
        write(Self { start: values.as_mut_ptr(), len });
        // SAFETY: the contract above.
        unsafe {
            values.set_len(len);
        }
        values
    }

    /// Where `count` values from `at` on begin.
    #[inline(always)]
    pub(crate) fn pointer(self, at: usize, count: usize) -> *mut f32 {
        assert!(at + count <= self.len, "a part must lie inside");
        self.start.wrapping_add(at)
    }

    /// `count` values from `at` on.
    ///
    /// # Safety
    /// No other reference to these values may be alive, on any thread, and the slice must outlive it.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(crate) unsafe fn part<'a>(self, at: usize, count: usize) -> &'a mut [MaybeUninit<f32>] {
        // SAFETY: inside, by the assertion of `pointer`; alone, by the contract above.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(at, count).cast(), count) }
    }
}

/// A tile: rows of weights times shifted vectors of the source.
pub(crate) struct Product<'a, I> {
    pub(crate) items: usize,
    /// Distance of items.
    pub(crate) item: usize,
    /// Distance of each tap.
    pub(crate) offsets: &'a [usize],
    /// At least the largest of them.
    pub(crate) furthest: usize,
    pub(crate) source: &'a [I],
    /// `[item, tap, row]`
    pub(crate) weights: &'a [I],
    /// Distance of items in the weights.
    pub(crate) weight_item: usize,
    /// Where the sum of each row starts.
    pub(crate) bias: [f32; MAX_ROWS],
}

impl<I: Copy> Product<'_, I> {
    /// # Safety
    /// `out` must be valid for writes of `vectors` vectors at each of `rows` distances `out_row`.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(crate) unsafe fn run<L: Lanes<Item = I>>(
        &self,
        rows: usize,
        vectors: usize,
        out: *mut f32,
        out_row: usize,
    ) {
        assert!(
            (self.items - 1) * self.item + self.furthest + vectors * L::ITEMS <= self.source.len()
                && (self.items - 1) * self.weight_item + rows * self.offsets.len()
                    <= self.weights.len(),
            "a tile must lie inside its slices",
        );
        macro_rules! tile {
            ($rows:literal $(, $flat:ident)?) => {
                // SAFETY: the assertion above shows that all reads lie inside, the contract that all
                // writes do; the instruction set is there because this runs inside `Element::run`.
                unsafe {
                    match vectors {
                        $($flat => self.tile::<L, $rows, $flat>(out, out_row),)?
                        1 => self.tile::<L, $rows, 1>(out, out_row),
                        2 => self.tile::<L, $rows, 2>(out, out_row),
                        _ => self.tile::<L, $rows, VECTORS>(out, out_row),
                    }
                }
            };
        }
        // With sixteen registers, tiles have four rows at most: see `Rows`.
        if L::REGISTERS >= 32 {
            match rows {
                5 => tile!(5),
                6 => tile!(6),
                7 => tile!(7),
                8 => tile!(8),
                _ => {}
            }
        }
        match rows {
            1 => tile!(1, FLAT_VECTORS),
            2 => tile!(2, FLAT_VECTORS),
            3 => tile!(3),
            4 => tile!(4),
            _ => {}
        }
    }

    /// # Safety
    /// As asserted in [`run`](Product::run).
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn tile<L: Lanes<Item = I>, const ROWS: usize, const VECTORS: usize>(
        &self,
        out: *mut f32,
        out_row: usize,
    ) {
        // SAFETY: see `run`.
        unsafe {
            let mut sums: [[L::Sum; VECTORS]; ROWS] =
                std::array::from_fn(|r| [L::start(self.bias[r]); VECTORS]);
            let mut weights = self.weights.as_ptr();
            let mut source = self.source.as_ptr();
            for _ in 0..self.items {
                let mut weight = weights;
                for &offset in self.offsets {
                    let at = source.add(offset);
                    let values: [L::Operand; VECTORS] =
                        std::array::from_fn(|v| L::load(at.add(v * L::ITEMS)));
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let w = L::splat(*weight.add(r));
                        for (sum, value) in sums.iter_mut().zip(values) {
                            *sum = L::add_product(w, value, *sum);
                        }
                    }
                    weight = weight.add(ROWS);
                }
                weights = weights.wrapping_add(self.weight_item);
                source = source.wrapping_add(self.item);
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    L::store(out.add(r * out_row + v * L::ITEMS), sum);
                }
            }
        }
    }
}
