//! One band of a shifted convolution, tile by tile.

use std::mem::MaybeUninit;

use super::axis::Axis;
use super::band::{Band, Layout};
use super::lanes::{LaneKernel, Lanes};
use super::product::{MAX_ROWS, Product, Shared, WIDTH, vectors};

/// Target channels that share a tile: as equal as they can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    channels: usize,
    per_tile: usize,
}

impl Rows {
    pub(super) fn new(channels: usize) -> Self {
        let most = match crate::simd::Level::current() {
            crate::simd::Level::Avx512 => MAX_ROWS,
            _ => MAX_ROWS / 2,
        };
        Self { channels, per_tile: channels.div_ceil(channels.div_ceil(most)) }
    }

    pub(super) fn tiles(&self) -> usize {
        self.channels.div_ceil(self.per_tile)
    }

    /// First channel and number of channels of a tile.
    pub(super) fn tile(&self, tile: usize) -> (usize, usize) {
        let first = tile * self.per_tile;
        (first, self.per_tile.min(self.channels - first))
    }
}

/// One band of one image and group, for some tiles of its target channels.
pub(super) struct Sweep<'a, I> {
    pub(super) axes: &'a [Axis; 3],
    pub(super) layout: Layout,
    pub(super) band: Band,
    /// Copy of the band.
    pub(super) source: &'a [I],
    /// Items of source channels.
    pub(super) items: usize,
    /// Weights of this group: `[phase, tile, item, tap, row of tile]`.
    pub(super) packed: &'a [I],
    /// Where the weights of each phase begin.
    pub(super) phases: &'a [usize],
    /// For each phase of the target, the distances of its taps.
    pub(super) offsets: &'a [Vec<usize>],
    /// The largest of them.
    pub(super) furthest: usize,
    pub(super) rows: Rows,
    pub(super) tiles: std::ops::Range<usize>,
    /// One per target channel of this group.
    pub(super) bias: Option<&'a [f32]>,
    pub(super) target: Shared,
    /// Where the first target channel of this group and image begins.
    pub(super) target_start: usize,
}

impl<I: Copy> LaneKernel<I> for Sweep<'_, I> {
    #[inline(always)]
    fn run<L: Lanes<Item = I>>(self) {
        let [az, ay, ax] = self.axes;
        let mut results = vec![0.0_f32; ax.step * MAX_ROWS * WIDTH];
        for rz in 0..az.step {
            for ry in 0..ay.step {
                for tile in self.tiles.clone() {
                    for z in 0..self.band.count[0] {
                        let target_z = (self.band.start[0] + z) * az.step + rz;
                        if target_z < az.target {
                            self.plane::<L>([rz, ry], tile, z, target_z, &mut results);
                        }
                    }
                }
            }
        }
    }
}

impl<I: Copy> Sweep<'_, I> {
    #[inline(always)]
    fn plane<L: Lanes<Item = I>>(
        &self,
        [rz, ry]: [usize; 2],
        tile: usize,
        z: usize,
        target_z: usize,
        results: &mut [f32],
    ) {
        let [_, ay, ax] = self.axes;
        let (first, rows) = self.rows.tile(tile);
        let mut bias = [0.0; MAX_ROWS];
        if let Some(values) = self.bias {
            bias[..rows].copy_from_slice(&values[first..first + rows]);
        }
        let columns = self.layout.columns;
        let [_, count_y, count_x] = self.band.count;
        let run = (count_y - 1) * columns + count_x;
        let volume = self.axes.iter().map(|a| a.target).product::<usize>();
        let target = Place {
            shared: self.target,
            start: self.target_start + first * volume + target_z * ay.target * ax.target,
            channel: volume,
        };
        let inside = self.axes[0].taps_inside(rz, self.band.start[0] + z);
        let z_taps = self.axes[0].taps[rz].len().max(1);
        // Rows that follow each other in the copy and in the target are as good as one.
        let endless = ay.step == 1 && columns == count_x && count_x == ax.target;
        let mut position = 0;
        while position < run {
            let vectors = vectors(rows, (run - position).div_ceil(L::ITEMS));
            let width = vectors * L::ITEMS;
            let (row, column) = (position / columns, position % columns);
            let target_y = (self.band.start[1] + row) * ay.step + ry;
            let room = if endless { run - position } else { count_x.saturating_sub(column) };
            let whole = ax.step == 1 && width <= room;
            if target_y < ay.target || !whole {
                for rx in 0..ax.step {
                    let phase = (rz * ay.step + ry) * ax.step + rx;
                    let offsets = self.offsets[phase].as_slice();
                    let taps = offsets.len();
                    // Taps of planes that hold only zeros are left out.
                    let used = inside.start * taps / z_taps..inside.end * taps / z_taps;
                    let weights = self.phases[phase] + first * self.items * taps;
                    let weights = &self.packed[weights..weights + rows * self.items * taps];
                    let product = Product {
                        items: self.items,
                        item: self.layout.channel,
                        offsets: &offsets[used.clone()],
                        furthest: self.furthest,
                        source: &self.source[z * self.layout.plane() + position..],
                        weights: &weights[used.start * rows..],
                        weight_item: rows * taps,
                        bias,
                    };
                    let (out, out_row) = if whole {
                        let at = target_y * ax.target + self.band.start[2] + column;
                        let extent = (rows - 1) * volume + width;
                        (target.shared.pointer(target.start + at, extent), volume)
                    } else {
                        (results[rx * MAX_ROWS * WIDTH..][..MAX_ROWS * WIDTH].as_mut_ptr(), WIDTH)
                    };
                    // SAFETY: `out` has room for the tile, by the two lines above; its rows belong to
                    // this band, tile and image alone, which no other sweep writes.
                    #[allow(unsafe_code)]
                    unsafe {
                        product.run::<L>(rows, vectors, out, out_row);
                    }
                }
            }
            if !whole {
                self.emit(results, rows, position, width, ry, target);
            }
            position += width;
        }
    }

    /// Copies a tile that reaches over the end of a row, or whose phases alternate, to its rows.
    #[inline(always)]
    fn emit(
        &self,
        results: &[f32],
        rows: usize,
        position: usize,
        width: usize,
        ry: usize,
        target: Place,
    ) {
        let [_, ay, ax] = self.axes;
        let columns = self.layout.columns;
        let [_, count_y, count_x] = self.band.count;
        let mut done = 0;
        while done < width {
            let (row, column) = ((position + done) / columns, (position + done) % columns);
            let length = (width - done).min(columns - column);
            let used = length.min(count_x.saturating_sub(column));
            let target_y = (self.band.start[1] + row) * ay.step + ry;
            if row < count_y && used > 0 && target_y < ay.target {
                let x = (self.band.start[2] + column) * ax.step;
                let count = (used * ax.step).min(ax.target - x);
                for r in 0..rows {
                    let at = target.start + r * target.channel + target_y * ax.target + x;
                    // SAFETY: a row of this band, tile and image, which no other sweep writes.
                    #[allow(unsafe_code)]
                    let out = unsafe { target.shared.part(at, count) };
                    alternate(ax.step, &results[r * WIDTH + done..], MAX_ROWS * WIDTH, out);
                }
            }
            done += length;
        }
    }
}

/// Where a plane of the first channel of a tile goes.
#[derive(Clone, Copy)]
struct Place {
    shared: Shared,
    start: usize,
    channel: usize,
}

/// `out[step · i + r] = values[r · phase + i]`
#[inline(always)]
fn alternate(step: usize, values: &[f32], phase: usize, out: &mut [MaybeUninit<f32>]) {
    match step {
        1 => {
            // A call of memcpy costs more than these few values.
            for (o, v) in out.iter_mut().zip(values) {
                o.write(*v);
            }
        }
        2 => {
            let (even, odd) = (values, &values[phase..]);
            let (pairs, rest) = out.as_chunks_mut::<2>();
            for ((pair, &e), &o) in pairs.iter_mut().zip(even).zip(odd) {
                *pair = [e, o].map(MaybeUninit::new);
            }
            if let [last] = rest {
                last.write(even[pairs.len()]);
            }
        }
        _ => {
            for (i, o) in out.iter_mut().enumerate() {
                o.write(values[i % step * phase + i / step]);
            }
        }
    }
}
