//! A graph as the messages of an ONNX file.

use std::collections::BTreeMap;

use burn_ir::TensorId;
use prost::Message;
use scant_nn::capture::Captured;

use crate::element::{Constant, Element};
use crate::graph::{Attribute, AttributeValue, Graph, Node, Operand, Output, Size};
use crate::proto::{self, AttributeType, Extent};
use crate::{OPSET, OnnxError, Options};

/// The IR version that goes with [`OPSET`].
const IR_VERSION: i64 = 8;

/// Name of the input.
const IMAGE: &str = "image";

/// Name of the batch where it is free.
const BATCH: &str = "batch";

/// The file, before it is bytes.
pub(crate) fn model(
    graph: &Graph,
    captured: &Captured,
    options: &Options,
) -> Result<proto::Model, OnnxError> {
    let mut writer = Writer::new(graph, captured);
    for node in &graph.nodes {
        writer.node(node).map_err(OnnxError::Incomplete)?;
    }
    let mut outputs = Vec::with_capacity(graph.outputs.len());
    for output in &graph.outputs {
        writer.output(output).map_err(OnnxError::Incomplete)?;
        outputs.push(value_info(&output.name, output.element, &output.dims));
    }
    let Writer { nodes, initializers, .. } = writer;
    let metadata = options.metadata.iter();
    let metadata = metadata
        .map(|(key, value)| proto::Entry { key: Some(key.clone()), value: Some(value.clone()) });
    Ok(proto::Model {
        ir_version: Some(IR_VERSION),
        producer_name: Some("scant".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: (!options.description.is_empty()).then(|| options.description.clone()),
        graph: Some(proto::Graph {
            node: nodes,
            name: Some("network".into()),
            initializer: initializers,
            input: vec![value_info(IMAGE, Element::F32, &graph.image)],
            output: outputs,
        }),
        opset_import: vec![proto::OperatorSet {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        metadata_props: metadata.collect(),
    })
}

/// The bytes of the file, which are at most two gigabytes.
pub(crate) fn encode(model: &proto::Model) -> Result<Vec<u8>, OnnxError> {
    let bytes = model.encoded_len();
    if bytes > i32::MAX as usize {
        return Err(OnnxError::TooLarge { bytes });
    }
    Ok(model.encode_to_vec())
}

fn value_info(name: &str, element: Element, dims: &[Size]) -> proto::ValueInfo {
    let dim = |size: &Size| {
        let value = match (size.per_image, size.fixed) {
            (0, fixed) => Extent::Value(fixed),
            (1, 0) => Extent::Param(BATCH.into()),
            (per_image, 0) => Extent::Param(format!("{BATCH}_times_{per_image}")),
            (per_image, fixed) => Extent::Param(format!("{BATCH}_times_{per_image}_plus_{fixed}")),
        };
        proto::Dimension { value: Some(value) }
    };
    let shape = proto::Shape { dim: dims.iter().map(dim).collect() };
    let tensor = proto::TensorType { elem_type: Some(element as i32), shape: Some(shape) };
    proto::ValueInfo {
        name: Some(name.into()),
        r#type: Some(proto::Type { tensor_type: Some(tensor) }),
        doc_string: None,
    }
}

/// Gives names while it writes.
struct Writer<'a> {
    captured: &'a Captured,
    /// Of values by number.
    names: BTreeMap<usize, String>,
    /// Of weights in the shapes they are used in.
    weights: BTreeMap<(TensorId, Vec<i64>), String>,
    /// Of constants without a name of their own; equal ones are written once.
    constants: BTreeMap<Constant, String>,
    /// Of sizes that follow the batch.
    following: BTreeMap<Vec<Size>, String>,
    /// How often a name was given.
    given: BTreeMap<String, usize>,
    nodes: Vec<proto::Node>,
    initializers: Vec<proto::Tensor>,
}

impl<'a> Writer<'a> {
    fn new(graph: &Graph, captured: &'a Captured) -> Self {
        let mut names = BTreeMap::new();
        let mut given: BTreeMap<String, usize> = BTreeMap::new();
        given.insert(IMAGE.into(), 1);
        for output in &graph.outputs {
            given.insert(output.name.clone(), 1);
            if let Operand::Value(number) = output.operand {
                names.entry(number).or_insert_with(|| output.name.clone());
            }
        }
        Self {
            captured,
            names,
            weights: BTreeMap::new(),
            constants: BTreeMap::new(),
            following: BTreeMap::new(),
            given,
            nodes: Vec::new(),
            initializers: Vec::new(),
        }
    }

    /// `wanted`, or with a number behind it where that was given before.
    fn unique(&mut self, wanted: &str) -> String {
        let mut count = self.given.get(wanted).copied().unwrap_or(0);
        let mut name = wanted.to_owned();
        while count > 0 && self.given.contains_key(&name) {
            name = format!("{wanted}_{count}");
            count += 1;
        }
        self.given.insert(wanted.to_owned(), count.max(1));
        self.given.entry(name.clone()).or_insert(1);
        name
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        let input = node.inputs.iter().map(|i| self.operand(i)).collect::<Result<Vec<_>, _>>()?;
        let mut output = Vec::with_capacity(node.outputs.len());
        for &number in &node.outputs {
            let name = match self.names.get(&number) {
                Some(name) => name.clone(),
                None => self.unique(&node.op.to_lowercase()),
            };
            self.names.insert(number, name.clone());
            output.push(name);
        }
        let layer = self.layer(node);
        let name = layer.unwrap_or_else(|| format!("{}/{}", node.op, output.join("/")));
        let name = self.unique(&name);
        let mut written = named(node.op, input, output, node.attributes.iter().map(attribute));
        written.name = Some(name);
        self.nodes.push(written);
        Ok(())
    }

    /// The official name of the layer that a node with weights is.
    fn layer(&self, node: &Node) -> Option<String> {
        let mut names = node.inputs.iter().filter_map(|input| match input {
            Operand::Weight(id, _) => self.captured.names.get(id),
            _ => None,
        });
        let layer = names.next()?.rsplit_once('.')?.0;
        Some(format!("{}/{layer}", node.op))
    }

    /// What leaves the graph must be written by a node, under the name of the output.
    fn output(&mut self, output: &Output) -> Result<(), String> {
        let from = self.operand(&output.operand)?;
        if from != output.name {
            self.nodes.push(named("Identity", vec![from], vec![output.name.clone()], []));
        }
        Ok(())
    }

    fn operand(&mut self, operand: &Operand) -> Result<String, String> {
        Ok(match operand {
            Operand::Absent => String::new(),
            Operand::Input => IMAGE.to_owned(),
            Operand::Value(number) => {
                self.names.get(number).cloned().ok_or("a value is read before it is written")?
            }
            Operand::Weight(id, dims) => self.weight(*id, dims)?,
            Operand::Constant(constant) => self.constant(constant.clone()),
            Operand::Sizes(sizes) if sizes.iter().all(|size| size.per_image == 0) => {
                let values: Vec<i64> = sizes.iter().map(|size| size.fixed).collect();
                self.constant(Constant::ints(&values, &[values.len()]))
            }
            Operand::Sizes(sizes) => self.follow(sizes),
        })
    }

    fn weight(&mut self, id: TensorId, dims: &[i64]) -> Result<String, String> {
        let key = (id, dims.to_vec());
        if let Some(name) = self.weights.get(&key) {
            return Ok(name.clone());
        }
        let data = self.captured.values.get(&id).ok_or("a weight has no values")?;
        let constant = Constant::recorded(data, dims)?;
        let Some(official) = self.captured.names.get(&id) else {
            return Ok(self.constant(constant));
        };
        let own = data.shape().iter().map(|&size| size as i64).eq(dims.iter().copied());
        let wanted = if own {
            official.clone()
        } else {
            let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
            format!("{official}/{}", dims.join("x"))
        };
        let name = self.unique(&wanted);
        self.weights.insert(key, name.clone());
        self.initializers.push(initializer(&name, constant));
        Ok(name)
    }

    fn constant(&mut self, constant: Constant) -> String {
        if let Some(name) = self.constants.get(&constant) {
            return name.clone();
        }
        let name = self.unique("constant");
        self.constants.insert(constant.clone(), name.clone());
        self.initializers.push(initializer(&name, constant));
        name
    }

    /// Nodes that compute sizes from the batch, as one axis of integers.
    fn follow(&mut self, sizes: &[Size]) -> String {
        if let Some(name) = self.following.get(sizes) {
            return name.clone();
        }
        let name = match sizes {
            [Size { per_image: 1, fixed: 0 }] => {
                let name = self.unique("batch_size");
                let range = [("start", 0), ("end", 1)].map(|(name, value)| {
                    attribute(&Attribute { name, value: AttributeValue::Int(value) })
                });
                let image = vec![IMAGE.to_owned()];
                self.nodes.push(named("Shape", image, vec![name.clone()], range));
                name
            }
            &[Size { per_image, fixed }] => {
                let batch = self.follow(&[Size { per_image: 1, fixed: 0 }]);
                let product = if per_image == 1 {
                    batch
                } else {
                    let factor = self.constant(Constant::ints(&[per_image], &[1]));
                    self.computed("Mul", vec![batch, factor])
                };
                if fixed == 0 {
                    product
                } else {
                    let added = self.constant(Constant::ints(&[fixed], &[1]));
                    self.computed("Add", vec![product, added])
                }
            }
            sizes => {
                let mut parts: Vec<String> = Vec::new();
                for run in sizes.chunk_by(|a, b| a.per_image == 0 && b.per_image == 0) {
                    let part = if run[0].per_image == 0 {
                        let values: Vec<i64> = run.iter().map(|size| size.fixed).collect();
                        self.constant(Constant::ints(&values, &[values.len()]))
                    } else {
                        self.follow(run)
                    };
                    parts.push(part);
                }
                let name = self.unique("sizes");
                let axis = attribute(&Attribute { name: "axis", value: AttributeValue::Int(0) });
                self.nodes.push(named("Concat", parts, vec![name.clone()], [axis]));
                name
            }
        };
        self.following.insert(sizes.to_vec(), name.clone());
        name
    }

    fn computed(&mut self, op: &str, inputs: Vec<String>) -> String {
        let name = self.unique("size");
        self.nodes.push(named(op, inputs, vec![name.clone()], []));
        name
    }
}

fn named(
    op: &str,
    input: Vec<String>,
    output: Vec<String>,
    attribute: impl IntoIterator<Item = proto::Attribute>,
) -> proto::Node {
    proto::Node {
        input,
        name: Some(format!("{op}/{}", output.join("/"))),
        output,
        op_type: Some(op.to_owned()),
        attribute: attribute.into_iter().collect(),
    }
}

fn initializer(name: &str, constant: Constant) -> proto::Tensor {
    proto::Tensor {
        dims: constant.dims,
        data_type: Some(constant.element as i32),
        name: Some(name.to_owned()),
        raw_data: Some(constant.bytes),
    }
}

fn attribute(attribute: &Attribute) -> proto::Attribute {
    let mut written =
        proto::Attribute { name: Some(attribute.name.to_owned()), ..proto::Attribute::default() };
    let kind = match &attribute.value {
        AttributeValue::Int(value) => {
            written.i = Some(*value);
            AttributeType::Int
        }
        AttributeValue::Float(value) => {
            written.f = Some(*value);
            AttributeType::Float
        }
        AttributeValue::Ints(values) => {
            written.ints = values.clone();
            AttributeType::Ints
        }
        AttributeValue::Text(value) => {
            written.s = Some(value.as_bytes().to_vec());
            AttributeType::String
        }
        AttributeValue::Tensor(value) => {
            let mut tensor = initializer("", value.clone());
            tensor.name = None;
            written.t = Some(tensor);
            AttributeType::Tensor
        }
    };
    written.r#type = Some(kind as i32);
    written
}
