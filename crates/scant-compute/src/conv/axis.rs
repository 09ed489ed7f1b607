//! One axis of a convolution as a sum over shifted copies.
//!
//! Whatever the stride, padding and dilation, a convolution of one axis reads, for the target at
//! `step · p + r`, values `source[split · (p + shift) + slot - origin]`, one per tap. Forward, `split` is
//! the stride and `step` one; for the input gradient it is the other way round. A source whose `split`
//! phases lie apart, with zeros around, is then read at plain offsets, without any gathering.

/// One tap of the kernel for one phase of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    /// Index into the kernel along this axis.
    pub(super) index: usize,
    /// Which entry of [`Axis::slots`] it reads.
    pub(super) slot: usize,
    /// How far from the target position.
    pub(super) shift: usize,
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// Values of the source.
    pub(super) source: usize,
    /// Values of the target.
    pub(super) target: usize,
    pub(super) split: usize,
    pub(super) origin: isize,
    /// The phases of the source that are read at all.
    pub(super) slots: Vec<usize>,
    pub(super) step: usize,
    /// For each phase of the target.
    pub(super) taps: Vec<Vec<Tap>>,
    /// The largest shift.
    pub(super) reach: usize,
}

impl Axis {
    /// From the input of a convolution to its output.
    pub(super) fn forward(
        source: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Self {
        let mut slots: Vec<usize> = (0..kernel).map(|t| t * dilation % stride).collect();
        slots.sort_unstable();
        slots.dedup();
        let tap = |t: usize| Tap {
            index: t,
            slot: slots.binary_search(&(t * dilation % stride)).expect("every phase is listed"),
            shift: t * dilation / stride,
        };
        let taps: Vec<Tap> = (0..kernel).map(tap).collect();
        Self {
            source,
            target: output_size(source, kernel, stride, padding, dilation),
            split: stride,
            origin: signed(padding),
            slots,
            step: 1,
            taps: vec![taps],
            reach: (kernel - 1) * dilation / stride,
        }
    }

    /// From the output of a convolution over `image` values back to its input.
    pub(super) fn backward(
        image: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Self {
        let at = |phase: usize, t: usize| signed(phase + padding) - signed(t * dilation);
        let every = (0..stride).flat_map(|r| (0..kernel).map(move |t| (r, t)));
        let reached: Vec<(usize, usize, isize)> = every
            .filter(|&(r, t)| at(r, t).rem_euclid(signed(stride)) == 0)
            .map(|(r, t)| (r, t, at(r, t).div_euclid(signed(stride))))
            .collect();
        let low = reached.iter().map(|&(.., shift)| shift).min().unwrap_or(0);
        let mut taps = vec![Vec::new(); stride];
        let mut reach = 0;
        for (phase, index, shift) in reached {
            let shift = (shift - low).unsigned_abs();
            reach = reach.max(shift);
            taps[phase].push(Tap { index, slot: 0, shift });
        }
        Self {
            source: output_size(image, kernel, stride, padding, dilation),
            target: image,
            split: 1,
            origin: -low,
            slots: vec![0],
            step: stride,
            taps,
            reach,
        }
    }

    /// Target positions per phase, rounded up.
    pub(super) fn positions(&self) -> usize {
        self.target.div_ceil(self.step)
    }

    /// Which taps of a phase of the target read a value of the source at this position; the others read
    /// the zeros around it.
    pub(super) fn taps_inside(&self, phase: usize, position: usize) -> std::ops::Range<usize> {
        let inside = |tap: &Tap| {
            let at = signed(self.split * (position + tap.shift) + self.slots[tap.slot]);
            (self.origin..self.origin + signed(self.source)).contains(&at)
        };
        let taps = &self.taps[phase];
        // Taps are in the order of the kernel, so that those inside follow each other.
        let first = taps.iter().position(inside).unwrap_or(0);
        first..taps.iter().rposition(inside).map_or(first, |last| last + 1)
    }

    /// Of the `count` values from `start` on, which of phase `slot` lie inside the source, and the
    /// source index of the first.
    pub(super) fn inside(&self, slot: usize, start: usize, count: usize) -> (usize, usize, usize) {
        let split = signed(self.split);
        let first = split * signed(start) + signed(self.slots[slot]) - self.origin;
        let before = |limit: isize| {
            let values = (limit - first + split - 1).div_euclid(split).max(0);
            values.unsigned_abs().min(count)
        };
        let (low, high) = (before(0), before(signed(self.source)));
        let from = if high > low { (first + split * signed(low)).unsigned_abs() } else { 0 };
        (low, high.max(low), from)
    }
}

fn signed(v: usize) -> isize {
    isize::try_from(v).expect("sizes fit in an isize")
}

/// Values of the output along one axis.
pub(super) fn output_size(
    image: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> usize {
    (image + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
}
