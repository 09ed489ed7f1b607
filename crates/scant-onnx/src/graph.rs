//! An ONNX graph that is being built: values by number, constants where they are used.

use std::collections::{BTreeMap, BTreeSet};

use burn_ir::TensorId;

use crate::element::{Constant, Element};

/// A size that may follow the batch: `per_image` for every image, and `fixed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size {
    pub(crate) per_image: i64,
    pub(crate) fixed: i64,
}

impl Size {
    /// The same for every batch.
    pub(crate) fn fixed(fixed: i64) -> Self {
        Self { per_image: 0, fixed }
    }
}

/// What a node reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    /// The image.
    Input,
    /// A value that a node writes.
    Value(usize),
    /// A recorded tensor, in this shape.
    Weight(TensorId, Vec<i64>),
    /// Values that the translation knows.
    Constant(Constant),
    /// One axis of integers.
    Sizes(Vec<Size>),
    /// An optional input that is not given.
    Absent,
}

impl Operand {
    /// Integers that do not follow the batch, as far as is known.
    pub(crate) fn sizes(values: impl IntoIterator<Item = i64>) -> Self {
        Self::Sizes(values.into_iter().map(Size::fixed).collect())
    }
}

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) value: AttributeValue,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AttributeValue {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    Text(&'static str),
    Tensor(Constant),
}

pub(crate) fn int(name: &'static str, value: usize) -> Attribute {
    Attribute { name, value: AttributeValue::Int(value as i64) }
}

pub(crate) fn ints(name: &'static str, values: impl IntoIterator<Item = usize>) -> Attribute {
    let values = values.into_iter().map(|v| v as i64).collect();
    Attribute { name, value: AttributeValue::Ints(values) }
}

pub(crate) fn float(name: &'static str, value: f64) -> Attribute {
    Attribute { name, value: AttributeValue::Float(value as f32) }
}

pub(crate) fn text(name: &'static str, value: &'static str) -> Attribute {
    Attribute { name, value: AttributeValue::Text(value) }
}

pub(crate) fn tensor(name: &'static str, value: Constant) -> Attribute {
    Attribute { name, value: AttributeValue::Tensor(value) }
}

/// One operator of ONNX.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) op: &'static str,
    pub(crate) inputs: Vec<Operand>,
    pub(crate) outputs: Vec<usize>,
    pub(crate) attributes: Vec<Attribute>,
}

/// What leaves the graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) operand: Operand,
    pub(crate) element: Element,
    pub(crate) dims: Vec<Size>,
}

/// A graph with one input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Graph {
    pub(crate) image: Vec<Size>,
    /// In the order of execution.
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Output>,
}

impl Graph {
    /// Takes out nodes whose values nobody reads, and numbers the values anew in their order.
    pub(crate) fn prune(&mut self) {
        let mut read: BTreeSet<usize> =
            self.outputs.iter().filter_map(|o| value(&o.operand)).collect();
        let mut kept = Vec::with_capacity(self.nodes.len());
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            if node.outputs.iter().any(|output| read.contains(output)) {
                read.extend(node.inputs.iter().filter_map(value));
                kept.push(node);
            }
        }
        kept.reverse();
        let written = kept.iter().flat_map(|node| node.outputs.iter().copied());
        let numbers: BTreeMap<usize, usize> =
            written.enumerate().map(|(new, old)| (old, new)).collect();
        let renumber = |operand: &mut Operand| {
            if let Operand::Value(old) = operand {
                *old = numbers[old];
            }
        };
        for node in &mut kept {
            node.inputs.iter_mut().for_each(renumber);
            node.outputs.iter_mut().for_each(|old| *old = numbers[old]);
        }
        self.outputs.iter_mut().for_each(|output| renumber(&mut output.operand));
        self.nodes = kept;
    }
}

fn value(operand: &Operand) -> Option<usize> {
    match operand {
        Operand::Value(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op: &'static str, input: Operand, outputs: &[usize]) -> Node {
        Node { op, inputs: vec![input], outputs: outputs.to_vec(), attributes: Vec::new() }
    }

    #[test]
    fn what_nobody_reads_is_taken_out() {
        let operand = Operand::Value(4);
        let output = Output { name: "y".into(), operand, element: Element::F32, dims: Vec::new() };
        let mut graph = Graph {
            image: Vec::new(),
            nodes: vec![
                node("Relu", Operand::Input, &[0]),
                node("Exp", Operand::Value(0), &[1]),
                node("TopK", Operand::Value(0), &[2, 3]),
                node("Neg", Operand::Value(3), &[4]),
                node("Log", Operand::Value(4), &[5]),
            ],
            outputs: vec![output],
        };
        graph.prune();
        let left: Vec<(&str, &[usize])> =
            graph.nodes.iter().map(|n| (n.op, n.outputs.as_slice())).collect();
        assert_eq!(left, [("Relu", &[0][..]), ("TopK", &[1, 2]), ("Neg", &[3])]);
        assert_eq!(graph.nodes[2].inputs, [Operand::Value(2)]);
        assert_eq!(graph.outputs[0].operand, Operand::Value(3));
    }
}
