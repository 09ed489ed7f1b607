//! A band of the source in the layout the tiles read: phases apart, zeros around.

use super::axis::Axis;

/// Values that a tile may read past the last one of interest.
pub(super) const SLACK: usize = 128;

/// A box of target positions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    pub(super) start: [usize; 3],
    pub(super) count: [usize; 3],
}

/// Where things lie in the copy of a band: `[channel, slot z, slot y, slot x, plane, row, column]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    planes: usize,
    rows: usize,
    /// Length of a row, what the taps reach to included.
    pub(super) columns: usize,
    slots: [usize; 3],
    /// Distance of channels.
    pub(super) channel: usize,
}

impl Layout {
    pub(super) fn new(axes: &[Axis; 3], count: [usize; 3]) -> Self {
        let [planes, rows, columns] = std::array::from_fn(|a| count[a] + axes[a].reach);
        let slots: [usize; 3] = std::array::from_fn(|a| axes[a].slots.len());
        let values = slots.iter().product::<usize>() * planes * rows * columns;
        // An odd number of cache lines, so that channels do not fall on the same cache set.
        let channel = (values.div_ceil(16) | 1) * 16;
        Self { planes, rows, columns, slots, channel }
    }

    /// Values of a plane.
    pub(super) fn plane(&self) -> usize {
        self.rows * self.columns
    }

    /// Values to allocate.
    pub(super) fn size(&self, channels: usize) -> usize {
        channels * self.channel + SLACK
    }

    /// Distance of a tap from its target position.
    pub(super) fn offset(&self, slot: [usize; 3], shift: [usize; 3]) -> usize {
        let slot = (slot[0] * self.slots[1] + slot[1]) * self.slots[2] + slot[2];
        ((slot * self.planes + shift[0]) * self.rows + shift[1]) * self.columns + shift[2]
    }
}

/// Fills one channel from its volume `[depth, height, width]`, zeros outside it.
#[inline(always)]
pub(super) fn fill_channel(
    axes: &[Axis; 3],
    layout: &Layout,
    band: Band,
    volume: &[f32],
    out: &mut [f32],
) {
    let [az, ay, ax] = axes;
    let plane_values = ay.source * ax.source;
    let mut planes = out.chunks_exact_mut(layout.plane());
    for slot_z in 0..layout.slots[0] {
        let (z_low, z_high, z_from) = az.inside(slot_z, band.start[0], layout.planes);
        for slot_y in 0..layout.slots[1] {
            for slot_x in 0..layout.slots[2] {
                for (z, plane) in planes.by_ref().take(layout.planes).enumerate() {
                    if z < z_low || z >= z_high {
                        plane.fill(0.0);
                        continue;
                    }
                    let z = z_from + (z - z_low) * az.split;
                    let source = &volume[z * plane_values..(z + 1) * plane_values];
                    fill_plane([ay, ax], [slot_y, slot_x], layout, band, source, plane);
                }
            }
        }
    }
}

#[inline(always)]
fn fill_plane(
    [ay, ax]: [&Axis; 2],
    [slot_y, slot_x]: [usize; 2],
    layout: &Layout,
    band: Band,
    source: &[f32],
    out: &mut [f32],
) {
    let (y_low, y_high, y_from) = ay.inside(slot_y, band.start[1], layout.rows);
    let (low, high, from) = ax.inside(slot_x, band.start[2], layout.columns);
    for (y, row) in out.chunks_exact_mut(layout.columns).enumerate() {
        if y < y_low || y >= y_high {
            row.fill(0.0);
            continue;
        }
        let y = y_from + (y - y_low) * ay.split;
        let line = &source[y * ax.source..(y + 1) * ax.source];
        // Most rows have no zeros, and a call for nothing costs as much as a short row.
        if low > 0 {
            row[..low].fill(0.0);
        }
        if high < row.len() {
            row[high..].fill(0.0);
        }
        take_every(ax.split, &line[from..], &mut row[low..high]);
    }
}

/// `out[i] = line[split · i]`
#[inline(always)]
fn take_every(split: usize, line: &[f32], out: &mut [f32]) {
    match split {
        1 => out.copy_from_slice(&line[..out.len()]),
        2 => {
            let pairs = line.as_chunks::<2>().0;
            let whole = pairs.len().min(out.len());
            for (o, pair) in out[..whole].iter_mut().zip(pairs) {
                *o = pair[0];
            }
            // The last value may have no neighbour.
            for (i, o) in out.iter_mut().enumerate().skip(whole) {
                *o = line[2 * i];
            }
        }
        _ => {
            for (o, v) in out.iter_mut().zip(line.iter().step_by(split)) {
                *o = *v;
            }
        }
    }
}

/// Cuts the target positions into boxes whose copy holds at most `budget` values where that can be:
/// whole rows if possible, then as many rows, then as many planes as fit.
pub(super) fn bands(axes: &[Axis; 3], channels: usize, budget: usize) -> Vec<Band> {
    let all: [usize; 3] = std::array::from_fn(|a| axes[a].positions());
    let fits = |count: [usize; 3]| channels * Layout::new(axes, count).channel <= budget;
    let mut count = [1, 1, all[2]];
    while !fits(count) && count[2] > 96 {
        count[2] = count[2].div_ceil(2).next_multiple_of(48);
    }
    for axis in [1, 0] {
        if axis == 0 && count[1] < all[1] {
            break;
        }
        let grown = |n: usize| {
            let mut wider = count;
            wider[axis] = n;
            wider
        };
        let most = (2..=all[axis]).take_while(|&n| fits(grown(n))).last().unwrap_or(1);
        // Parts of about the same size.
        count[axis] = all[axis].div_ceil(all[axis].div_ceil(most));
    }
    let starts = |a: usize| (0..all[a]).step_by(count[a]);
    let mut bands = Vec::new();
    for z in starts(0) {
        for y in starts(1) {
            for x in starts(2) {
                let start = [z, y, x];
                let count = std::array::from_fn(|a| count[a].min(all[a] - start[a]));
                bands.push(Band { start, count });
            }
        }
    }
    bands
}
