//! Arithmetic, comparisons and reductions, of floats and integers.

use burn_ir::{BinaryOpIr, NumericOperationIr, PadModeIr, PadOpIr, ScalarIr, ScalarOpIr, TensorIr};

use super::{Step, Translator, scalar};
use crate::element::Element;
use crate::graph::{Operand, int, ints, text};

impl Translator<'_> {
    pub(super) fn numeric(&mut self, op: &NumericOperationIr) -> Step {
        use NumericOperationIr as Op;
        match op {
            Op::Add(op) => self.binary("Add", op),
            Op::AddScalar(op) => self.with_scalar("Add", op),
            Op::Sub(op) => self.binary("Sub", op),
            Op::SubScalar(op) => self.with_scalar("Sub", op),
            Op::Mul(op) => self.binary("Mul", op),
            Op::MulScalar(op) => self.with_scalar("Mul", op),
            Op::Div(op) => self.binary("Div", op),
            Op::DivScalar(op) => self.with_scalar("Div", op),
            Op::Rem(op) => {
                let (x, y) = (self.read(&op.lhs)?, self.read(&op.rhs)?);
                self.remainder(x, y, &op.out)
            }
            Op::RemScalar(op) => {
                let (x, y) = (self.read(&op.lhs)?, scalar(op.lhs.dtype, op.rhs)?);
                self.remainder(x, y, &op.out)
            }
            Op::Powi(op) => self.power(op),
            Op::PowiScalar(op) => self.power_scalar(op),
            Op::Abs(op) => self.unary("Abs", op),
            Op::Neg(op) => self.unary("Neg", op),
            Op::Sign(op) => self.unary("Sign", op),
            Op::Clamp(op) => {
                let [min, max] = [op.min, op.max].map(|bound| scalar(op.tensor.dtype, bound));
                let inputs = vec![self.read(&op.tensor)?, min?, max?];
                self.write("Clip", inputs, Vec::new(), &op.out)
            }
            Op::ClampMin(op) => self.with_scalar("Max", op),
            Op::ClampMax(op) => self.with_scalar("Min", op),
            Op::Full(op) => self.filled(&op.out, op.value),
            Op::Greater(op) => self.binary("Greater", op),
            Op::GreaterElem(op) => self.with_scalar("Greater", op),
            Op::GreaterEqual(op) => self.binary("GreaterOrEqual", op),
            Op::GreaterEqualElem(op) => self.with_scalar("GreaterOrEqual", op),
            Op::Lower(op) => self.binary("Less", op),
            Op::LowerElem(op) => self.with_scalar("Less", op),
            Op::LowerEqual(op) => self.binary("LessOrEqual", op),
            Op::LowerEqualElem(op) => self.with_scalar("LessOrEqual", op),
            Op::Mean(op) => self.reduce_all("ReduceMean", &op.input, &op.out),
            Op::Sum(op) => self.reduce_all("ReduceSum", &op.input, &op.out),
            Op::Prod(op) => self.reduce_all("ReduceProd", &op.input, &op.out),
            Op::Max(op) => self.reduce_all("ReduceMax", &op.input, &op.out),
            Op::Min(op) => self.reduce_all("ReduceMin", &op.input, &op.out),
            Op::MeanDim(op) => self.reduce_one("ReduceMean", &op.input, op.axis, &op.out),
            Op::SumDim(op) => self.reduce_one("ReduceSum", &op.input, op.axis, &op.out),
            Op::ProdDim(op) => self.reduce_one("ReduceProd", &op.input, op.axis, &op.out),
            Op::MaxDim(op) => self.reduce_one("ReduceMax", &op.input, op.axis, &op.out),
            Op::MinDim(op) => self.reduce_one("ReduceMin", &op.input, op.axis, &op.out),
            Op::SumDims(op) => {
                let x = self.read(&op.input)?;
                let axes = Operand::sizes(op.axes.iter().map(|&axis| axis as i64));
                self.write("ReduceSum", vec![x, axes], vec![int("keepdims", 1)], &op.out)
            }
            Op::MaxAbs(op) => {
                let x = self.read(&op.input)?;
                let x = self.node("Abs", vec![x], Vec::new());
                let x = self.reduce("ReduceMax", x, None, &op.input, &op.out);
                self.set(&op.out, x)
            }
            Op::MaxAbsDim(op) => {
                let x = self.read(&op.input)?;
                let x = self.node("Abs", vec![x], Vec::new());
                let x = self.reduce("ReduceMax", x, Some(op.axis), &op.input, &op.out);
                self.set(&op.out, x)
            }
            Op::ArgMax(op) => self.place("ArgMax", &op.input, op.axis, &op.out),
            Op::ArgMin(op) => self.place("ArgMin", &op.input, op.axis, &op.out),
            Op::MaxDimWithIndices(op) => {
                self.reduce_one("ReduceMax", &op.tensor, op.dim, &op.out)?;
                self.place("ArgMax", &op.tensor, op.dim, &op.out_indices)
            }
            Op::MinDimWithIndices(op) => {
                self.reduce_one("ReduceMin", &op.tensor, op.dim, &op.out)?;
                self.place("ArgMin", &op.tensor, op.dim, &op.out_indices)
            }
            Op::CumSum(op) => {
                let axis = scalar(burn::tensor::DType::I64, ScalarIr::UInt(op.axis as u64))?;
                let inputs = vec![self.read(&op.input)?, axis];
                self.write("CumSum", inputs, Vec::new(), &op.out)
            }
            Op::Pad(op) => self.pad(op),
            Op::CumProd(_) | Op::CumMin(_) | Op::CumMax(_) => {
                Err("of the running reductions, ONNX has the sum".into())
            }
            Op::Sort(_) | Op::SortWithIndices(_) | Op::ArgSort(_) => Err("no network sorts".into()),
            Op::ArgTopK(_) | Op::TopK(_) | Op::TopKWithIndices(_) => {
                Err("no network takes the largest few".into())
            }
            Op::IntRandom(_) => Err("a file that predicts holds nothing random".into()),
        }
    }

    /// The remainder has the sign of the divisor, which ONNX has for integers only.
    fn remainder(&mut self, x: Operand, y: Operand, out: &TensorIr) -> Step {
        if !out.dtype.is_float() {
            return self.write("Mod", vec![x, y], Vec::new(), out);
        }
        let quotient = self.node("Div", vec![x.clone(), y.clone()], Vec::new());
        let whole = self.node("Floor", vec![quotient], Vec::new());
        let taken = self.node("Mul", vec![whole, y], Vec::new());
        self.write("Sub", vec![x, taken], Vec::new(), out)
    }

    pub(super) fn power(&mut self, op: &BinaryOpIr) -> Step {
        self.binary("Pow", op)
    }

    /// Squares are products, which every runtime computes alike.
    pub(super) fn power_scalar(&mut self, op: &ScalarOpIr) -> Step {
        let x = self.read(&op.lhs)?;
        match op.rhs.elem::<f64>() {
            2.0 => self.write("Mul", vec![x.clone(), x], Vec::new(), &op.out),
            0.5 => self.write("Sqrt", vec![x], Vec::new(), &op.out),
            -1.0 if op.lhs.dtype.is_float() => {
                self.write("Reciprocal", vec![x], Vec::new(), &op.out)
            }
            _ => self.with_scalar("Pow", op),
        }
    }

    /// One axis, which stays with size one, or all of them.
    pub(super) fn reduce(
        &mut self,
        op: &'static str,
        x: Operand,
        axis: Option<usize>,
        input: &TensorIr,
        out: &TensorIr,
    ) -> Operand {
        let keep = int("keepdims", 1);
        let axes = axis.map_or((0..input.shape.len()).collect(), |axis| vec![axis]);
        // In this operator set, the sum alone has its axes as an input.
        let x = if op == "ReduceSum" {
            let axes = Operand::sizes(axes.into_iter().map(|axis| axis as i64));
            self.node(op, vec![x, axes], vec![keep])
        } else {
            self.node(op, vec![x], vec![ints("axes", axes), keep])
        };
        if axis.is_some() || input.shape.len() == out.shape.len() {
            return x;
        }
        self.reshape(x, &out.shape)
    }

    fn reduce_all(&mut self, op: &'static str, input: &TensorIr, out: &TensorIr) -> Step {
        let x = self.read(input)?;
        let x = self.reduce(op, x, None, input, out);
        self.set(out, x)
    }

    fn reduce_one(
        &mut self,
        op: &'static str,
        input: &TensorIr,
        axis: usize,
        out: &TensorIr,
    ) -> Step {
        let x = self.read(input)?;
        let x = self.reduce(op, x, Some(axis), input, out);
        self.set(out, x)
    }

    /// Where the largest or smallest value is. ONNX counts in 64 bits.
    fn place(&mut self, op: &'static str, input: &TensorIr, axis: usize, out: &TensorIr) -> Step {
        let x = self.read(input)?;
        let x = self.node(op, vec![x], vec![int("axis", axis), int("keepdims", 1)]);
        let element = Element::of(out.dtype)?;
        let x = if element == Element::I64 { x } else { self.cast_to(x, element) };
        self.set(out, x)
    }

    fn pad(&mut self, op: &PadOpIr) -> Step {
        let x = self.read(&op.input)?;
        if op.padding.iter().all(|&(before, after)| before == 0 && after == 0) {
            return self.set(&op.out, x);
        }
        let before = op.padding.iter().map(|&(before, _)| before as i64);
        let after = op.padding.iter().map(|&(_, after)| after as i64);
        let mut inputs = vec![x, Operand::sizes(before.chain(after))];
        let mode = match op.mode {
            PadModeIr::Constant(value) => {
                inputs.push(scalar(op.input.dtype, value)?);
                "constant"
            }
            PadModeIr::Reflect => "reflect",
            PadModeIr::Edge => "edge",
        };
        self.write("Pad", inputs, vec![text("mode", mode)], &op.out)
    }
}
