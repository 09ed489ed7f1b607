//! Convolutions and their input gradients as sums of shifted products, band by band.
//!
//! A band of the source is copied once into a layout with zeros around and the phases of a stride
//! apart; every tap is then the same copy at another offset, so that the products read it directly
//! and no column matrix is ever built. The copy fits into a core's second-level cache.

use rayon::prelude::*;

use super::axis::Axis;
use super::band::{self, Band, Layout};
use super::lanes::Element;
use super::product::Shared;
use super::tile::{Rows, Sweep};
use crate::simd;

/// Bytes of the copy of a band: less than half of a second-level cache of 1 MiB.
const BAND_BYTES: usize = 3 << 17;

/// Weights seen from source to target; distances in values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) values: &'a [f32],
    pub(super) group: usize,
    pub(super) target: usize,
    pub(super) source: usize,
}

/// A convolution whose stride lies in its [axes](Axis). Channels are those of one group.
pub(super) struct Shifted<'a> {
    pub(super) axes: [Axis; 3],
    pub(super) kernel: [usize; 3],
    pub(super) batch: usize,
    pub(super) groups: usize,
    pub(super) sources: usize,
    pub(super) targets: usize,
    pub(super) weights: Weights<'a>,
    pub(super) bias: Option<&'a [f32]>,
}

/// The taps of one phase of the target: index into the kernel, slots and shifts.
struct Phase(Vec<(usize, [usize; 3], [usize; 3])>);

impl Shifted<'_> {
    fn source_volume(&self) -> usize {
        self.axes.iter().map(|a| a.source).product()
    }

    fn target_volume(&self) -> usize {
        self.axes.iter().map(|a| a.target).product()
    }

    /// In the order z, y, x, the last fastest.
    fn phases(&self) -> Vec<Phase> {
        let [az, ay, ax] = &self.axes;
        let mut phases = Vec::new();
        for z_taps in &az.taps {
            for y_taps in &ay.taps {
                for x_taps in &ax.taps {
                    let mut taps = Vec::new();
                    for z in z_taps {
                        for y in y_taps {
                            for x in x_taps {
                                let [_, height, width] = self.kernel;
                                taps.push((
                                    (z.index * height + y.index) * width + x.index,
                                    [z.slot, y.slot, x.slot],
                                    [z.shift, y.shift, x.shift],
                                ));
                            }
                        }
                    }
                    phases.push(Phase(taps));
                }
            }
        }
        phases
    }

    /// Weights as the tiles read them: `[group, phase, tile, item, tap, row of tile]`.
    fn pack<E: Element>(&self, phases: &[Phase], rows: Rows) -> Vec<E> {
        let items = self.sources.div_ceil(E::CHANNELS);
        let per_phase = |p: &Phase| self.targets * items * p.0.len();
        let mut packed =
            vec![E::default(); self.groups * phases.iter().map(per_phase).sum::<usize>()];
        let mut parts = Vec::new();
        let mut rest = packed.as_mut_slice();
        for group in 0..self.groups {
            for phase in phases {
                for tile in 0..rows.tiles() {
                    let size = rows.tile(tile).1 * items * phase.0.len();
                    let (part, after) = rest.split_at_mut(size);
                    parts.push((group, phase, tile, part));
                    rest = after;
                }
            }
        }
        parts.into_par_iter().for_each(|(group, phase, tile, part)| {
            let (first, count) = rows.tile(tile);
            let w = &self.weights;
            let start = group * w.group + first * w.target;
            let mut blocks = part.chunks_exact_mut(count);
            for item in 0..items {
                let channel = item * E::CHANNELS;
                let second = E::CHANNELS == 2 && channel + 1 < self.sources;
                for &(tap, ..) in &phase.0 {
                    let from = &w.values[start + channel * w.source + tap..];
                    for (r, out) in blocks.next().into_iter().flatten().enumerate() {
                        let other = if second { from[r * w.target + w.source] } else { 0.0 };
                        *out = E::join([from[r * w.target], other]);
                    }
                }
            }
        });
        packed
    }

    /// Writes every value of the target, which must hold one per target channel and position.
    pub(super) fn run<E: Element>(&self, source: &[f32], shared: Shared) {
        let (source_volume, target_volume) = (self.source_volume(), self.target_volume());
        assert_eq!(source.len(), self.batch * self.groups * self.sources * source_volume, "source");
        let items = self.sources.div_ceil(E::CHANNELS);
        let rows = Rows::new(self.targets);
        let phases = self.phases();
        let packed: Vec<E> = self.pack(&phases, rows);
        let per_group = packed.len() / self.groups;
        let mut starts = vec![0];
        for phase in &phases {
            starts.push(starts[starts.len() - 1] + self.targets * items * phase.0.len());
        }

        let bands = band::bands(&self.axes, items, BAND_BYTES / size_of::<E>());
        let threads = rayon::current_num_threads();
        let whole = self.batch * self.groups * bands.len();
        // Threads that would be idle take their own tiles of a band.
        let shares = (2 * threads).div_ceil(whole).min(rows.tiles());
        let tasks = whole * shares;
        let task = |task: usize, room: &mut Room<E>| {
            let (share, task) = (task % shares, task / shares);
            let (band, task) = (bands[task % bands.len()], task / bands.len());
            let (group, image) = (task % self.groups, task / self.groups);
            let layout = Layout::new(&self.axes, band.count);
            let first = (image * self.groups + group) * self.sources * source_volume;
            let volumes = &source[first..first + self.sources * source_volume];
            room.fill(&self.axes, &layout, band, volumes, source_volume);
            let offsets: Vec<Vec<usize>> = phases
                .iter()
                .map(|p| p.0.iter().map(|&(_, slot, shift)| layout.offset(slot, shift)).collect())
                .collect();
            let furthest = offsets.iter().flatten().max().copied().unwrap_or(0);
            E::run(Sweep {
                axes: &self.axes,
                layout,
                band,
                source: &room.items,
                items,
                packed: &packed[group * per_group..(group + 1) * per_group],
                phases: &starts,
                offsets: &offsets,
                furthest,
                rows,
                tiles: share * rows.tiles() / shares..(share + 1) * rows.tiles() / shares,
                bias: self.bias.map(|b| &b[group * self.targets..(group + 1) * self.targets]),
                target: shared,
                target_start: (image * self.groups + group) * self.targets * target_volume,
            });
        };
        let parts = tasks.min(8 * threads);
        (0..parts).into_par_iter().for_each(|part| {
            let mut room = Room::default();
            for t in part * tasks / parts..(part + 1) * tasks / parts {
                task(t, &mut room);
            }
        });
    }
}

/// The copy of a band, kept for the next one.
#[derive(Default)]
pub(super) struct Room<E> {
    pub(super) items: Vec<E>,
    between: Vec<f32>,
}

impl<E: Element> Room<E> {
    /// Copies the band of every volume.
    pub(super) fn fill(
        &mut self,
        axes: &[Axis; 3],
        layout: &Layout,
        band: Band,
        volumes: &[f32],
        volume: usize,
    ) {
        let channels = volumes.len() / volume;
        self.items.resize(layout.size(channels.div_ceil(E::CHANNELS)), E::default());
        let mut volumes = volumes.chunks_exact(volume);
        for out in self.items.chunks_exact_mut(layout.channel) {
            let first = volumes.next();
            let second = if E::CHANNELS == 2 { volumes.next() } else { None };
            E::lay_out([first, second], &mut self.between, out, |volume, out| {
                simd::vectorise(|| band::fill_channel(axes, layout, band, volume, out));
            });
        }
    }
}
