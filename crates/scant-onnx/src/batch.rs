//! What follows the batch, found by comparing passes on batches of different sizes.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use burn_ir::TensorId;

use crate::graph::{Graph, Operand, Size};

/// One graph from several that differ in nothing but sizes that grow with the batch by the same amount
/// per image. At least three are needed: two fit any straight line.
///
/// # Errors
/// What differs otherwise.
pub(crate) fn reconcile(
    passes: &[(usize, Graph)],
    values: &BTreeMap<TensorId, TensorData>,
) -> Result<Graph, String> {
    let [(first_batch, first), rest @ ..] = passes else {
        return Err("no pass was recorded".into());
    };
    if rest.len() < 2 {
        return Err("it takes three batches to see what follows the batch".into());
    }
    let batches: Vec<usize> = passes.iter().map(|(batch, _)| *batch).collect();
    let line = |sizes: Vec<&[Size]>| straight(&batches, &sizes);
    let mut graph = first.clone();
    for (batch, other) in rest {
        let differs = |what: &str| format!("with {batch} images {what} with {first_batch}");
        let same = graph.nodes.len() == other.nodes.len()
            && graph.nodes.iter().zip(&other.nodes).all(|(a, b)| {
                a.op == b.op && a.outputs == b.outputs && a.inputs.len() == b.inputs.len()
            });
        if !same || graph.outputs.len() != other.outputs.len() {
            return Err(differs("the network runs other operators than"));
        }
        for (a, b) in graph.nodes.iter().zip(&other.nodes) {
            if a.attributes != b.attributes {
                return Err(differs(&format!("a node {} is set otherwise than", a.op)));
            }
            if !a.inputs.iter().zip(&b.inputs).all(|(a, b)| alike(a, b, values)) {
                return Err(differs(&format!("a node {} reads other values than", a.op)));
            }
        }
        let outputs = graph.outputs.iter().zip(&other.outputs);
        for (a, b) in outputs {
            if a.name != b.name || !alike(&a.operand, &b.operand, values) {
                return Err(differs(&format!("output {} comes from elsewhere than", a.name)));
            }
        }
    }
    for (index, node) in graph.nodes.iter_mut().enumerate() {
        for (place, operand) in node.inputs.iter_mut().enumerate() {
            if let Operand::Sizes(_) = operand {
                let all = passes.iter().map(|(_, graph)| match &graph.nodes[index].inputs[place] {
                    Operand::Sizes(sizes) => sizes.as_slice(),
                    _ => &[],
                });
                let sizes = line(all.collect()).ok_or_else(|| {
                    format!("sizes of a node {} do not follow the batch evenly", node.op)
                })?;
                *operand =
                    Operand::Sizes(if node.op == "Reshape" { inferred(sizes) } else { sizes });
            }
        }
    }
    let uneven = |what: &str| format!("the shape of {what} does not follow the batch evenly");
    let images = passes.iter().map(|(_, graph)| graph.image.as_slice()).collect();
    graph.image = line(images).ok_or_else(|| uneven("the image"))?;
    for (index, output) in graph.outputs.iter_mut().enumerate() {
        let all = passes.iter().map(|(_, graph)| graph.outputs[index].dims.as_slice()).collect();
        output.dims = line(all).ok_or_else(|| uneven(&output.name))?;
    }
    Ok(graph)
}

/// Whether two operands are the same but for sizes.
fn alike(a: &Operand, b: &Operand, values: &BTreeMap<TensorId, TensorData>) -> bool {
    match (a, b) {
        (Operand::Sizes(a), Operand::Sizes(b)) => a.len() == b.len(),
        (Operand::Weight(a, dims), Operand::Weight(b, other)) => {
            let data = || (values.get(a), values.get(b));
            dims == other && (a == b || matches!(data(), (Some(a), Some(b)) if equal(a, b)))
        }
        (a, b) => a == b,
    }
}

fn equal(a: &TensorData, b: &TensorData) -> bool {
    a.dtype() == b.dtype() && a.as_bytes() == b.as_bytes()
}

/// Each size as a straight line over the batch, through all points.
fn straight(batches: &[usize], sizes: &[&[Size]]) -> Option<Vec<Size>> {
    let first = sizes[0];
    if sizes.iter().any(|other| other.len() != first.len()) {
        return None;
    }
    (0..first.len())
        .map(|axis| {
            let at = |pass: usize| (batches[pass] as i64, sizes[pass][axis].fixed);
            let ((b0, s0), (b1, s1)) = (at(0), at(1));
            // Ends that stand for "to the last" are further apart than a difference can tell.
            if (0..sizes.len()).all(|pass| at(pass).1 == s0) {
                return Some(Size::fixed(s0));
            }
            let (rise, run) = (s1.checked_sub(s0)?, b1 - b0);
            if run == 0 || rise % run != 0 {
                return None;
            }
            let per_image = rise / run;
            let fixed = s0.checked_sub(per_image.checked_mul(b0)?)?;
            let on_line = |pass: usize| {
                let (batch, size) = at(pass);
                per_image * batch + fixed == size
            };
            (2..sizes.len()).all(on_line).then_some(Size { per_image, fixed })
        })
        .collect()
}

/// A shape of which one size follows the batch: the runtime finds it from the number of values.
fn inferred(mut shape: Vec<Size>) -> Vec<Size> {
    let mut following = shape.iter_mut().filter(|size| size.per_image != 0);
    if let (Some(size), None) = (following.next(), following.next()) {
        *size = Size::fixed(-1);
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::Element;
    use crate::graph::{Node, Output};

    fn fixed(sizes: &[i64]) -> Vec<Size> {
        sizes.iter().copied().map(Size::fixed).collect()
    }

    fn pass(batch: i64, op: &'static str, sizes: &[i64]) -> (usize, Graph) {
        let nodes = vec![Node {
            op,
            inputs: vec![Operand::Input, Operand::sizes(sizes.iter().copied())],
            outputs: vec![0],
            attributes: Vec::new(),
        }];
        let (operand, dims) = (Operand::Value(0), fixed(&[batch, 4]));
        let output = Output { name: "y".into(), operand, element: Element::F32, dims };
        (batch as usize, Graph { image: fixed(&[batch, 2, 2]), nodes, outputs: vec![output] })
    }

    fn merge(op: &'static str, sizes: impl Fn(i64) -> Vec<i64>) -> Result<Graph, String> {
        let passes = [7, 11, 13].map(|batch| pass(batch, op, &sizes(batch)));
        reconcile(&passes, &BTreeMap::new())
    }

    #[test]
    fn sizes_follow_the_batch_by_so_many_per_image() {
        let graph = merge("Expand", |b| vec![4 * b, 9, b - 1]).unwrap();
        let follow = |per_image, fixed| Size { per_image, fixed };
        let expected = vec![follow(4, 0), follow(0, 9), follow(1, -1)];
        assert_eq!(graph.nodes[0].inputs[1], Operand::Sizes(expected));
        assert_eq!(graph.image, [follow(1, 0), follow(0, 2), follow(0, 2)]);
        assert_eq!(graph.outputs[0].dims, [follow(1, 0), follow(0, 4)]);
    }

    #[test]
    fn one_size_of_a_shape_is_left_to_the_runtime() {
        let graph = merge("Reshape", |b| vec![4, 16 * b, 3]).unwrap();
        assert_eq!(graph.nodes[0].inputs[1], Operand::Sizes(fixed(&[4, -1, 3])));
    }

    #[test]
    fn ends_beyond_every_size_stay() {
        let graph = merge("Slice", |_| vec![i64::MAX, i64::MIN]).unwrap();
        assert_eq!(graph.nodes[0].inputs[1], Operand::Sizes(fixed(&[i64::MAX, i64::MIN])));
    }

    #[test]
    fn what_is_no_straight_line_is_said() {
        let error = merge("Expand", |b| vec![b * b]).unwrap_err();
        assert!(error.contains("Expand"), "{error}");
        // Two points would have made a line of it.
        let error = merge("Tile", |b| vec![if b == 13 { 0 } else { b }]).unwrap_err();
        assert!(error.contains("Tile"), "{error}");
    }

    #[test]
    fn other_operators_for_another_batch_are_said() {
        let passes = [pass(7, "Tile", &[1]), pass(11, "Tile", &[1]), pass(13, "Expand", &[1])];
        let error = reconcile(&passes, &BTreeMap::new()).unwrap_err();
        assert!(error.contains("13 images") && error.contains("other operators"), "{error}");
    }

    #[test]
    fn constants_are_compared_by_their_values() {
        let with = |number: u64, batch: i64| {
            let (batch, mut graph) = pass(batch, "Add", &[1]);
            graph.nodes[0].inputs[1] = Operand::Weight(TensorId::new(number), vec![2]);
            (batch, graph)
        };
        let passes = [with(1, 7), with(2, 11), with(3, 13)];
        let mut values: BTreeMap<TensorId, TensorData> =
            (1..=3).map(|n| (TensorId::new(n), TensorData::from([1.0_f32, 2.0]))).collect();
        assert!(reconcile(&passes, &values).is_ok());
        values.insert(TensorId::new(3), TensorData::from([1.0_f32, 3.0]));
        let error = reconcile(&passes, &values).unwrap_err();
        assert!(error.contains("node Add reads other values"), "{error}");
    }
}
