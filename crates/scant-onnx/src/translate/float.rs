//! Functions of floats, and activations.

use burn_ir::{ActivationOperationIr, FloatOperationIr, GridSample2dOpIr, MatmulOpIr, UnaryOpIr};
use burn_ir::{GridSamplePaddingModeIr, InterpolateModeIr, TensorIr};

use super::{Step, Translator, number};
use crate::graph::{Operand, float, int, text};

impl Translator<'_> {
    pub(super) fn float(&mut self, op: &FloatOperationIr) -> Step {
        use FloatOperationIr as Op;
        match op {
            Op::Exp(op) => self.unary("Exp", op),
            Op::Log(op) => self.unary("Log", op),
            Op::Log1p(op) => {
                let inputs = vec![self.read(&op.input)?, number(op.input.dtype, 1.0)?];
                let x = self.node("Add", inputs, Vec::new());
                self.write("Log", vec![x], Vec::new(), &op.out)
            }
            Op::Erf(op) => self.unary("Erf", op),
            Op::Sqrt(op) => self.unary("Sqrt", op),
            Op::Recip(op) => self.unary("Reciprocal", op),
            Op::Cos(op) => self.unary("Cos", op),
            Op::Cosh(op) => self.unary("Cosh", op),
            Op::Sin(op) => self.unary("Sin", op),
            Op::Sinh(op) => self.unary("Sinh", op),
            Op::Tan(op) => self.unary("Tan", op),
            Op::Tanh(op) => self.unary("Tanh", op),
            Op::ArcCos(op) => self.unary("Acos", op),
            Op::ArcCosh(op) => self.unary("Acosh", op),
            Op::ArcSin(op) => self.unary("Asin", op),
            Op::ArcSinh(op) => self.unary("Asinh", op),
            Op::ArcTan(op) => self.unary("Atan", op),
            Op::ArcTanh(op) => self.unary("Atanh", op),
            Op::Round(op) => self.unary("Round", op),
            Op::Floor(op) => self.unary("Floor", op),
            Op::Ceil(op) => self.unary("Ceil", op),
            Op::Trunc(op) => self.trunc(op),
            Op::IsNan(op) => self.unary("IsNaN", op),
            Op::IsInf(op) => self.unary("IsInf", op),
            Op::PowfScalar(op) => self.power_scalar(op),
            Op::Powf(op) => self.power(op),
            Op::Hypot(op) => {
                let [x, y] = [self.read(&op.lhs)?, self.read(&op.rhs)?]
                    .map(|x| self.node("Mul", vec![x.clone(), x], Vec::new()));
                let sum = self.node("Add", vec![x, y], Vec::new());
                self.write("Sqrt", vec![sum], Vec::new(), &op.out)
            }
            Op::IntoInt(op) => self.cast(op),
            Op::Matmul(op) => self.matmul(op),
            Op::GridSample2d(op) => self.grid_sample(op),
            Op::ArcTan2(_) | Op::Cross(_) => Err("ONNX has no such operator".into()),
            Op::Random(_) => Err("a file that predicts holds nothing random".into()),
            Op::Quantize(_) | Op::Dequantize(_) => {
                Err("quantised networks are not exported".into())
            }
        }
    }

    pub(super) fn activation(&mut self, op: &ActivationOperationIr) -> Step {
        use ActivationOperationIr as Op;
        match op {
            Op::Relu(op) => self.unary("Relu", op),
            Op::Sigmoid(op) => self.unary("Sigmoid", op),
            Op::LeakyRelu(op) => {
                let x = self.read(&op.lhs)?;
                let slope = float("alpha", op.rhs.elem::<f64>());
                self.write("LeakyRelu", vec![x], vec![slope], &op.out)
            }
            Op::PRelu(op) => self.binary("PRelu", op),
            Op::Gelu(op) => self.gelu(&op.input, &op.out),
            Op::HardSigmoid(op) => {
                let [alpha, beta] = [op.alpha, op.beta].map(|v| v.elem::<f64>());
                let x = self.read(&op.tensor)?;
                let attributes = vec![float("alpha", alpha), float("beta", beta)];
                self.write("HardSigmoid", vec![x], attributes, &op.out)
            }
            Op::LogSigmoid(op) => {
                let x = self.read(&op.input)?;
                let x = self.node("Neg", vec![x], Vec::new());
                let x = self.node("Softplus", vec![x], Vec::new());
                self.write("Neg", vec![x], Vec::new(), &op.out)
            }
            Op::Softmax(op) => {
                let x = self.read(&op.input)?;
                self.write("Softmax", vec![x], vec![int("axis", op.axis)], &op.out)
            }
            Op::LogSoftmax(op) => {
                let x = self.read(&op.input)?;
                self.write("LogSoftmax", vec![x], vec![int("axis", op.axis)], &op.out)
            }
            Op::Softmin(op) => {
                let x = self.read(&op.input)?;
                let x = self.node("Neg", vec![x], Vec::new());
                self.write("Softmax", vec![x], vec![int("axis", op.axis)], &op.out)
            }
            Op::ReluBackward(_)
            | Op::GeluBackward(_)
            | Op::SigmoidBackward(_)
            | Op::LogSigmoidBackward(_) => Err("a file that predicts holds no gradients".into()),
        }
    }

    pub(super) fn matmul(&mut self, op: &MatmulOpIr) -> Step {
        let inputs = vec![self.read(&op.lhs)?, self.read(&op.rhs)?];
        self.write("MatMul", inputs, Vec::new(), &op.out)
    }

    /// `x / 2 · (1 + erf(x / √2))`, in the form that runtimes know and join.
    fn gelu(&mut self, input: &TensorIr, out: &TensorIr) -> Step {
        let x = self.read(input)?;
        let constant = |value: f64| number(input.dtype, value);
        let scaled = vec![x.clone(), constant(std::f64::consts::SQRT_2)?];
        let scaled = self.node("Div", scaled, Vec::new());
        let erf = self.node("Erf", vec![scaled], Vec::new());
        let above = self.node("Add", vec![erf, constant(1.0)?], Vec::new());
        let product = self.node("Mul", vec![x, above], Vec::new());
        self.write("Mul", vec![product, constant(0.5)?], Vec::new(), out)
    }

    /// Towards zero.
    fn trunc(&mut self, op: &UnaryOpIr) -> Step {
        let x = self.read(&op.input)?;
        let sign = self.node("Sign", vec![x.clone()], Vec::new());
        let size = self.node("Abs", vec![x], Vec::new());
        let whole = self.node("Floor", vec![size], Vec::new());
        self.write("Mul", vec![sign, whole], Vec::new(), &op.out)
    }

    fn grid_sample(&mut self, op: &GridSample2dOpIr) -> Step {
        let mode = match op.options.mode {
            InterpolateModeIr::Bilinear => "bilinear",
            InterpolateModeIr::Nearest => "nearest",
            ref other => return Err(format!("sampling in mode {other:?}")),
        };
        let padding = match op.options.padding_mode {
            GridSamplePaddingModeIr::Zeros => "zeros",
            GridSamplePaddingModeIr::Border => "border",
            GridSamplePaddingModeIr::Reflection => "reflection",
        };
        let inputs: Vec<Operand> = vec![self.read(&op.tensor)?, self.read(&op.grid)?];
        let corners = int("align_corners", usize::from(op.options.align_corners));
        let attributes = vec![text("mode", mode), text("padding_mode", padding), corners];
        self.write("GridSample", inputs, attributes, &op.out)
    }
}
