//! The study file: which methods, at which points, with which seeds.
//!
//! The grammar is documented in `docs/studies.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use scant_core::{FRACTION_AXIS, NOISE_AXIS};
use serde::{Deserialize, Serialize};

use super::StudyError;
use crate::recipe::overrides::{nearest, with_suggestion};

/// Axes that `[axes]` knows by name, and the key of the recipe that each one sets.
const NAMED_AXES: [(&str, &str); 4] = [
    (FRACTION_AXIS, "data.novel_fraction"),
    (NOISE_AXIS, "data.noise_sigma"),
    ("model", "model.name"),
    ("fold", "split.fold"),
];

/// A study, read and checked but for its recipes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyFile {
    /// Name of the study.
    pub name: String,
    /// The question it is to answer.
    #[serde(default)]
    pub purpose: String,
    /// The pool, relative to the file; may be given on the command line instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PathBuf>,
    /// Whose test cases the headline is about: `base`, `novel`, `all` or the name of a source.
    #[serde(default = "base")]
    pub judge: String,
    /// The method that all others are compared with.
    pub reference: String,
    /// Seeds; runs of one seed share their split and their initial weights.
    pub seeds: Vec<u64>,
    /// `key=value` for the recipe of every run.
    #[serde(default)]
    pub set: Vec<String>,
    /// Axes known by name; empty once read, when they stand in `axis` as well.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    axes: BTreeMap<String, Vec<toml::Value>>,
    /// All axes, in the order they are shown.
    #[serde(default)]
    pub axis: Vec<Axis>,
    /// Methods, in the order they are shown.
    #[serde(rename = "method")]
    pub methods: Vec<Method>,
    /// How the runs are run; changes no result.
    #[serde(default)]
    pub run: RunOptions,
}

fn base() -> String {
    "base".into()
}

/// One axis of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Its name, in tables and folders.
    pub name: String,
    /// The key of the recipe that it sets.
    pub key: String,
    /// The methods it is about; a run of any other method stands at every value. All, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// What the key is set to, in order.
    pub values: Vec<Value>,
}

impl Axis {
    /// Whether the runs of a method differ along this axis.
    #[must_use]
    pub fn concerns(&self, method: &str) -> bool {
        self.methods.as_ref().is_none_or(|of| of.iter().any(|m| m == method))
    }

    fn labels(&self) -> Vec<String> {
        self.values.iter().map(Value::label).collect()
    }
}

/// A value on an axis, with a name where its text would be too long for one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// `{ name = "outer", value = ["enc1", "dec1"] }`
    Named(NamedValue),
    /// `0.25`
    Plain(toml::Value),
}

/// See [`Value::Named`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedValue {
    name: String,
    value: toml::Value,
}

impl Value {
    /// What stands in tables and folders.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Named(named) => named.name.clone(),
            Self::Plain(toml::Value::String(text)) => text.clone(),
            Self::Plain(toml::Value::Array(items)) => {
                let items: Vec<String> =
                    items.iter().map(|i| Self::Plain(i.clone()).label()).collect();
                items.join("+")
            }
            // Shorter than TOML's `1.0`, and the same for 1 and 1.0.
            Self::Plain(toml::Value::Float(number)) => number.to_string(),
            Self::Plain(other) => other.to_string(),
        }
    }

    /// What the recipe is set to.
    #[must_use]
    pub fn value(&self) -> &toml::Value {
        match self {
            Self::Named(named) => &named.value,
            Self::Plain(value) => value,
        }
    }
}

/// One way to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Its name, in tables and folders.
    pub name: String,
    /// A built-in recipe, or a file relative to the study file.
    pub recipe: String,
    /// `key=value` for its recipe.
    #[serde(default)]
    pub set: Vec<String>,
    /// Per axis, the values at which the method makes sense; every value, if left out.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<toml::Value>>,
}

impl Method {
    /// Whether the method is asked for at this value.
    #[must_use]
    pub fn stands_at(&self, axis: &str, label: &str) -> bool {
        let wanted = |v: &toml::Value| Value::Plain(v.clone()).label() == label;
        self.only.get(axis).is_none_or(|values| values.iter().any(wanted))
    }
}

/// What is left of a run once it is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Everything.
    All,
    /// Records and `model.safetensors`.
    Models,
    /// Records alone.
    #[default]
    Records,
}

/// `[run]`: how the runs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunOptions {
    /// Runs at once; as many as there are cores for, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<usize>,
    /// Worker threads of each run.
    pub threads: usize,
    /// Memory for all runs together, MiB; most of what is free, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// What is left of a finished run.
    pub keep: Keep,
    /// Write masks, pictures and a report into every run as well.
    pub pictures: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { parallel: None, threads: 1, memory_mib: None, keep: Keep::Records, pictures: false }
    }
}

impl StudyFile {
    /// Reads a study and checks everything but its recipes.
    ///
    /// # Errors
    /// When the text is not TOML, a key is unknown, or a value cannot be meant.
    pub fn parse(text: &str) -> Result<Self, StudyError> {
        let mut file: Self =
            toml::from_str(text).map_err(|e| StudyError::Parse(with_suggestion(&e.to_string())))?;
        file.unfold_axes()?;
        file.validate()?;
        Ok(file)
    }

    /// The study as TOML, every axis in full; reading it back gives the same study.
    ///
    /// # Panics
    /// Never: a study is plain data.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a study is plain data")
    }

    /// Seeds 1 to `count` instead of those of the file.
    ///
    /// # Errors
    /// When there would be none.
    pub fn with_seeds(mut self, count: u64) -> Result<Self, StudyError> {
        self.seeds = (1..=count).collect();
        self.validate()?;
        Ok(self)
    }

    /// Whether this file may go on with a study that was begun with `before`.
    ///
    /// # Errors
    /// When anything but added methods, seeds and values has changed; the message names it.
    pub fn continues(&self, before: &Self) -> Result<(), StudyError> {
        let changed = |what: String| Err(StudyError::Changed(what));
        for (key, a, b) in [
            ("name", &before.name, &self.name),
            ("judge", &before.judge, &self.judge),
            ("reference", &before.reference, &self.reference),
        ] {
            if a != b {
                return changed(format!("{key} was \"{a}\" and is \"{b}\" now"));
            }
        }
        if before.set != self.set {
            return changed(format!("set was {:?} and is {:?} now", before.set, self.set));
        }
        if let Some(seed) = before.seeds.iter().find(|s| !self.seeds.contains(s)) {
            return changed(format!("seed {seed} is missing now"));
        }
        let names = |f: &Self| f.axis.iter().map(|a| a.name.clone()).collect::<Vec<_>>();
        if names(before) != names(self) {
            return changed(format!("its axes were {:?} and are {:?}", names(before), names(self)));
        }
        for (a, b) in before.axis.iter().zip(&self.axis) {
            let name = &a.name;
            if a.key != b.key {
                return changed(format!("the key of axis \"{name}\" is another one now"));
            }
            if let Some(value) = a.values.iter().find(|v| !b.values.contains(v)) {
                return changed(format!("axis \"{name}\" lacks {} now", value.label()));
            }
            if before.methods.iter().any(|m| a.concerns(&m.name) != b.concerns(&m.name)) {
                return changed(format!("axis \"{name}\" is about other methods now"));
            }
        }
        for a in &before.methods {
            let Some(b) = self.methods.iter().find(|m| m.name == a.name) else {
                return changed(format!("method \"{}\" is missing now", a.name));
            };
            if (&a.recipe, &a.set) != (&b.recipe, &b.set) {
                return changed(format!("method \"{}\" is another one now", a.name));
            }
            let lost = before.axis.iter().any(|axis| {
                let at = |m: &Method, label: &String| m.stands_at(&axis.name, label);
                axis.labels().iter().any(|label| at(a, label) && !at(b, label))
            });
            if lost {
                return changed(format!("method \"{}\" is at fewer points now", a.name));
            }
        }
        Ok(())
    }

    /// Named axes become axes like all others, in a fixed order and before them.
    fn unfold_axes(&mut self) -> Result<(), StudyError> {
        let mut named = std::mem::take(&mut self.axes);
        let mut all = Vec::new();
        for (name, key) in NAMED_AXES {
            if let Some(values) = named.remove(name) {
                let values = values.into_iter().map(Value::Plain).collect();
                all.push(Axis { name: name.into(), key: key.into(), methods: None, values });
            }
        }
        if let Some(name) = named.keys().next() {
            let known: Vec<&str> = NAMED_AXES.iter().map(|a| a.0).collect();
            let hint = nearest(name, known.iter().copied())
                .map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            let known = known.join(", ");
            return Err(StudyError::Parse(format!(
                "axes.{name}: [axes] has {known}{hint}; for any other key write an [[axis]] with \
                 name, key and values"
            )));
        }
        all.append(&mut self.axis);
        self.axis = all;
        Ok(())
    }

    fn validate(&self) -> Result<(), StudyError> {
        let bad =
            |key: &str, value: String, allowed: &str| Err(StudyError::value(key, value, allowed));
        check_name("name", &self.name)?;
        if self.seeds.is_empty() {
            return bad("seeds", "[]".into(), "at least one seed; claims need five or more");
        }
        if let Some(seed) = repeated(&self.seeds) {
            return bad(
                "seeds",
                format!("{:?}", self.seeds),
                &format!("{seed} stands there twice"),
            );
        }
        if self.methods.is_empty() {
            return bad("method", "[]".into(), "a study needs at least one [[method]]");
        }
        let names: Vec<&String> = self.methods.iter().map(|m| &m.name).collect();
        if let Some(name) = repeated(&names) {
            return bad("method.name", format!("\"{name}\""), "names must differ");
        }
        for method in &self.methods {
            check_name("method.name", &method.name)?;
            for (axis, values) in &method.only {
                let key = format!("method.{}.only.{axis}", method.name);
                let Some(axis) = self.axis.iter().find(|a| a.name == *axis) else {
                    let all: Vec<&str> = self.axis.iter().map(|a| a.name.as_str()).collect();
                    let allowed = format!("the axes of this study are: {}", all.join(", "));
                    return Err(StudyError::value(&key, "[ .. ]", allowed));
                };
                let labels = axis.labels();
                for value in values {
                    let label = Value::Plain(value.clone()).label();
                    if !labels.contains(&label) {
                        let allowed = format!("the axis has {}", labels.join(", "));
                        return Err(StudyError::value(&key, label, allowed));
                    }
                }
            }
        }
        if !names.contains(&&self.reference) {
            let value = format!("\"{}\"", self.reference);
            let hint = nearest(&self.reference, names.iter().map(|n| n.as_str()))
                .map_or(String::new(), |n| format!("; did you mean \"{n}\"?"));
            let names: Vec<&str> = names.iter().map(|n| n.as_str()).collect();
            let allowed = format!("one of the methods: {}{hint}", names.join(", "));
            return Err(StudyError::value("reference", value, allowed));
        }
        let axes: Vec<&String> = self.axis.iter().map(|a| &a.name).collect();
        if let Some(name) = repeated(&axes) {
            return bad("axis.name", format!("\"{name}\""), "names must differ");
        }
        for axis in &self.axis {
            check_name("axis.name", &axis.name)?;
            let key = format!("axis.{}.values", axis.name);
            if axis.values.is_empty() {
                return bad(&key, "[]".into(), "at least one value");
            }
            if let Some(label) = repeated(&axis.labels()) {
                return bad(&key, label, "stands there twice");
            }
            if axis.key.split('.').any(str::is_empty) {
                let key = format!("axis.{}.key", axis.name);
                return bad(&key, format!("\"{}\"", axis.key), "a dotted key of a recipe");
            }
            let unknown = |m: &&String| !names.contains(m);
            if let Some(method) = axis.methods.iter().flatten().find(unknown) {
                let key = format!("axis.{}.methods", axis.name);
                return bad(&key, format!("\"{method}\""), "no method of this study");
            }
        }
        if self.run.parallel == Some(0) {
            return bad("run.parallel", "0".into(), "at least 1");
        }
        if self.run.threads == 0 {
            return bad("run.threads", "0".into(), "at least 1, so that runs can be repeated");
        }
        Ok(())
    }
}

/// Names become folders.
fn check_name(key: &str, name: &str) -> Result<(), StudyError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with('.') {
        return Ok(());
    }
    let allowed = "letters, digits, -, _, + and . only, for it names folders";
    Err(StudyError::value(key, format!("\"{name}\""), allowed))
}

fn repeated<T: Ord + Clone>(items: &[T]) -> Option<T> {
    let mut seen = BTreeSet::new();
    items.iter().find(|i| !seen.insert((*i).clone())).cloned()
}

#[cfg(test)]
mod tests;
