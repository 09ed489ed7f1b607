//! Parts of tensors.

use burn::tensor::Slice;

use super::{Step, Translator};
use crate::graph::{Operand, int};

impl Translator<'_> {
    /// The part of `x` that `ranges` name; axes beyond them, and those taken whole, stay.
    ///
    /// Burn gives a range in ascending order and reverses it for a negative step; ONNX starts where the
    /// first value comes from. What reaches the end of an axis is written so, whatever its size.
    pub(super) fn slice(&mut self, x: Operand, shape: &[usize], ranges: &[Slice]) -> Operand {
        let (mut starts, mut ends, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        let mut axes = Vec::new();
        for (axis, (&size, slice)) in shape.iter().zip(ranges).enumerate() {
            let (range, step) = slice.to_range_and_step(size);
            if range == (0..size) && step == 1 {
                continue;
            }
            let (start, end) = if step > 0 {
                (range.start as i64, if range.end == size { i64::MAX } else { range.end as i64 })
            } else {
                let last = if range.end == size { -1 } else { range.end as i64 - 1 };
                (last, if range.start == 0 { i64::MIN } else { range.start as i64 - 1 })
            };
            starts.push(start);
            ends.push(end);
            steps.push(step as i64);
            axes.push(axis as i64);
        }
        if axes.is_empty() {
            return x;
        }
        let [starts, ends, axes, steps] = [starts, ends, axes, steps].map(Operand::sizes);
        self.node("Slice", vec![x, starts, ends, axes, steps], Vec::new())
    }

    pub(super) fn flip(&mut self, x: Operand, axes: &[usize]) -> Operand {
        if axes.is_empty() {
            return x;
        }
        let each = |value: i64| Operand::sizes(axes.iter().map(|_| value));
        let places = Operand::sizes(axes.iter().map(|&axis| axis as i64));
        self.node("Slice", vec![x, each(-1), each(i64::MIN), places, each(-1)], Vec::new())
    }

    /// `x` with `value` in place of the part that `ranges` name: along the first axis that is not taken
    /// whole, what lies before, the same for the axes after it, and what lies behind.
    pub(super) fn slice_assign(
        &mut self,
        x: Operand,
        shape: &[usize],
        ranges: &[Slice],
        value: Operand,
    ) -> Step<Operand> {
        let partial = shape.iter().zip(ranges).enumerate().find_map(|(axis, (&size, slice))| {
            let (range, step) = slice.to_range_and_step(size);
            (range != (0..size) || step != 1).then_some((axis, range, step))
        });
        let Some((axis, range, step)) = partial else {
            return Ok(value);
        };
        if step != 1 {
            return Err(format!("writing to every value at a step of {step}"));
        }
        if range.is_empty() {
            return Ok(x);
        }
        let part = |this: &mut Self, from: usize, to: usize| {
            let mut all = vec![Slice::full(); axis + 1];
            all[axis] = Slice::from(from..to);
            this.slice(x.clone(), shape, &all)
        };
        let mut parts = Vec::with_capacity(3);
        if range.start > 0 {
            parts.push(part(self, 0, range.start));
        }
        let inner = part(self, range.start, range.end);
        let mut inner_shape = shape.to_vec();
        inner_shape[axis] = range.len();
        let mut inner_ranges = ranges.to_vec();
        inner_ranges[axis] = Slice::full();
        parts.push(self.slice_assign(inner, &inner_shape, &inner_ranges, value)?);
        if range.end < shape[axis] {
            parts.push(part(self, range.end, shape[axis]));
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        Ok(self.node("Concat", parts, vec![int("axis", axis)]))
    }
}
