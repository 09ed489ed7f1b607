//! The layout of `.h5`: layers and their variables listed by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hdf5_reader::group::Group;
use serde_json::Value as Json;

use super::super::TensorOrder;
use super::super::element::Budget;
use super::super::error::Fault;
use super::names::{class_and_number, snake_case};
use super::{Found, KerasLayer, hdf5};

/// Where variables are that belong to the model itself and to no layer.
const OF_THE_MODEL: &str = "top_level_model_weights";

/// Variables of one layer of the list, by the path of the part that owns them, in order.
type Parts = Vec<(String, Vec<String>)>;

pub(super) fn read(
    group: &Group,
    config: Option<&Json>,
    budget: &mut Budget,
) -> Result<Found, Fault> {
    let mut layers = hdf5::strings(group, "layer_names")?.unwrap_or_default();
    let (groups, _) = group.member_names().map_err(hdf5::fault)?;
    if groups.iter().any(|name| name == OF_THE_MODEL) && !layers.iter().any(|l| l == OF_THE_MODEL) {
        layers.push(OF_THE_MODEL.into());
    }
    let classes = config.map(classes).unwrap_or_default();
    let repeated = repeated_names(group, &layers)?;
    let mut found = Found {
        tensors: Vec::new(),
        layers: Vec::new(),
        order: TensorOrder::Network,
        skipped: Vec::new(),
    };
    for layer in &layers {
        let place = hdf5::group(group, layer)?;
        let names = hdf5::strings(&place, "weight_names")?.unwrap_or_default();
        let (parts, order_is_known) = parts(&names);
        if !order_is_known {
            found.order = TensorOrder::Stored;
        }
        let is_single = parts.len() == 1;
        for (part, variables) in parts {
            // The parent in a variable's name need not be the layer's name when there is one part:
            // a sequence puts its own name in front.
            let path = if is_single || part.is_empty() { layer.clone() } else { part };
            let mut owner = owner(path, &classes);
            for stored in variables {
                let plain = plain(&stored);
                let name = match repeated.contains(plain) {
                    true => format!("{layer}/{plain}"),
                    false => plain.to_owned(),
                };
                let dataset = hdf5::dataset(&place, &stored)?;
                match hdf5::tensor(&dataset, &name, budget)? {
                    Ok(tensor) => {
                        let role = plain.rsplit('/').next().unwrap_or(plain);
                        owner.variables.push((role.to_owned(), found.tensors.len()));
                        found.tensors.push((name, tensor));
                    }
                    Err(kind) => found.skipped.push(format!("{name} ({kind})")),
                }
            }
            if !owner.variables.is_empty() {
                found.layers.push(owner);
            }
        }
    }
    Ok(found)
}

/// TensorFlow numbers the outputs of its operations; a variable has only `:0`.
fn plain(name: &str) -> &str {
    name.strip_suffix(":0").unwrap_or(name)
}

/// Names of variables that occur in more than one layer, as they may in networks within networks.
fn repeated_names(group: &Group, layers: &[String]) -> Result<BTreeSet<String>, Fault> {
    let mut seen = BTreeMap::new();
    for layer in layers {
        let place = hdf5::group(group, layer)?;
        for name in hdf5::strings(&place, "weight_names")?.unwrap_or_default() {
            *seen.entry(plain(&name).to_owned()).or_insert(0) += 1;
        }
    }
    Ok(seen.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect())
}

/// Variables by the part of a layer that owns them. A layer of layers is stored with what is trained
/// first and the statistics last; the list of a network has the variables of each part together.
///
/// The second value is `false` where a part comes up only among the statistics, because it was
/// frozen: where it belongs is then not known.
fn parts(names: &[String]) -> (Parts, bool) {
    let mut parts: Parts = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut last = usize::MAX;
    let mut returned = false;
    let mut order_is_known = true;
    for name in names {
        let parent = plain(name).rsplit_once('/').map_or("", |(parent, _)| parent);
        let place = match places.get(parent) {
            Some(&place) => {
                returned |= place != last;
                place
            }
            None => {
                order_is_known &= !returned;
                places.insert(parent.to_owned(), parts.len());
                parts.push((parent.to_owned(), Vec::new()));
                parts.len() - 1
            }
        };
        parts[place].1.push(name.clone());
        last = place;
    }
    (parts, order_is_known)
}

fn owner(path: String, classes: &BTreeMap<String, String>) -> KerasLayer {
    let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    let (stem, number) = class_and_number(&name);
    let class = classes.get(&name).cloned().unwrap_or_else(|| stem.to_owned());
    let number = (class == stem).then_some(number);
    KerasLayer { path, name: Some(name), class, number, variables: Vec::new() }
}

/// The class of each layer by its name, from the configuration of the model, as deep as networks
/// are within networks.
fn classes(config: &Json) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut open = vec![config];
    while let Some(model) = open.pop() {
        // Keras 2.0 has a bare list for a sequence.
        let layers = model["config"]["layers"].as_array().or_else(|| model["config"].as_array());
        for layer in layers.into_iter().flatten() {
            let name = layer["config"]["name"].as_str().or_else(|| layer["name"].as_str());
            if let (Some(name), Some(class)) = (name, layer["class_name"].as_str()) {
                out.insert(name.to_owned(), snake_case(class));
            }
            open.push(layer);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_a_part_come_together() {
        let stored = [
            "b/conv/kernel:0",
            "b/conv/bias:0",
            "b/bn/gamma:0",
            "b/bn/beta:0",
            "b/conv_1/kernel:0",
            "b/bn/moving_mean:0",
            "b/bn/moving_variance:0",
        ];
        let stored: Vec<String> = stored.map(Into::into).to_vec();
        let (found, known) = parts(&stored);
        assert!(known);
        let order: Vec<&str> = found.iter().flat_map(|(_, v)| v).map(|name| plain(name)).collect();
        assert_eq!(
            order,
            [
                "b/conv/kernel",
                "b/conv/bias",
                "b/bn/gamma",
                "b/bn/beta",
                "b/bn/moving_mean",
                "b/bn/moving_variance",
                "b/conv_1/kernel"
            ]
        );
        let frozen = ["a/bn/gamma", "a/conv/kernel", "a/bn/moving_mean", "a/frozen/kernel"];
        assert!(!parts(&frozen.map(String::from)).1, "where a/frozen belongs is not known");
    }

    #[test]
    fn a_chosen_name_has_the_class_of_the_configuration() {
        let config = serde_json::json!({"class_name": "Functional", "config": {"layers": [
            {"class_name": "Conv2D", "config": {"name": "OUT"}},
            {"class_name": "Sequential", "config": {"name": "inner", "layers": [
                {"class_name": "BatchNormalization", "config": {"name": "batch_normalization_3"}},
            ]}},
        ]}});
        let classes = classes(&config);
        let out = owner("OUT".into(), &classes);
        assert_eq!((out.class.as_str(), out.number), ("conv2d", None));
        let norm = owner("inner/batch_normalization_3".into(), &classes);
        assert_eq!((norm.class.as_str(), norm.number), ("batch_normalization", Some(3)));
        let unknown = owner("OUT".into(), &BTreeMap::new());
        assert_eq!((unknown.class.as_str(), unknown.number), ("OUT", Some(0)));
    }
}
