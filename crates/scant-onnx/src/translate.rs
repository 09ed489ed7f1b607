//! Recorded operations to nodes.
//!
//! One operation becomes one node where ONNX has the operator, else the few that compute it. What only
//! changes the shape of a constant, or nothing, becomes no node at all.

mod base;
mod float;
mod module;
mod numeric;
mod sampling;
mod slice;

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::DType;
use burn_ir::{
    BinaryOpIr, BoolOperationIr, CastOpIr, IntOperationIr, OperationIr, ScalarIr, ScalarOpIr,
    TensorId, TensorIr, UnaryOpIr,
};
use scant_nn::capture::{Captured, Pass};

use crate::OnnxError;
use crate::element::{Constant, Element, signed};
use crate::graph::{Attribute, Graph, Node, Operand, Output, Size, int, ints};

/// What is in the way of a translation.
type Step<T = ()> = Result<T, String>;

/// Translates what the outputs of `pass` depend on.
pub(crate) fn pass(captured: &Captured, pass: &Pass) -> Result<Graph, OnnxError> {
    let operations = &captured.graph.operations;
    let wanted = needed(operations, pass.outputs.iter().map(|(_, id)| *id))?;
    let mut translator = Translator::new(captured, pass.input);
    let mut image = None;
    for (index, operation) in operations.iter().enumerate() {
        if operation.outputs().any(|t| t.id == pass.input) {
            image = operation.outputs().next();
        } else if wanted.contains(&index) {
            translator
                .operation(operation)
                .map_err(|reason| OnnxError::Operation { operation: name(operation), reason })?;
        }
    }
    let incomplete = |what: &str| OnnxError::Incomplete(what.to_owned());
    let image = image.ok_or_else(|| incomplete("the image of a pass is not in it"))?;
    let shapes: BTreeMap<TensorId, &TensorIr> =
        operations.iter().flat_map(OperationIr::outputs).map(|t| (t.id, t)).collect();
    let mut outputs = Vec::with_capacity(pass.outputs.len());
    for (name, id) in &pass.outputs {
        let tensor = shapes
            .get(id)
            .ok_or_else(|| incomplete(&format!("no operation makes the output {name}")))?;
        outputs.push(Output {
            name: name.clone(),
            operand: translator.read(tensor).map_err(OnnxError::Incomplete)?,
            element: Element::of(tensor.dtype).map_err(OnnxError::Incomplete)?,
            dims: sizes(&tensor.shape),
        });
    }
    let mut graph = Graph { image: sizes(&image.shape), nodes: translator.nodes, outputs };
    graph.prune();
    Ok(graph)
}

fn sizes(shape: &[usize]) -> Vec<Size> {
    signed(shape).into_iter().map(Size::fixed).collect()
}

/// Places of the operations that lead to `outputs`.
fn needed(
    operations: &[OperationIr],
    outputs: impl Iterator<Item = TensorId>,
) -> Result<BTreeSet<usize>, OnnxError> {
    let mut makers: BTreeMap<TensorId, usize> = BTreeMap::new();
    for (index, operation) in operations.iter().enumerate() {
        for tensor in operation.outputs() {
            if makers.insert(tensor.id, index).is_some() {
                let id = tensor.id.value();
                return Err(OnnxError::Incomplete(format!("two operations write tensor {id}")));
            }
        }
    }
    let mut wanted = BTreeSet::new();
    let mut open: Vec<TensorId> = outputs.collect();
    while let Some(id) = open.pop() {
        if let Some(&index) = makers.get(&id)
            && wanted.insert(index)
        {
            open.extend(operations[index].inputs().map(|t| t.id));
        }
    }
    Ok(wanted)
}

/// What burn calls an operation, such as `BaseFloat(Unfold)`.
fn name(operation: &OperationIr) -> String {
    if let OperationIr::Custom(custom) = operation {
        return format!("Custom({})", custom.id);
    }
    // The text of a derived Debug: variants, some with a type before the next, then the fields.
    let text = format!("{operation:?}");
    let head = text.split('{').next().unwrap_or_default();
    match head.split('(').collect::<Vec<_>>()[..] {
        [kind, inner, _, ..] => format!("{kind}({})", inner.rsplit(", ").next().unwrap_or(inner)),
        _ => head.split('(').next().unwrap_or_default().to_owned(),
    }
}

/// Numbers and names given out while operations become nodes.
struct Translator<'a> {
    captured: &'a Captured,
    image: TensorId,
    known: BTreeMap<TensorId, Operand>,
    nodes: Vec<Node>,
    /// Which node writes a value.
    makers: BTreeMap<usize, usize>,
    values: usize,
}

impl<'a> Translator<'a> {
    fn new(captured: &'a Captured, image: TensorId) -> Self {
        Self {
            captured,
            image,
            known: BTreeMap::new(),
            nodes: Vec::new(),
            makers: BTreeMap::new(),
            values: 0,
        }
    }

    fn operation(&mut self, operation: &OperationIr) -> Step {
        match operation {
            OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => {
                self.base(op)
            }
            OperationIr::NumericFloat(_, op) | OperationIr::NumericInt(_, op) => self.numeric(op),
            OperationIr::Bool(op) => self.bool(op),
            OperationIr::Int(op) => self.int(op),
            OperationIr::Float(_, op) => self.float(op),
            OperationIr::Module(op) => self.module(op),
            OperationIr::Activation(op) => self.activation(op),
            OperationIr::Init(op) => {
                let operand = Operand::Weight(op.out.id, signed(&op.out.shape));
                self.set(&op.out, operand)
            }
            OperationIr::Drop(_) => Ok(()),
            OperationIr::Custom(_) => Err("it is an extension of burn".into()),
            OperationIr::Distributed(_) => Err("it needs several devices".into()),
        }
    }

    fn bool(&mut self, op: &BoolOperationIr) -> Step {
        match op {
            BoolOperationIr::IntoFloat(op) | BoolOperationIr::IntoInt(op) => self.cast(op),
            BoolOperationIr::Not(op) => self.unary("Not", op),
            BoolOperationIr::And(op) => self.binary("And", op),
            BoolOperationIr::Or(op) => self.binary("Or", op),
            BoolOperationIr::Xor(op) => self.binary("Xor", op),
        }
    }

    fn int(&mut self, op: &IntOperationIr) -> Step {
        match op {
            IntOperationIr::IntoFloat(op) => self.cast(op),
            IntOperationIr::Matmul(op) => {
                let inputs = vec![self.read(&op.lhs)?, self.read(&op.rhs)?];
                self.write("MatMul", inputs, Vec::new(), &op.out)
            }
            _ => Err(format!("operator set {} has no operators on bits", crate::OPSET)),
        }
    }

    /// Where the values of a recorded tensor are to be had.
    fn read(&self, tensor: &TensorIr) -> Step<Operand> {
        if tensor.id == self.image {
            return Ok(Operand::Input);
        }
        if let Some(operand) = self.known.get(&tensor.id) {
            return Ok(operand.clone());
        }
        if self.captured.values.contains_key(&tensor.id) {
            return Ok(Operand::Weight(tensor.id, signed(&tensor.shape)));
        }
        Err(format!("tensor {} has no values here", tensor.id.value()))
    }

    /// Says where the values of a recorded tensor are to be had.
    fn set(&mut self, tensor: &TensorIr, operand: Operand) -> Step {
        self.known.insert(tensor.id, operand);
        Ok(())
    }

    /// A node with one output.
    fn node(
        &mut self,
        op: &'static str,
        inputs: Vec<Operand>,
        attributes: Vec<Attribute>,
    ) -> Operand {
        let value = self.values;
        self.values += 1;
        self.makers.insert(value, self.nodes.len());
        self.nodes.push(Node { op, inputs, outputs: vec![value], attributes });
        Operand::Value(value)
    }

    /// A node whose output is a recorded tensor.
    fn write(
        &mut self,
        op: &'static str,
        inputs: Vec<Operand>,
        attributes: Vec<Attribute>,
        out: &TensorIr,
    ) -> Step {
        let operand = self.node(op, inputs, attributes);
        self.set(out, operand)
    }

    fn unary(&mut self, op: &'static str, ir: &UnaryOpIr) -> Step {
        let inputs = vec![self.read(&ir.input)?];
        self.write(op, inputs, Vec::new(), &ir.out)
    }

    fn binary(&mut self, op: &'static str, ir: &BinaryOpIr) -> Step {
        let inputs = vec![self.read(&ir.lhs)?, self.read(&ir.rhs)?];
        self.write(op, inputs, Vec::new(), &ir.out)
    }

    fn with_scalar(&mut self, op: &'static str, ir: &ScalarOpIr) -> Step {
        let inputs = vec![self.read(&ir.lhs)?, scalar(ir.lhs.dtype, ir.rhs)?];
        self.write(op, inputs, Vec::new(), &ir.out)
    }

    fn cast(&mut self, ir: &CastOpIr) -> Step {
        let x = self.read(&ir.input)?;
        let (from, to) = (Element::of(ir.input.dtype)?, Element::of(ir.out.dtype)?);
        let x = if from == to { x } else { self.cast_to(x, to) };
        self.set(&ir.out, x)
    }

    fn cast_to(&mut self, x: Operand, element: Element) -> Operand {
        self.node("Cast", vec![x], vec![int("to", element as usize)])
    }

    /// The same values in another shape. Of several changes in a row, only the last is written.
    fn reshape(&mut self, x: Operand, dims: &[usize]) -> Operand {
        match x {
            Operand::Weight(id, _) => Operand::Weight(id, signed(dims)),
            Operand::Constant(constant) => Operand::Constant(constant.reshaped(signed(dims))),
            Operand::Value(value) if self.nodes[self.makers[&value]].op == "Reshape" => {
                let before = self.nodes[self.makers[&value]].inputs[0].clone();
                self.node("Reshape", vec![before, Operand::sizes(signed(dims))], Vec::new())
            }
            x => self.node("Reshape", vec![x, Operand::sizes(signed(dims))], Vec::new()),
        }
    }

    fn transpose(&mut self, x: Operand, axes: &[usize]) -> Operand {
        if axes.iter().enumerate().all(|(to, &from)| to == from) {
            return x;
        }
        self.node("Transpose", vec![x], vec![ints("perm", axes.iter().copied())])
    }
}

/// A number of the type of a recorded tensor.
fn scalar(dtype: DType, value: ScalarIr) -> Step<Operand> {
    Ok(Operand::Constant(Constant::scalar(Element::of(dtype)?, value)))
}

/// A number of the type of a recorded tensor of floats.
fn number(dtype: DType, value: f64) -> Step<Operand> {
    scalar(dtype, ScalarIr::Float(value))
}
