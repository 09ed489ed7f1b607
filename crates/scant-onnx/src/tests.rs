//! What files hold. That runtimes compute the same from them is tested in `tests/onnxruntime`.

use std::collections::{BTreeMap, BTreeSet};

use burn::nn::GroupNormConfig;
use burn::tensor::activation::{gelu, prelu, relu, softmax};
use burn::tensor::ops::{
    ConvOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions, PadMode,
};
use burn::tensor::{Device, Int, Tensor, TensorData, module, s};
use prost::Message;
use scant_nn::ModelConfig;
use scant_nn::capture::{Outputs, record, recorded_id};
use scant_nn::model::UNetConfig;
use scant_nn::weights;

use super::*;

fn zeros<const D: usize, const R: usize>(shape: [usize; D], like: &Tensor<R>) -> Tensor<D> {
    Tensor::from_data(TensorData::zeros::<f32, _>(shape), &like.device())
}

fn try_file<const D: usize, const R: usize>(
    shape: [usize; D],
    batches: &[usize],
    f: impl Fn(Tensor<D>) -> Tensor<R>,
) -> Result<OnnxFile, OnnxError> {
    let nothing = |_: &Device| ((), BTreeMap::new());
    let captured = record(shape, batches, nothing, |(), x| {
        let y = f(x);
        let outputs = vec![("y".to_owned(), recorded_id(&y))];
        (y, outputs)
    });
    export_captured(captured.unwrap(), &Options::default())
}

/// The graph of a function, with a free batch.
fn graph<const D: usize, const R: usize>(
    shape: [usize; D],
    f: impl Fn(Tensor<D>) -> Tensor<R>,
) -> proto::Graph {
    let file = try_file(shape, &BATCHES, f).unwrap();
    assert_eq!(file.batch, Batch::Dynamic);
    decode(&file)
}

fn decode(file: &OnnxFile) -> proto::Graph {
    proto::Model::decode(file.bytes.as_slice()).unwrap().graph.unwrap()
}

fn ops(graph: &proto::Graph) -> Vec<&str> {
    graph.node.iter().map(proto::Node::op_type).collect()
}

fn attribute<'a>(node: &'a proto::Node, name: &str) -> &'a proto::Attribute {
    node.attribute.iter().find(|a| a.name() == name).unwrap()
}

fn initializer<'a>(graph: &'a proto::Graph, name: &str) -> &'a proto::Tensor {
    graph.initializer.iter().find(|t| t.name() == name).unwrap()
}

/// The integers that a node reads at `place`.
fn integers(graph: &proto::Graph, node: usize, place: usize) -> Vec<i64> {
    let constant = initializer(graph, &graph.node[node].input[place]);
    assert_eq!(constant.data_type(), 7);
    let values = constant.raw_data().chunks_exact(8);
    values.map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn dims(info: &proto::ValueInfo) -> Vec<String> {
    let shape = info.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap().shape.as_ref();
    let dim = |dim: &proto::Dimension| match dim.value.as_ref().unwrap() {
        proto::Extent::Value(value) => value.to_string(),
        proto::Extent::Param(name) => name.clone(),
    };
    shape.unwrap().dim.iter().map(dim).collect()
}

const MAP: [usize; 4] = [1, 4, 6, 8];

#[test]
fn a_layer_is_one_node_each() {
    let graph = graph(MAP, |x| {
        let (w, row) = (zeros([2, 2, 3, 3], &x), || zeros([2], &x));
        let options = ConvOptions::new([2, 1], [1, 0], [1, 2], 2);
        let y = module::conv2d(x.clone(), w, Some(row()), options);
        let y = relu(module::batch_norm(y, row(), row(), row(), row(), 0.25));
        module::max_pool2d(y, MaxPoolOptions::new([3, 2]).with_padding([1, 1]))
    });
    assert_eq!(ops(&graph), ["Conv", "BatchNormalization", "Relu", "MaxPool"]);
    let conv = &graph.node[0];
    assert_eq!(conv.input.len(), 3);
    assert_eq!(attribute(conv, "strides").ints, [2, 1]);
    assert_eq!(attribute(conv, "pads").ints, [1, 0, 1, 0]);
    assert_eq!(attribute(conv, "dilations").ints, [1, 2]);
    assert_eq!(attribute(conv, "kernel_shape").ints, [3, 3]);
    assert_eq!(attribute(conv, "group").i(), 2);
    assert_eq!(attribute(&graph.node[1], "epsilon").f(), 0.25);
    assert_eq!(attribute(&graph.node[3], "pads").ints, [1, 1, 1, 1]);
    assert_eq!(graph.input[0].name(), "image");
    assert_eq!(dims(&graph.input[0]), ["batch", "4", "6", "8"]);
    assert_eq!(graph.node[3].output, ["y"]);
}

#[test]
fn padding_may_differ_between_the_sides() {
    let graph = graph(MAP, |x| {
        let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let options = ConvOptions { padding: [(1, 2), (0, 3)], ..options };
        module::conv2d(x.clone(), zeros([1, 4, 3, 3], &x), None, options)
    });
    let conv = graph.node.iter().find(|node| node.op_type() == "Conv").unwrap();
    let pad = graph.node.iter().position(|node| node.op_type() == "Pad");
    // Either the convolution pads, or a node before it.
    match pad {
        None => assert_eq!(attribute(conv, "pads").ints, [1, 0, 2, 3]),
        Some(pad) => assert_eq!(integers(&graph, pad, 1), [0, 0, 1, 0, 0, 0, 2, 3]),
    }
}

#[test]
fn attention_is_made_of_products_and_one_softmax() {
    let graph = graph([1, 5, 8], |x: Tensor<3>| {
        let weights = module::linear(x.clone(), zeros([8, 8], &x), Some(zeros([8], &x)));
        let scores = weights.clone().matmul(weights.swap_dims(1, 2));
        let mixed = softmax(scores, 2).matmul(x.clone());
        module::layer_norm(gelu(mixed), zeros([8], &x), None, 1e-6)
    });
    let expected = [
        "MatMul",
        "Add",
        "Transpose",
        "MatMul",
        "Softmax",
        "MatMul",
        "Div",
        "Erf",
        "Add",
        "Mul",
        "Mul",
        "LayerNormalization",
    ];
    assert_eq!(ops(&graph), expected);
    assert_eq!(attribute(&graph.node[4], "axis").i(), 2);
    assert_eq!(graph.node[11].input.len(), 2);
}

#[test]
fn a_group_norm_keeps_the_batch_free() {
    let graph = graph(MAP, |x| GroupNormConfig::new(2, 4).init(&x.device()).forward(x));
    let reshapes = |what: &dyn Fn(&proto::Node) -> bool| {
        graph.node.iter().position(|node| node.op_type() == "Reshape" && what(node)).unwrap()
    };
    let first = reshapes(&|node| node.input[0] == "image");
    assert_eq!(integers(&graph, first, 1), [-1, 2, 96]);
    let normalised = graph.node.iter().find(|node| node.op_type() == "Div").unwrap();
    let back = reshapes(&|node| node.input[0] == normalised.output[0]);
    assert_eq!(integers(&graph, back, 1), [-1, 4, 6, 8]);
    assert!(!ops(&graph).contains(&"Shape"));
}

#[test]
fn shapes_of_constants_are_changed_in_the_file() {
    let graph = graph(MAP, |x| {
        let alpha = zeros([2, 2], &x).reshape([4]);
        let full = Tensor::<1>::full([1], 2.5, &x.device()).reshape([1, 1, 1, 1]);
        prelu(x, alpha) * full
    });
    assert_eq!(ops(&graph), ["PRelu", "Mul"]);
    assert_eq!(initializer(&graph, &graph.node[0].input[1]).dims, [1, 4, 1, 1]);
    let full = initializer(&graph, &graph.node[1].input[1]);
    assert_eq!((full.dims.len(), full.raw_data()), (4, &2.5_f32.to_le_bytes()[..]));
}

#[test]
fn what_changes_nothing_is_no_node() {
    let graph = graph(MAP, |x| {
        let [b, c, h, w] = x.dims();
        let x = x.slice(s![0..b, .., 0..6, ..]).reshape([b, c, h, w]).expand([b, c, h, w]);
        let x = x.swap_dims(1, 2).swap_dims(2, 1).pad((0, 0, 0, 0), PadMode::Edge);
        let _ = x.clone().exp(); // nobody reads it
        x.permute([0, 1, 2, 3]).neg()
    });
    assert_eq!(ops(&graph), ["Transpose", "Transpose", "Neg"]);
}

#[test]
fn one_reshape_after_another_is_one() {
    let graph = graph(MAP, |x| {
        let [b, c, h, w] = x.dims();
        x.reshape([b, c * h, w]).reshape([b * c, h * w]).reshape([b, c, w, h]).neg()
    });
    assert_eq!(ops(&graph), ["Reshape", "Neg"]);
    assert_eq!(integers(&graph, 0, 1), [-1, 4, 8, 6]);
}

#[test]
fn parts_are_taken_from_where_they_start() {
    let graph = graph(MAP, |x| x.slice(s![.., 1..3, 0..6;2, 2..8;-1]).flip([1]));
    assert_eq!(ops(&graph), ["Slice", "Slice"]);
    assert_eq!(integers(&graph, 0, 1), [1, 0, -1]);
    assert_eq!(integers(&graph, 0, 2), [3, i64::MAX, 1]);
    assert_eq!(integers(&graph, 0, 3), [1, 2, 3]);
    assert_eq!(integers(&graph, 0, 4), [1, 2, -1]);
    assert_eq!(integers(&graph, 1, 2), [i64::MIN]);
}

#[test]
fn a_size_that_follows_the_batch_is_computed() {
    let graph = graph(MAP, |x| {
        let [b, ..] = x.dims();
        let token = zeros([1, 1, 6, 8], &x).expand([b, 1, 6, 8]);
        let twice = Tensor::<4>::ones([2 * b, 1, 6, 8], &x.device()).narrow(0, b, b);
        Tensor::cat(vec![token, x, twice], 1)
    });
    let expected =
        ["Shape", "Concat", "Expand", "Mul", "Concat", "ConstantOfShape", "Slice", "Concat"];
    assert_eq!(ops(&graph), expected);
    assert_eq!(dims(&graph.output[0]), ["batch", "6", "6", "8"]);
}

#[test]
fn whole_factors_leave_batch_and_channels_open() {
    let graph = graph(MAP, |x| {
        let options = InterpolateOptions::new(InterpolateMode::Nearest);
        let twice = module::interpolate(x, options.with_output_size([12, 32]));
        let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
        module::interpolate(twice, options.with_output_size([9, 32]))
    });
    assert_eq!(ops(&graph), ["Resize", "Shape", "Concat", "Resize"]);
    let factors = initializer(&graph, &graph.node[0].input[2]);
    let expected: Vec<u8> = [1.0_f32, 1.0, 2.0, 4.0].iter().flat_map(|f| f.to_le_bytes()).collect();
    assert_eq!(factors.raw_data(), expected);
    assert_eq!(graph.node[3].input[1..3], ["", ""]);
    assert_eq!(attribute(&graph.node[3], "mode").s(), b"linear");
    let positions = attribute(&graph.node[3], "coordinate_transformation_mode");
    assert_eq!(positions.s(), b"half_pixel");
}

#[test]
fn equal_constants_are_written_once() {
    let graph = graph([1, 3], |x: Tensor<2>| {
        let places = || Tensor::<1, Int>::from_data([2_i64, 0], &x.device());
        (x.clone().select(1, places()) + x.clone().select(1, places())) * 2.0 + 2.0
    });
    assert_eq!(ops(&graph), ["Gather", "Gather", "Add", "Mul", "Add"]);
    assert_eq!(graph.initializer.len(), 2);
}

#[test]
fn an_output_that_is_the_image_gets_a_node() {
    let graph = graph(MAP, |x| x);
    assert_eq!(ops(&graph), ["Identity"]);
    assert_eq!((graph.node[0].input[0].as_str(), graph.node[0].output[0].as_str()), ("image", "y"));
}

#[test]
fn what_has_no_translation_is_named() {
    let refused = |result: Result<OnnxFile, OnnxError>| match result {
        Err(OnnxError::Operation { operation, .. }) => operation,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(try_file(MAP, &[1], |x| x.sort(1))), "NumericFloat(Sort)");
    assert_eq!(refused(try_file(MAP, &[1], |x: Tensor<4>| x.clone().atan2(x))), "Float(ArcTan2)");
    let random = |x: Tensor<4>| x.random_like(burn::tensor::Distribution::Default);
    assert_eq!(refused(try_file(MAP, &[1], random)), "Float(Random)");
    let lanczos = |x: Tensor<4>| {
        let options = InterpolateOptions::new(InterpolateMode::Lanczos3);
        module::interpolate(x, options.with_output_size([3, 3]))
    };
    assert_eq!(refused(try_file(MAP, &[1], lanczos)), "Module(Interpolate)");
    let error = try_file(MAP, &[1], |x| x.sort(1)).unwrap_err().to_string();
    assert!(error.contains("NumericFloat(Sort)") && error.contains("ONNX"), "{error}");
}

#[test]
fn what_nobody_needs_may_have_no_translation() {
    let file = try_file(MAP, &BATCHES, |x| {
        let _ = x.clone().sort(1);
        x.neg()
    });
    assert_eq!(file.unwrap().nodes, 1);
}

#[test]
fn a_batch_that_is_not_free_is_said() {
    // One weight per image: no other batch can have this network.
    let per_image = |x: Tensor<4>| {
        let weights = zeros([x.dims()[0], 1, 1, 1], &x);
        x * weights
    };
    let file = try_file(MAP, &BATCHES, per_image).unwrap();
    let Batch::Fixed { images: 1, reason: Some(reason) } = &file.batch else {
        panic!("{:?}", file.batch);
    };
    assert!(reason.contains("Mul"), "{reason}");
    assert_eq!(dims(&decode(&file).input[0]), ["1", "4", "6", "8"]);
    let file = try_file(MAP, &[3], per_image).unwrap();
    assert_eq!(file.batch, Batch::Fixed { images: 3, reason: None });
}

fn net() -> scant_nn::Model {
    let sizes = UNetConfig { width: 2, depth: 2, input_channels: 3, output_channels: 2 };
    ModelConfig::AttentionUNet(sizes).init(&Device::flex(), 5).unwrap()
}

#[test]
fn weights_keep_their_official_names_and_values() {
    let model = net();
    let file = export(&model, 3, [8, 12], &Options::default()).unwrap();
    let graph = decode(&file);
    let official = weights::export(&model);
    let written: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    for (name, tensor) in &official {
        assert!(written.contains(name.as_str()), "{name}");
        let written = initializer(&graph, name);
        assert_eq!(written.dims, tensor.shape.iter().map(|&s| s as i64).collect::<Vec<_>>());
        let values: Vec<u8> = tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(written.raw_data(), values, "{name}");
    }
    // Factors of the up-sampling alone have no name.
    assert_eq!(written.len(), official.len() + 1);
    let first = &graph.node[0];
    assert_eq!((first.op_type(), first.name()), ("Conv", "Conv/Conv1.conv.0"));
    let names: BTreeSet<&str> = graph.node.iter().map(proto::Node::name).collect();
    assert_eq!(names.len(), graph.node.len());
}

#[test]
fn the_same_network_gives_the_same_bytes() {
    let model = net();
    let options = Options {
        outputs: Outputs { aux: true, taps: true },
        metadata: vec![("b".into(), "2".into()), ("a".into(), "{}".into())],
        description: "for the test".into(),
        ..Options::default()
    };
    let file = export(&model, 3, [9, 8], &options).unwrap();
    assert_eq!(file, export(&model, 3, [9, 8], &options).unwrap());
    assert_eq!(file.outputs, ["logits", "enc1", "enc2", "bottleneck", "dec2", "dec1"]);
    let written = proto::Model::decode(file.bytes.as_slice()).unwrap();
    assert_eq!((written.ir_version(), written.producer_name()), (8, "scant"));
    assert_eq!(written.opset_import[0].version(), OPSET);
    assert_eq!(written.doc_string(), "for the test");
    let metadata: Vec<(&str, &str)> =
        written.metadata_props.iter().map(|e| (e.key(), e.value())).collect();
    assert_eq!(metadata, [("b", "2"), ("a", "{}")]);
    let graph = written.graph.unwrap();
    assert_eq!(dims(&graph.output[0]), ["batch", "2", "9", "8"]);
    assert_eq!(dims(&graph.output[3]), ["batch", "8", "3", "2"]);
    let outputs: Vec<&str> = graph.output.iter().map(proto::ValueInfo::name).collect();
    assert_eq!(outputs, file.outputs);
}
