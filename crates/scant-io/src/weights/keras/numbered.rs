//! The layout of `.weights.h5`, which `.keras` contains: variables numbered, layers by class.

use std::collections::{BTreeMap, HashSet};

use hdf5_reader::Dataset;
use hdf5_reader::group::Group;
use serde_json::Value as Json;

use super::super::element::Budget;
use super::super::error::Fault;
use super::super::{TensorOrder, WeightLimits};
use super::names::{by_number, class_and_number, roles, snake_case};
use super::{Found, KerasLayer, hdf5};

/// The group of the variables of whatever it is in.
const VARIABLES: &str = "vars";

/// Where the layers of a network are; the second is what Keras 2.13 called it.
const LAYERS: [&str; 2] = ["layers", "_layer_checkpoint_dependencies"];

/// Top groups that hold no weights but the state of training.
const TRAINING: [&str; 4] = ["optimizer", "metrics", "compile_metrics", "loss_tracker"];

/// Parts of layers that hold the state of a random generator, as dropout has it.
const GENERATOR: &str = "seed_generator";

/// Networks within networks, at most.
const MAX_DEPTH: usize = 32;

/// A group `vars` with something in it.
struct Owner {
    /// Path of the group that `vars` is in.
    path: String,
    name: Option<String>,
    variables: Vec<Dataset>,
}

/// A layer of the configuration.
struct Planned {
    position: usize,
    name: Option<String>,
    class: String,
}

pub(super) fn read(
    root: &Group,
    config: Option<&Json>,
    budget: &mut Budget,
    limits: &WeightLimits,
) -> Result<Found, Fault> {
    let mut walk = Walk { owners: Vec::new(), seen: HashSet::new(), left: limits.max_tensors * 4 };
    walk.enter(root, String::new(), 0)?;
    let mut owners = walk.owners;
    if owners.is_empty() {
        let (groups, datasets) = root.member_names().map_err(hdf5::fault)?;
        let mut seen: Vec<String> = groups.into_iter().chain(datasets).take(8).collect();
        seen.sort();
        let what = "it is an HDF5 file that Keras did not write, or one without weights, with";
        return Err(Fault::NoTensors { seen: format!("{what} {}", seen.join(", ")) });
    }
    let mut plan = BTreeMap::new();
    if let Some(config) = config {
        let root = if config["config"]["layers"].is_array() { Some(config) } else { None };
        root.into_iter().for_each(|model| planned(model, "", 0, &mut plan));
    }
    let place = |path: &str| {
        let planned = place_of(&plan, &current(path));
        planned.map_or(usize::MAX, |planned| planned.position)
    };
    owners.sort_by(|a, b| {
        place(&a.path).cmp(&place(&b.path)).then_with(|| by_number(&a.path, &b.path))
    });
    // In a layer of layers the parts are named after attributes, which tell no order.
    let listed = owners.iter().all(|owner| plan.contains_key(&current(&owner.path)));
    let order =
        if listed || owners.len() == 1 { TensorOrder::Network } else { TensorOrder::Stored };
    let mut found = Found { tensors: Vec::new(), layers: Vec::new(), order, skipped: Vec::new() };
    for owner in owners {
        add(owner, &plan, budget, &mut found)?;
    }
    Ok(found)
}

/// Reads the variables of a layer.
fn add(
    owner: Owner,
    plan: &BTreeMap<String, Planned>,
    budget: &mut Budget,
    found: &mut Found,
) -> Result<(), Fault> {
    let planned = plan.get(&current(&owner.path));
    let name = planned.and_then(|planned| planned.name.clone()).or(owner.name);
    let class = planned.map_or_else(|| class_of(&owner.path, name.as_deref()), |p| p.class.clone());
    let number = name.as_deref().map(class_and_number).filter(|(stem, _)| *stem == class);
    let roles = roles(&class, owner.variables.len());
    let mut variables = Vec::new();
    for (dataset, role) in owner.variables.iter().zip(roles) {
        let path = join(&join(&owner.path, VARIABLES), dataset.name());
        match hdf5::tensor(dataset, &path, budget)? {
            Ok(tensor) => {
                variables.push((role, found.tensors.len()));
                found.tensors.push((path, tensor));
            }
            Err(kind) => found.skipped.push(format!("{path} ({kind})")),
        }
    }
    let number = number.map(|(_, number)| number);
    found.layers.push(KerasLayer { path: owner.path, name, class, number, variables });
    Ok(())
}

/// The class of a layer that the configuration does not list. In a list of layers the group is named
/// after the class; elsewhere after the attribute, so that only the layer's name can tell.
fn class_of(path: &str, name: Option<&str>) -> String {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    let in_list = LAYERS.contains(&above.rsplit('/').next().unwrap_or_default());
    let named = if in_list { last } else { name.unwrap_or(last) };
    class_and_number(named).0.to_owned()
}

/// Collects the layers with variables.
struct Walk {
    owners: Vec<Owner>,
    /// Addresses of the groups entered, because links may form circles.
    seen: HashSet<u64>,
    /// How many more groups may be entered.
    left: usize,
}

impl Walk {
    fn enter(&mut self, group: &Group, path: String, depth: usize) -> Result<(), Fault> {
        let circle = || Fault::damaged("its groups contain themselves, or are nested too deep");
        if depth > MAX_DEPTH || !self.seen.insert(group.address()) {
            return Err(circle());
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            Fault::TooLarge("it has far more groups than the limit of tensors".into())
        })?;
        for inner in group.groups().map_err(hdf5::fault)? {
            let name = inner.name().to_owned();
            if name == VARIABLES {
                self.note(&inner, &path)?;
            } else if !(depth == 0 && TRAINING.contains(&name.as_str())) && name != GENERATOR {
                self.enter(&inner, join(&path, &name), depth + 1)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, group: &Group, path: &str) -> Result<(), Fault> {
        let mut variables = group.datasets().map_err(hdf5::fault)?;
        if variables.is_empty() {
            return Ok(());
        }
        variables.sort_by(|a, b| by_number(a.name(), b.name()));
        let name = group.attribute("name").ok().and_then(|attribute| attribute.read_string().ok());
        self.owners.push(Owner { path: path.to_owned(), name, variables });
        Ok(())
    }
}

/// Lists the layers of a configuration by the paths that Keras gives them in the file: the class,
/// counted within its network.
fn planned(model: &Json, path: &str, depth: usize, plan: &mut BTreeMap<String, Planned>) {
    let Some(layers) = model["config"]["layers"].as_array().filter(|_| depth < MAX_DEPTH) else {
        return;
    };
    let mut used: BTreeMap<String, u32> = BTreeMap::new();
    for layer in layers {
        let class = snake_case(layer["class_name"].as_str().unwrap_or_default());
        let count = used.entry(class.clone()).and_modify(|n| *n += 1).or_insert(0);
        let group = if *count == 0 { class.clone() } else { format!("{class}_{count}") };
        let path = join(&join(path, LAYERS[0]), &group);
        let name = layer["config"]["name"].as_str().or_else(|| layer["name"].as_str());
        let name = name.map(Into::into);
        plan.insert(path.clone(), Planned { position: plan.len(), name, class });
        planned(layer, &path, depth + 1, plan);
    }
}

/// The innermost layer of the configuration that a path is in.
fn place_of<'a>(plan: &'a BTreeMap<String, Planned>, path: &str) -> Option<&'a Planned> {
    let mut path = path;
    loop {
        if let Some(found) = plan.get(path) {
            return Some(found);
        }
        path = path.rsplit_once('/')?.0;
    }
}

/// A path with the present name of the groups of layers.
fn current(path: &str) -> String {
    path.replace(LAYERS[1], LAYERS[0])
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}/{name}") }
}
