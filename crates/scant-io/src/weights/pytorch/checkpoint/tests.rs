use super::super::super::element::Element;
use super::super::value::Storage;
use super::*;

fn text(s: &str) -> Value {
    Value::Str(s.into())
}

fn tensor() -> Value {
    let element = Ok(Element::F32);
    let storage =
        Rc::new(Storage { key: "0".into(), element, width: 4, len: 1, start: 0, embedded: None });
    let (shape, strides) = (vec![1], vec![1]);
    Value::Tensor(Rc::new(LazyTensor {
        storage,
        element: Ok(Element::F32),
        offset: 0,
        shape,
        strides,
    }))
}

fn dict(heap: &mut Heap, entries: &[(&str, Value)]) -> Value {
    heap.dict(entries.iter().map(|(name, value)| (text(name), value.clone())).collect())
}

/// Where the state dict is in a checkpoint with these entries.
fn found_in(build: impl Fn(&mut Heap) -> Value, key: Option<&str>) -> Result<Checkpoint, Fault> {
    let mut heap = Heap::default();
    let root = build(&mut heap);
    take_apart(&Pickle { heap, root }, key)
}

#[test]
fn usual_names_come_before_the_file_itself() {
    // A mean image beside the weights does not make the checkpoint a state dict.
    let build = |heap: &mut Heap| {
        let weights = dict(heap, &[("w", tensor()), ("b", tensor())]);
        dict(heap, &[("mean", tensor()), ("state_dict", weights)])
    };
    let found = found_in(build, None).unwrap();
    assert_eq!(found.key.as_deref(), Some("state_dict"));
    assert_eq!(found.tensors.len(), 2);
    assert_eq!(found.skipped, ["mean (a tensor)"]);
    let root = found_in(build, Some("")).unwrap();
    assert_eq!((root.key, root.tensors.len()), (None, 1));
}

#[test]
fn a_lone_state_dict_is_found_under_any_name() {
    let build = |heap: &mut Heap| {
        let weights = dict(heap, &[("w", tensor())]);
        let inner = dict(heap, &[("backbone", weights)]);
        let moments = dict(heap, &[("exp_avg", tensor())]);
        let optimiser = dict(heap, &[("param_groups", Value::None), ("state", moments)]);
        dict(heap, &[("optim", optimiser), ("ema", inner), ("epoch", Value::Int(3))])
    };
    let found = found_in(build, None).unwrap();
    assert_eq!(found.key.as_deref(), Some("ema.backbone"));
    assert_eq!(found.metadata["epoch"], Json::from(3));
    assert_eq!(found.skipped, ["optim (optimiser state)"]);
}

#[test]
fn one_dictionary_under_two_names_is_no_question() {
    let build = |heap: &mut Heap| {
        let weights = dict(heap, &[("w", tensor())]);
        dict(heap, &[("best", weights.clone()), ("last", weights)])
    };
    assert_eq!(found_in(build, None).unwrap().key.as_deref(), Some("best"));
    assert_eq!(found_in(build, Some("last")).unwrap().key.as_deref(), Some("last"));
}

#[test]
fn the_last_of_equal_keys_counts() {
    let build = |heap: &mut Heap| {
        dict(heap, &[("w", Value::Int(1)), ("v", tensor()), ("w", tensor()), ("v", Value::Int(2))])
    };
    let found = found_in(build, None).unwrap();
    let names: Vec<&str> = found.tensors.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["w"]);
    assert_eq!(found.metadata["v"], Json::from(2));
}

#[test]
fn lists_that_share_their_items_do_not_explode() {
    // Ten times ten times ten ...: a thousand bytes in a pickle, 10^30 values as JSON.
    let build = |heap: &mut Heap| {
        let mut value = text("ha");
        for _ in 0..30 {
            value = Value::List(heap.items(vec![value; 10]));
        }
        let weights = dict(heap, &[("w", tensor())]);
        dict(heap, &[("state_dict", weights), ("laughs", value)])
    };
    let found = found_in(build, None).unwrap();
    assert_eq!(found.skipped, ["laughs (too many values)"]);
    // A dictionary within itself ends as well.
    let build = |heap: &mut Heap| {
        let circle = dict(heap, &[]);
        let Value::Dict(id) = circle else { panic!() };
        heap.pairs_mut(id).unwrap().push((text("self"), circle.clone()));
        let weights = dict(heap, &[("w", tensor())]);
        dict(heap, &[("state_dict", weights), ("circle", circle)])
    };
    assert_eq!(found_in(build, None).unwrap().skipped, ["circle (too deep)"]);
}

#[test]
fn opaque_parts_leave_the_rest_of_an_entry() {
    let build = |heap: &mut Heap| {
        let weights = dict(heap, &[("w", tensor())]);
        let list = Value::List(heap.items(vec![
            Value::Int(1),
            Value::Opaque("a.B".into()),
            Value::Int(3),
        ]));
        let inner = dict(heap, &[("list", list), ("x", Value::Float(f64::INFINITY))]);
        dict(heap, &[("model", weights), ("init", inner)])
    };
    let found = found_in(build, None).unwrap();
    assert_eq!(found.metadata["init"], serde_json::json!({"list": [1, null, 3], "x": "inf"}));
    assert_eq!(found.skipped, ["init.list.1 (a.B)"]);
}
