//! `[model]`: which network, and how large.

use std::path::{Path, PathBuf};

use scant_nn::ModelConfig;
use scant_nn::model::NAMES;
use scant_nn::source_norm::has_batch_norm;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::overrides::nearest;

/// What the data decide, so that a recipe does not say it.
const FROM_THE_DATA: [&str; 2] = ["input_channels", "output_channels"];

/// `[model]`: the `name` of an architecture and whichever of its sizes are to differ from the
/// published ones; `scant models` lists both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct ModelSection {
    config: ModelConfig,
    weights: Option<PathBuf>,
    source_norm: bool,
}

impl ModelSection {
    /// The network, for data of any channels and classes.
    #[must_use]
    pub fn config(&self) -> ModelConfig {
        self.config.clone()
    }

    /// What may be written.
    fn keys(self) -> Vec<String> {
        Table::from(self).keys().cloned().collect()
    }

    /// `weights`: a safetensors file that the network starts from, as far as names and shapes agree.
    #[must_use]
    pub fn weights(&self) -> Option<&Path> {
        self.weights.as_deref()
    }

    /// `source_norm`: whether every source has batch norms of its own.
    #[must_use]
    pub fn source_norm(&self) -> bool {
        self.source_norm
    }
}

/// Whether a network has what `source_norm` makes one of per source.
///
/// # Errors
/// When it has no batch norm.
pub(crate) fn check_source_norm(
    recipe: &super::Recipe,
    config: &ModelConfig,
) -> Result<(), super::RecipeError> {
    if !recipe.model.source_norm() {
        return Ok(());
    }
    if recipe.balances_gradients() {
        let allowed = "not with alpha.rule = \"balanced\": sources pass through the network apart, so \
                       their gradients do not meet at a layer; choose another rule";
        return Err(super::RecipeError::value("model.source_norm", "true", allowed));
    }
    if has_batch_norm(&config.zeros(&scant_nn::Device::flex())?) {
        return Ok(());
    }
    let allowed =
        format!("{} has no batch norm that sources could have their own of", config.name());
    Err(super::RecipeError::value("model.source_norm", "true", &allowed))
}

impl TryFrom<Table> for ModelSection {
    type Error = String;

    fn try_from(mut table: Table) -> Result<Self, String> {
        if let Some(key) = FROM_THE_DATA.iter().find(|key| table.contains_key(**key)) {
            return Err(format!("model.{key} is not set here: it follows from the data"));
        }
        let name = match table.get("name") {
            Some(Value::String(name)) => name.clone(),
            Some(other) => return Err(format!("model.name = {other} is not a name")),
            None => return Err("model.name is missing; `scant models` lists the networks".into()),
        };
        let published = ModelConfig::published(&name).map_err(|_| {
            let nearest = nearest(&name, NAMES.iter().copied());
            let hint = nearest.map_or(String::new(), |n| format!("; did you mean \"{n}\"?"));
            format!(
                "model.name = \"{name}\" is not a network: there are {}{hint}",
                NAMES.join(", ")
            )
        })?;
        let known = Self { config: published, weights: Some(PathBuf::new()), source_norm: true };
        let known = Self::keys(known);
        if let Some(key) = table.keys().find(|key| !known.contains(key)) {
            let nearest = nearest(key, known.iter().map(String::as_str));
            let hint = nearest.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            let known = known.join(", ");
            return Err(format!("model.{key} is not a size of {name}, which has {known}{hint}"));
        }
        let weights = match table.remove("weights") {
            None => None,
            Some(Value::String(path)) => Some(path.into()),
            Some(other) => return Err(format!("model.weights = {other} is not a path")),
        };
        let source_norm = match table.remove("source_norm") {
            None => false,
            Some(Value::Boolean(own)) => own,
            Some(other) => {
                return Err(format!("model.source_norm = {other} is neither true nor false"));
            }
        };
        let config = table.try_into::<ModelConfig>().map_err(|e| e.message().to_owned())?;
        Ok(Self { config, weights, source_norm })
    }
}

impl From<ModelSection> for Table {
    fn from(section: ModelSection) -> Self {
        let mut table = Self::try_from(section.config).expect("a configuration is plain data");
        for key in FROM_THE_DATA {
            table.remove(key);
        }
        if section.source_norm {
            table.insert("source_norm".into(), Value::Boolean(true));
        }
        if let Some(path) = section.weights {
            // A path that is not Unicode came from no TOML file.
            table.insert("weights".into(), Value::String(path.to_string_lossy().into_owned()));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Result<ModelSection, String> {
        toml::from_str::<ModelSection>(text).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_left_out_is_as_published_and_written_out() {
        let got = section("name = \"unet\"\ndepth = 3").unwrap();
        let ModelConfig::UNet(unet) = got.config() else { panic!("{got:?}") };
        assert_eq!((unet.width, unet.depth), (64, 3));
        let text = toml::to_string(&got).unwrap();
        assert!(text.contains("width = 64") && !text.contains("channels"), "{text}");
        assert_eq!(section(&text).unwrap(), got);
        let started = section("name = \"unet\"\nweights = \"a/b.safetensors\"").unwrap();
        assert_eq!(started.weights(), Some(Path::new("a/b.safetensors")));
        assert_eq!(section(&toml::to_string(&started).unwrap()).unwrap(), started);
    }

    #[test]
    fn norms_per_source_are_asked_for_by_a_word() {
        let got = section("name = \"unet\"\nsource_norm = true").unwrap();
        assert!(got.source_norm());
        assert_eq!(section(&toml::to_string(&got).unwrap()).unwrap(), got);
        let plain = section("name = \"unet\"\nsource_norm = false").unwrap();
        assert!(!plain.source_norm() && !toml::to_string(&plain).unwrap().contains("source_norm"));
        let error = section("name = \"unet\"\nsource_norm = 1").unwrap_err();
        assert!(error.contains("neither true nor false"), "{error}");
    }

    #[test]
    fn every_network_can_be_written_and_read() {
        for info in scant_nn::model::catalogue() {
            let got = section(&format!("name = \"{}\"", info.name)).unwrap();
            assert_eq!(got.config(), info.default);
            assert_eq!(section(&toml::to_string(&got).unwrap()).unwrap(), got);
        }
    }

    #[test]
    fn foreign_keys_and_names_are_refused() {
        for (text, wanted) in [
            (
                "name = \"unet\"\nwidht = 3",
                "model.widht is not a size of unet, which has depth, name, source_norm, weights, width; did you mean `width`?",
            ),
            ("name = \"u-net\"", "did you mean \"unet\""),
            ("width = 3", "model.name is missing"),
            ("name = \"unet\"\nweights = 3", "is not a path"),
            ("name = \"unet\"\ninput_channels = 3", "follows from the data"),
        ] {
            let error = section(text).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
