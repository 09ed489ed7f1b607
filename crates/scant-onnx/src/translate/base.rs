//! Operations on tensors of any type: shapes, slices, choices.

use burn::tensor::ops::IndexingUpdateOp;
use burn_ir::{BaseOperationIr, RepeatDimOpIr, ScalarIr, ScatterOpIr, TensorIr, UnfoldOpIr};

use super::{Step, Translator, scalar};
use crate::element::{Constant, Element, signed};
use crate::graph::{Operand, Size, int, tensor, text};

impl Translator<'_> {
    pub(super) fn base(&mut self, op: &BaseOperationIr) -> Step {
        use BaseOperationIr as Op;
        match op {
            Op::Reshape(op) => {
                let x = self.read(&op.input)?;
                let x =
                    if op.input.shape == op.out.shape { x } else { self.reshape(x, &op.out.shape) };
                self.set(&op.out, x)
            }
            Op::SwapDims(op) => {
                let mut axes: Vec<usize> = (0..op.input.shape.len()).collect();
                axes.swap(op.dim1, op.dim2);
                let x = self.read(&op.input)?;
                let x = self.transpose(x, &axes);
                self.set(&op.out, x)
            }
            Op::Permute(op) => {
                let x = self.read(&op.input)?;
                let x = self.transpose(x, &op.axes);
                self.set(&op.out, x)
            }
            Op::Expand(op) => self.expand(&op.input, &op.out),
            Op::Flip(op) => {
                let x = self.read(&op.input)?;
                let x = self.flip(x, &op.axes);
                self.set(&op.out, x)
            }
            Op::Slice(op) => {
                let x = self.read(&op.tensor)?;
                let x = self.slice(x, &op.tensor.shape, &op.ranges);
                self.set(&op.out, x)
            }
            Op::SliceAssign(op) => {
                let (x, value) = (self.read(&op.tensor)?, self.read(&op.value)?);
                let x = self.slice_assign(x, &op.tensor.shape, &op.ranges, value)?;
                self.set(&op.out, x)
            }
            Op::Select(op) => {
                let inputs = vec![self.read(&op.tensor)?, self.read(&op.indices)?];
                self.write("Gather", inputs, vec![int("axis", op.dim)], &op.out)
            }
            Op::Gather(op) => {
                let inputs = vec![self.read(&op.tensor)?, self.read(&op.indices)?];
                self.write("GatherElements", inputs, vec![int("axis", op.dim)], &op.out)
            }
            Op::GatherNd(op) => {
                let inputs = vec![self.read(&op.data)?, self.read(&op.indices)?];
                self.write("GatherND", inputs, Vec::new(), &op.out)
            }
            Op::Scatter(op) => self.scatter(op),
            Op::MaskWhere(op) => {
                let inputs =
                    vec![self.read(&op.mask)?, self.read(&op.value)?, self.read(&op.tensor)?];
                self.write("Where", inputs, Vec::new(), &op.out)
            }
            Op::MaskFill(op) => {
                let value = scalar(op.tensor.dtype, op.value)?;
                let inputs = vec![self.read(&op.mask)?, value, self.read(&op.tensor)?];
                self.write("Where", inputs, Vec::new(), &op.out)
            }
            Op::Equal(op) => self.binary("Equal", op),
            Op::EqualElem(op) => self.with_scalar("Equal", op),
            Op::NotEqual(op) => {
                let inputs = vec![self.read(&op.lhs)?, self.read(&op.rhs)?];
                let equal = self.node("Equal", inputs, Vec::new());
                self.write("Not", vec![equal], Vec::new(), &op.out)
            }
            Op::NotEqualElem(op) => {
                let inputs = vec![self.read(&op.lhs)?, scalar(op.lhs.dtype, op.rhs)?];
                let equal = self.node("Equal", inputs, Vec::new());
                self.write("Not", vec![equal], Vec::new(), &op.out)
            }
            Op::RepeatDim(op) => self.repeat(op),
            Op::Cat(op) => {
                let inputs = op.tensors.iter().map(|t| self.read(t)).collect::<Step<Vec<_>>>()?;
                self.write("Concat", inputs, vec![int("axis", op.dim)], &op.out)
            }
            Op::Cast(op) => self.cast(op),
            Op::Unfold(op) => self.unfold(op),
            // Whatever an empty tensor holds is as good as zeros.
            Op::Empty(op) | Op::Zeros(op) => self.filled(&op.out, ScalarIr::UInt(0)),
            Op::Ones(op) => self.filled(&op.out, ScalarIr::UInt(1)),
            Op::All(op) => self.reduce_truth("ReduceMin", &op.input, None, &op.out),
            Op::Any(op) => self.reduce_truth("ReduceMax", &op.input, None, &op.out),
            Op::AllDim(op) => self.reduce_truth("ReduceMin", &op.input, Some(op.axis), &op.out),
            Op::AnyDim(op) => self.reduce_truth("ReduceMax", &op.input, Some(op.axis), &op.out),
            Op::SelectAssign(_) | Op::ScatterNd(_) => {
                Err("no network writes to chosen places".into())
            }
        }
    }

    /// A tensor of one value: a constant where it is small, else made when the network runs.
    pub(super) fn filled(&mut self, out: &TensorIr, value: ScalarIr) -> Step {
        let element = Element::of(out.dtype)?;
        let one = Constant::scalar(element, value).reshaped(vec![1]);
        if out.shape.iter().product::<usize>() == 1 {
            return self.set(out, Operand::Constant(one.reshaped(signed(&out.shape))));
        }
        let dims = Operand::sizes(signed(&out.shape));
        self.write("ConstantOfShape", vec![dims], vec![tensor("value", one)], out)
    }

    /// An axis that keeps its size is asked for as one, which ONNX broadcasts to what is there.
    fn expand(&mut self, input: &TensorIr, out: &TensorIr) -> Step {
        let x = self.read(input)?;
        if input.shape == out.shape {
            return self.set(out, x);
        }
        let added = out.shape.len() - input.shape.len();
        let before = |axis: usize| axis.checked_sub(added).map_or(1, |axis| input.shape[axis]);
        let asked = out.shape.iter().enumerate();
        let asked = asked.map(|(axis, &size)| if before(axis) == size { 1 } else { size as i64 });
        let dims = Operand::sizes(asked);
        self.write("Expand", vec![x, dims], Vec::new(), out)
    }

    fn repeat(&mut self, op: &RepeatDimOpIr) -> Step {
        let mut times = vec![Size::fixed(1); op.tensor.shape.len()];
        times[op.dim] = Size::fixed(op.times as i64);
        let inputs = vec![self.read(&op.tensor)?, Operand::Sizes(times)];
        self.write("Tile", inputs, Vec::new(), &op.out)
    }

    fn scatter(&mut self, op: &ScatterOpIr) -> Step {
        let reduction = match op.update {
            IndexingUpdateOp::Assign => "none",
            IndexingUpdateOp::Add => "add",
            IndexingUpdateOp::Mul => "mul",
            other => return Err(format!("scattering with {other:?} needs operator set 18")),
        };
        let inputs = vec![self.read(&op.tensor)?, self.read(&op.indices)?, self.read(&op.value)?];
        let attributes = vec![int("axis", op.dim), text("reduction", reduction)];
        self.write("ScatterElements", inputs, attributes, &op.out)
    }

    /// Windows along an axis, as a choice of places; their values become the last axis.
    fn unfold(&mut self, op: &UnfoldOpIr) -> Step {
        let windows = op.out.shape[op.dim];
        let places: Vec<i64> = (0..windows)
            .flat_map(|window| (0..op.size).map(move |i| (window * op.step + i) as i64))
            .collect();
        let places = Operand::Constant(Constant::ints(&places, &[windows, op.size]));
        let x = self.read(&op.input)?;
        let x = self.node("Gather", vec![x, places], vec![int("axis", op.dim)]);
        let mut axes: Vec<usize> = (0..=op.input.shape.len()).collect();
        let inside = axes.remove(op.dim + 1);
        axes.push(inside);
        let x = self.transpose(x, &axes);
        self.set(&op.out, x)
    }

    /// Reductions of truth values, by way of integers.
    fn reduce_truth(
        &mut self,
        op: &'static str,
        input: &TensorIr,
        axis: Option<usize>,
        out: &TensorIr,
    ) -> Step {
        let x = self.read(input)?;
        let mut x = self.cast_to(x, Element::I32);
        if Element::of(input.dtype)? != Element::Bool {
            // Whatever is not zero is true.
            let truth = self.cast_to(x, Element::Bool);
            x = self.cast_to(truth, Element::I32);
        }
        let x = self.reduce(op, x, axis, input, out);
        let x = self.cast_to(x, Element::Bool);
        self.set(out, x)
    }
}
