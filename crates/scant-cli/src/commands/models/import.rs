//! `scant models import`: weights of other programs under the names of a network here.

use std::collections::BTreeMap;

use scant_core::LabelSpace;
use scant_infer::{ModelCard, Provenance};
use scant_io::weights::{ReadOptions, WeightFile, WeightFormat};
use scant_nn::model::{ModelError, Shapes};
use scant_nn::weights::{self, HostTensor, Mapped, Weights};
use scant_nn::{Device, Model, ModelConfig};
use scant_train::Recipe;
use serde::Serialize;
use serde_json::json;
use toml::{Table, Value};

use super::super::list::print_json;
use crate::args::ImportWeightsArgs;
use crate::exit::{Failure, Result};
use crate::recipes;

/// Metadata key of files that hold weights without classes and preprocessing.
const KEY: &str = "scant-weights";

pub(super) fn run(args: &ImportWeightsArgs) -> Result {
    let format = match args.from.as_str() {
        "auto" => None,
        word => Some(word.parse().map_err(|e| Failure::usage(format!("--from: {e}")))?),
    };
    let options = ReadOptions { format, key: args.key.clone(), ..ReadOptions::default() };
    let file = scant_io::weights::read(&args.file, &options).map_err(Failure::data)?;
    let config = config(args, &file)?;
    let recipe = args
        .recipe
        .as_ref()
        .map(|name| -> Result<Recipe> { Ok(Recipe::parse(&recipes::find(name)?.0, &[])?) });
    let recipe = recipe.transpose()?;
    let classes = (!args.classes.is_empty())
        .then(|| LabelSpace::new(args.classes.clone()))
        .transpose()
        .map_err(|e| Failure::usage(format!("--classes: {e}")))?;
    let config = match (&classes, &recipe) {
        (Some(classes), Some(recipe)) => {
            config.with_channels(recipe.data.channels, classes.logit_channels())
        }
        _ => config,
    };
    let model = config.zeros(&Device::flex()).map_err(Failure::usage)?;
    let shapes = weights::shapes(&model);
    let mut mapped = match file.format {
        WeightFormat::Keras => by_keras_order(&model, &file, args)?,
        _ => model.adopt(&file.clone().into_weights()),
    };
    let folded = if classes.is_some() { fold_heads(&mut mapped, &file, &shapes) } else { vec![] };
    let report = Report::new(args, &config, &file, &mapped, &shapes, folded);
    if mapped.tensors.is_empty() {
        return Err(Failure::data(format!(
            "{}: none of its {} tensors fits {} by name and shape (the first is {}); is it another network?",
            args.file.display(),
            file.tensors.len(),
            config.name(),
            file.tensors.first().map_or("", |(name, _)| name),
        )));
    }
    if let (Some(classes), Some(recipe)) = (classes, recipe) {
        if let Some(name) = report.missing.first() {
            return Err(Failure::data(format!(
                "{}: {} tensors of {} are missing or of another shape, {name} among them, so nothing could be \
                 predicted; leave --classes out to train from these weights",
                args.file.display(),
                report.missing.len(),
                config.name(),
            )));
        }
        write_model(args, &config, classes, &recipe, &mapped.tensors)?;
    } else if let Some(out) = &args.out {
        let card = serde_json::to_string(&json!({
            "model": config, "from": report.file, "format": report.format, "license": args.license,
        }));
        let metadata = BTreeMap::from([(KEY.to_owned(), card.map_err(Failure::failed)?)]);
        scant_io::write_atomic(out, &scant_infer::to_bytes(&mapped.tensors, metadata))?;
    }
    if args.json { print_json(&report) } else { report.print(args) }
}

/// The network the file is for: its sizes are those of the tensors where they tell them, else the
/// published ones; `--set` changes either.
fn config(args: &ImportWeightsArgs, file: &WeightFile) -> Result<ModelConfig> {
    let published = ModelConfig::published(&args.model).map_err(Failure::usage)?;
    let deduced = if file.format == WeightFormat::Keras {
        let shapes: Vec<Vec<usize>> = file.tensors.iter().map(|(_, t)| t.shape.clone()).collect();
        ModelConfig::deduce_keras(&args.model, &shapes)
    } else {
        let tensors = weights::unwrapped(&file.clone().into_weights());
        let shapes: Shapes = tensors.iter().map(|(n, t)| (n.clone(), t.shape.clone())).collect();
        ModelConfig::deduce(&args.model, &shapes)
    };
    let config = match deduced {
        Ok(config) => config,
        Err(ModelError::Foreign { .. }) => published,
        Err(e) => return Err(Failure::usage(e)),
    };
    if args.set.is_empty() {
        return Ok(config);
    }
    let mut table = Table::try_from(&config).map_err(Failure::failed)?;
    for given in &args.set {
        let (key, value) = given
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("--set {given}: write key=value")))?;
        let value: Value = toml::from_str::<Table>(&format!("v = {value}"))
            .ok()
            .and_then(|mut t| t.remove("v"))
            .unwrap_or_else(|| Value::String(value.to_owned()));
        table.insert(key.trim().to_owned(), value);
    }
    table.try_into().map_err(|e: toml::de::Error| Failure::usage(format!("--set: {}", e.message())))
}

/// Tensors of a Keras file, which are known by their place in the network.
fn by_keras_order(model: &Model, file: &WeightFile, args: &ImportWeightsArgs) -> Result<Mapped> {
    let refused = |reason: &dyn std::fmt::Display| {
        Failure::data(format!("{}: {reason}", args.file.display()))
    };
    let Some(order) = model.keras_order() else {
        return Err(refused(&format!(
            "a Keras file, but the reference of {} is not written in Keras",
            args.model
        )));
    };
    let paths: Vec<String> = order.iter().map(|entry| entry.path.clone()).collect();
    let positions = |paths: &[String]| {
        file.keras_positions(&paths.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // A head that one author named is a numbered convolution of another's, the last one.
    let convolutions = paths.iter().filter(|p| p.starts_with("conv2d") && p.ends_with("kernel"));
    let last = convolutions.filter(|p| !p.starts_with("conv2d_transpose")).count();
    let numbered: Vec<String> =
        paths.iter().map(|p| p.replace("OUT/", &format!("conv2d_{last}/"))).collect();
    let places = positions(&numbered).or_else(|_| positions(&paths)).map_err(|e| refused(&e))?;
    let tensors: Vec<HostTensor> = places.into_iter().map(|i| file.tensors[i].1.clone()).collect();
    let tensors = weights::from_keras(model, &tensors).map_err(|e| refused(&e))?;
    Ok(Mapped { tensors, ..Mapped::default() })
}

/// Heads of two softmax channels become heads of one logit, which is how a single foreground class is
/// predicted here. Their names.
fn fold_heads(mapped: &mut Mapped, file: &WeightFile, shapes: &Shapes) -> Vec<String> {
    let mut folded = Vec::new();
    for (name, tensor) in weights::unwrapped(&file.clone().into_weights()) {
        let Some(one) = shapes.get(&name).and_then(|shape| weights::one_logit(&tensor, shape))
        else {
            continue;
        };
        mapped.unused.retain(|unused| !unused.ends_with(&name));
        mapped.tensors.insert(name.clone(), one);
        folded.push(name);
    }
    folded
}

fn write_model(
    args: &ImportWeightsArgs,
    config: &ModelConfig,
    classes: LabelSpace,
    recipe: &Recipe,
    weights: &Weights,
) -> Result {
    let out = args.out.as_ref().expect("--classes requires --out");
    let card = ModelCard {
        schema: ModelCard::SCHEMA,
        model: config.clone(),
        mask_values: (0..classes.len())
            .map(|i| u8::try_from(i).expect("at most 255 classes"))
            .collect(),
        classes,
        preprocess: recipe.data.preprocess(),
        tile: recipe.data.patches.as_ref().map(|p| p.size),
        threshold: 0.5,
        provenance: Provenance {
            scant_version: env!("CARGO_PKG_VERSION").into(),
            run: format!("imported from {}", args.file.display()),
            ..Provenance::default()
        },
        license: args.license.clone(),
    };
    scant_infer::save(out, &card, weights).map_err(Failure::failed)
}

/// What came over and what did not.
#[derive(Debug, Serialize)]
struct Report {
    model: ModelConfig,
    file: String,
    format: &'static str,
    /// Where in the file the tensors were.
    state_dict: Option<String>,
    tensors_in_file: usize,
    matched: Vec<String>,
    /// Name, shape in the file, shape in the network.
    reshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Heads of two softmax channels that became one logit.
    folded: Vec<String>,
    /// In the network, but not among what came over.
    missing: Vec<String>,
    /// In the file, without a place in the network.
    unexpected: Vec<String>,
    /// Of the file, not read, with reasons.
    skipped: Vec<String>,
}

impl Report {
    fn new(
        args: &ImportWeightsArgs,
        config: &ModelConfig,
        file: &WeightFile,
        mapped: &Mapped,
        shapes: &Shapes,
        folded: Vec<String>,
    ) -> Self {
        let missing = shapes.keys().filter(|name| !mapped.tensors.contains_key(*name));
        Self {
            model: config.clone(),
            file: args.file.display().to_string(),
            format: file.format.name(),
            state_dict: file.state_dict.clone(),
            tensors_in_file: file.tensors.len(),
            matched: mapped.tensors.keys().cloned().collect(),
            reshaped: mapped.reshaped.clone(),
            folded,
            missing: missing.cloned().collect(),
            unexpected: mapped.unused.clone(),
            skipped: file.skipped.clone(),
        }
    }

    fn print(&self, args: &ImportWeightsArgs) -> Result {
        let place =
            self.state_dict.as_ref().map_or(String::new(), |key| format!(", under \"{key}\""));
        println!(
            "{:<11} {} ({}{place}), {} tensors",
            "file", self.file, self.format, self.tensors_in_file
        );
        let config = serde_json::to_string(&self.model).map_err(Failure::failed)?;
        println!("{:<11} {config}", "network");
        let all = self.matched.len() + self.missing.len();
        println!("{:<11} {} of {all} tensors of the network", "matched", self.matched.len());
        for (name, from, to) in &self.reshaped {
            println!("{:<11} {name}: {from:?} in the file, {to:?} in the network", "reshaped");
        }
        for name in &self.folded {
            println!("{:<11} {name}: two softmax channels as one logit", "folded");
        }
        for (what, names) in [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("skipped", &self.skipped),
        ] {
            match args.out.is_some() && names.len() > 12 {
                true => println!(
                    "{what:<11} {} and {} more (--json lists all)",
                    names[..6].join(", "),
                    names.len() - 6
                ),
                false if names.is_empty() => println!("{what:<11} none"),
                false => println!("{what:<11} {}", names.join(", ")),
            }
        }
        match &args.out {
            Some(out) => println!("{:<11} {}", "written", out.display()),
            None => println!("{:<11} nothing; -o FILE keeps the weights", "written"),
        }
        Ok(())
    }
}
