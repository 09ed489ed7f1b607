//! Keras files of both generations.

use scant_io::weights::{KerasLayer, ReadOptions, TensorOrder, WeightFile, WeightFormat};

use super::{assert_same, expected, open, refused};

/// The tensors under the names of the variables, `conv2d_1/kernel`, in the order of the file.
fn by_variable(file: &WeightFile) -> Vec<(String, scant_core::HostTensor)> {
    let mut out = Vec::new();
    for layer in &file.layers {
        for (role, position) in &layer.variables {
            let name = layer.name.as_deref().expect("the file tells the names");
            out.push((format!("{name}/{role}"), file.tensors[*position].1.clone()));
        }
    }
    assert_eq!(out.len(), file.tensors.len(), "every tensor has one layer");
    out
}

/// The last two parts of each path: `residual_block/conv2d/kernel` is `conv2d/kernel`.
fn shortened(list: Vec<(String, scant_core::HostTensor)>) -> Vec<(String, scant_core::HostTensor)> {
    let short = |path: String| {
        let parts: Vec<&str> = path.split('/').collect();
        parts[parts.len() - 2..].join("/")
    };
    list.into_iter().map(|(path, tensor)| (short(path), tensor)).collect()
}

#[test]
fn h5_files_are_read_in_the_order_of_the_model() {
    for (list, file) in [
        ("keras3.json", "functional.h5"),
        ("keras3.json", "packed.h5"),
        ("keras3.json", "blocks.h5"),
        ("keras2.json", "keras2.h5"),
        ("keras2.json", "keras2_weights.h5"),
    ] {
        let found = open(file);
        assert_eq!(found.format, WeightFormat::Keras, "{file}");
        assert_eq!(found.order, TensorOrder::Network, "{file}");
        assert_same(file, &found.tensors, &expected(list, file));
        by_variable(&found);
    }
}

#[test]
fn keras_archives_are_read_in_the_order_of_the_model() {
    for (list, file) in [
        ("keras3.json", "functional.keras"),
        ("keras3.json", "nested.keras"),
        ("keras2.json", "keras2.keras"),
    ] {
        let found = open(file);
        assert_eq!(found.order, TensorOrder::Network, "{file}");
        assert_same(file, &by_variable(&found), &shortened(expected(list, file)));
    }
}

#[test]
fn layers_of_other_files_are_found_by_class_and_by_creation() {
    let right = open("functional.h5");
    for file in
        ["functional.weights.h5", "second.weights.h5", "functional.keras", "keras2_weights.h5"]
    {
        let found = open(file);
        // In the order of the model: conv2d_1, conv2d, conv2d_2 and, where its class is known, OUT.
        let (a, b) = (found.layers_by_class(), right.layers_by_class());
        let kernel = |file: &WeightFile, layer: &KerasLayer| {
            file.tensors[layer.variable("kernel").unwrap()].1.clone()
        };
        for (of_found, of_right) in a["conv2d"].iter().zip(&b["conv2d"]) {
            assert_eq!(kernel(&found, of_found), kernel(&right, of_right), "{file}");
        }
        // In the order of creation the first two change places.
        let created = found.layers_by_creation().expect("names are known");
        let model = &a["conv2d"];
        assert_eq!(created["conv2d"][0], model[1], "{file}");
        assert_eq!(created["conv2d"][1], model[0], "{file}");
        assert_eq!(created["conv2d"][2], model[2], "{file}");
    }
    let first = |file: &str| open(file).layers_by_creation().unwrap()["conv2d"][0].number;
    assert_eq!(first("functional.weights.h5"), Some(0));
    assert_eq!(first("second.weights.h5"), Some(3), "the second network of its session");
}

#[test]
fn group_numbers_are_not_taken_for_names() {
    let found = open("functional.weights.h5");
    assert_eq!(found.order, TensorOrder::Stored);
    let at = |path: &str| found.layers.iter().find(|layer| layer.path == path).unwrap();
    assert_eq!(at("layers/conv2d").name.as_deref(), Some("conv2d_1"));
    assert_eq!(at("layers/conv2d").number, Some(1));
    assert_eq!(at("layers/conv2d_1").number, Some(0));
    let out = at("layers/conv2d_3");
    assert_eq!(
        (out.name.as_deref(), out.class.as_str(), out.number),
        (Some("OUT"), "conv2d", None)
    );
    let without_names = open("keras2.keras");
    assert_eq!(without_names.layers[1].name.as_deref(), Some("conv2d_1"), "from config.json");
}

#[test]
fn layers_of_layers_are_read() {
    let expected = shortened(expected("keras3.json", "blocks.h5"));
    for file in ["blocks.keras", "blocks.weights.h5"] {
        let found = open(file);
        assert_eq!(found.order, TensorOrder::Stored, "{file}: attributes tell no order");
        let mut variables = by_variable(&found);
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        let mut sorted = expected.clone();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        assert_same(file, &variables, &sorted);
        let created = found.layers_by_creation().unwrap();
        let numbers = |class: &str| -> Vec<_> { created[class].iter().map(|l| l.number).collect() };
        assert_eq!(numbers("batch_normalization"), [Some(0), Some(1), Some(2), Some(3)], "{file}");
        assert_eq!(numbers("separable_conv2d"), [Some(0), Some(1)], "{file}");
    }
}

#[test]
fn the_list_of_a_network_is_found_in_every_kind_of_file() {
    // The networks of both generations have the same values at the same place of their lists.
    let check = |list: &str, files: &[&str]| {
        let wanted = expected("keras3.json", list);
        // As where the network names its last layer itself and the list does not.
        let names: Vec<String> = wanted.iter().map(|(n, _)| n.replace("OUT", "conv2d_3")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for file in files {
            let found = open(file);
            let positions = found.keras_positions(&names).unwrap_or_else(|e| panic!("{file}: {e}"));
            for (position, (name, tensor)) in positions.iter().zip(&wanted) {
                assert_eq!(found.tensors[*position].1, *tensor, "{file}: {name}");
            }
        }
    };
    let files = [
        "functional.h5",
        "functional.keras",
        "functional.weights.h5",
        "second.weights.h5",
        "packed.h5",
        "keras2.h5",
        "keras2_weights.h5",
        "keras2.keras",
        "keras2.weights.h5",
    ];
    check("functional.h5", &files);
    check("blocks.h5", &["blocks.h5", "blocks.keras", "blocks.weights.h5"]);
    assert!(open("keras2.weights.h5").layers_by_creation().is_none(), "older files have no names");
}

#[test]
fn reduced_precision_is_read() {
    for file in ["bfloat16.weights.h5", "float16.weights.h5"] {
        let found = open(file);
        assert_same(file, &by_variable(&found), &shortened(expected("keras3.json", file)));
    }
}

#[test]
fn the_configuration_comes_as_metadata() {
    for file in ["functional.h5", "functional.keras", "keras2.h5", "keras2.keras"] {
        let found = open(file);
        let layers = found.metadata["model_config"]["config"]["layers"].as_array().unwrap();
        assert!(layers.iter().any(|layer| layer["class_name"] == "SeparableConv2D"), "{file}");
    }
    assert_eq!(open("keras2.h5").metadata["training_config"]["loss"], "mse");
    assert_eq!(open("functional.h5").metadata["backend"], "tensorflow");
    assert!(open("functional.keras").metadata["metadata"]["keras_version"].is_string());
    assert!(open("functional.weights.h5").metadata.is_empty());
}

#[test]
fn a_foreign_hdf5_file_says_what_it_holds() {
    let said = refused("foreign.h5", &ReadOptions::default()).to_string();
    assert!(said.contains("measurements") && said.contains("Keras did not write"), "{said}");
}
