//! Layers: convolutions, norms, linear layers, attention.

use burn_ir::{AttentionOpIr, LinearOpIr, ModuleOperationIr, ScalarIr, TensorIr};

use super::{Step, Translator, number};
use crate::element::Constant;
use crate::graph::{Attribute, Operand, float, int, ints};

/// How a kernel slides, of any number of axes.
struct Sliding<'a> {
    stride: &'a [usize],
    /// Before and after.
    padding: Vec<(usize, usize)>,
    dilation: &'a [usize],
    groups: usize,
}

impl Sliding<'_> {
    fn attributes(&self, weight: &TensorIr) -> Vec<Attribute> {
        let before = self.padding.iter().map(|&(before, _)| before);
        let after = self.padding.iter().map(|&(_, after)| after);
        vec![
            ints("kernel_shape", weight.shape[2..].iter().copied()),
            ints("strides", self.stride.iter().copied()),
            ints("pads", before.chain(after)),
            ints("dilations", self.dilation.iter().copied()),
            int("group", self.groups),
        ]
    }
}

/// The same on both sides.
fn both(padding: &[usize]) -> Vec<(usize, usize)> {
    padding.iter().map(|&p| (p, p)).collect()
}

/// A convolution of one, two or three axes; their records differ in type only.
macro_rules! conv {
    ($self:ident, $op:ident, $padding:expr) => {{
        let sliding = Sliding {
            stride: &$op.options.stride,
            padding: $padding,
            dilation: &$op.options.dilation,
            groups: $op.options.groups,
        };
        let attributes = sliding.attributes(&$op.weight);
        $self.layer("Conv", [&$op.x, &$op.weight], $op.bias.as_ref(), attributes, &$op.out)
    }};
}

macro_rules! conv_transpose {
    ($self:ident, $op:ident) => {{
        let sliding = Sliding {
            stride: &$op.options.stride,
            padding: both(&$op.options.padding),
            dilation: &$op.options.dilation,
            groups: $op.options.groups,
        };
        let mut attributes = sliding.attributes(&$op.weight);
        attributes.push(ints("output_padding", $op.options.padding_out));
        $self.layer("ConvTranspose", [&$op.x, &$op.weight], $op.bias.as_ref(), attributes, &$op.out)
    }};
}

impl Translator<'_> {
    pub(super) fn module(&mut self, op: &ModuleOperationIr) -> Step {
        use ModuleOperationIr as Op;
        match op {
            Op::Conv1d(op) => conv!(self, op, op.options.padding.to_vec()),
            Op::Conv2d(op) => conv!(self, op, op.options.padding.to_vec()),
            Op::Conv3d(op) => conv!(self, op, both(&op.options.padding)),
            Op::ConvTranspose1d(op) => conv_transpose!(self, op),
            Op::ConvTranspose2d(op) => conv_transpose!(self, op),
            Op::ConvTranspose3d(op) => conv_transpose!(self, op),
            Op::BatchNorm(op) => {
                let parts = [&op.x, &op.gamma, &op.beta, &op.mean, &op.variance];
                let inputs = parts.map(|t| self.read(t)).into_iter().collect::<Step<Vec<_>>>()?;
                let epsilon = float("epsilon", op.epsilon.elem::<f64>());
                self.write("BatchNormalization", inputs, vec![epsilon], &op.out)
            }
            Op::LayerNorm(op) => {
                let attributes = vec![
                    Attribute { name: "axis", value: crate::graph::AttributeValue::Int(-1) },
                    float("epsilon", op.epsilon.elem::<f64>()),
                ];
                let parts = [&op.input, &op.gamma];
                self.layer("LayerNormalization", parts, op.beta.as_ref(), attributes, &op.out)
            }
            Op::Linear(op) => self.linear(op),
            Op::Attention(op) => self.attention(op),
            Op::Embedding(op) => {
                let inputs = vec![self.read(&op.weights)?, self.read(&op.indices)?];
                self.write("Gather", inputs, vec![int("axis", 0)], &op.out)
            }
            Op::MaxPool1d(_)
            | Op::MaxPool2d(_)
            | Op::MaxPool1dWithIndices(_)
            | Op::MaxPool2dWithIndices(_)
            | Op::AvgPool1d(_)
            | Op::AvgPool2d(_)
            | Op::AdaptiveAvgPool1d(_)
            | Op::AdaptiveAvgPool2d(_)
            | Op::AdaptiveAvgPool3d(_)
            | Op::Interpolate(_) => self.sampling(op),
            Op::DeformableConv2d(_) => Err("it needs operator set 19".into()),
            Op::Unfold4d(_) => Err("ONNX has no such operator".into()),
            Op::CtcLoss(_) => Err("a file that predicts holds no losses".into()),
            _ => Err("a file that predicts holds no gradients".into()),
        }
    }

    /// A node of a map, its weight and, if there is one, its bias.
    fn layer(
        &mut self,
        op: &'static str,
        [x, weight]: [&TensorIr; 2],
        bias: Option<&TensorIr>,
        attributes: Vec<Attribute>,
        out: &TensorIr,
    ) -> Step {
        let mut inputs = vec![self.read(x)?, self.read(weight)?];
        if let Some(bias) = bias {
            inputs.push(self.read(bias)?);
        }
        self.write(op, inputs, attributes, out)
    }

    /// Burn's weight is `[input, output]`, as ONNX multiplies.
    fn linear(&mut self, op: &LinearOpIr) -> Step {
        if op.x.shape.len() == 2 {
            return self.layer("Gemm", [&op.x, &op.weight], op.bias.as_ref(), Vec::new(), &op.out);
        }
        let inputs = vec![self.read(&op.x)?, self.read(&op.weight)?];
        let mut y = self.node("MatMul", inputs, Vec::new());
        if let Some(bias) = &op.bias {
            let bias = self.read(bias)?;
            y = self.node("Add", vec![y, bias], Vec::new());
        }
        self.set(&op.out, y)
    }

    /// `softmax(q kᵀ scale) v`, part by part as burn's own fallback does.
    fn attention(&mut self, op: &AttentionOpIr) -> Step {
        let dtype = op.query.dtype;
        let [queries, width] = [op.query.shape[2], op.query.shape[3]];
        let keys = op.key.shape[2];
        let k = self.read(&op.key)?;
        let k = self.transpose(k, &[0, 1, 3, 2]);
        let q = self.read(&op.query)?;
        let scores = self.node("MatMul", vec![q, k], Vec::new());
        let scale = match &op.options.scale {
            Some(scale) => scale.elem::<f64>(),
            None => 1.0 / (width as f64).sqrt(),
        };
        let mut scores = self.node("Mul", vec![scores, number(dtype, scale)?], Vec::new());
        if let Some(cap) = &op.options.softcap {
            let cap = number(dtype, cap.elem::<f64>())?;
            let scaled = self.node("Div", vec![scores, cap.clone()], Vec::new());
            let bent = self.node("Tanh", vec![scaled], Vec::new());
            scores = self.node("Mul", vec![bent, cap], Vec::new());
        }
        let hidden = number(dtype, f64::NEG_INFINITY)?;
        if let Some(mask) = &op.mask {
            let mask = self.read(mask)?;
            scores = self.node("Where", vec![mask, hidden.clone(), scores], Vec::new());
        }
        if op.options.is_causal {
            // A query sees the keys up to its own place, counted from the end.
            let later = |q: usize| (0..keys).map(move |k| k + queries > q + keys);
            let mask: Vec<bool> = (0..queries).flat_map(later).collect();
            let mask = Operand::Constant(Constant::bools(&mask, &[1, 1, queries, keys]));
            scores = self.node("Where", vec![mask, hidden, scores], Vec::new());
        }
        if let Some(bias) = &op.attn_bias {
            let bias = self.read(bias)?;
            scores = self.node("Add", vec![scores, bias], Vec::new());
        }
        let axis = int("axis", 3);
        let weights = if op.mask.is_none() && !op.options.is_causal {
            self.node("Softmax", vec![scores], vec![axis])
        } else {
            self.masked_softmax(scores, op)?
        };
        let v = self.read(&op.value)?;
        self.write("MatMul", vec![weights, v], Vec::new(), &op.out)
    }

    /// Softmax along the last of four axes, zero where everything is hidden.
    fn masked_softmax(&mut self, scores: Operand, op: &AttentionOpIr) -> Step<Operand> {
        let dtype = op.query.dtype;
        let limits = dtype.finfo().ok_or("attention is computed in floats")?;
        let keep = || vec![ints("axes", [3]), int("keepdims", 1)];
        let bound = |value: f64| super::scalar(dtype, ScalarIr::Float(value));
        let largest = self.node("ReduceMax", vec![scores.clone()], keep());
        let largest = self.node("Max", vec![largest, bound(limits.min)?], Vec::new());
        let below = self.node("Sub", vec![scores, largest], Vec::new());
        let powers = self.node("Exp", vec![below], Vec::new());
        let inputs = vec![powers.clone(), Operand::sizes([3])];
        let sum = self.node("ReduceSum", inputs, vec![int("keepdims", 1)]);
        let sum = self.node("Max", vec![sum, bound(limits.min_positive)?], Vec::new());
        Ok(self.node("Div", vec![powers, sum], Vec::new()))
    }
}
