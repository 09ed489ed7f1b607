//! A recipe: everything that decides a run besides its data.
//!
//! One phase list expresses every family of methods. Unknown keys are errors that name the nearest
//! valid key. What a file leaves out is filled in, and the filled-in recipe is stored with the run.

mod difference;
mod model;
pub(crate) mod overrides;
mod phase;
mod sections;
mod supply;

use scant_nn::{Device, ModelConfig, ModelError, on_cpu};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use difference::Difference;
pub use model::ModelSection;
pub(crate) use model::check_source_norm;
pub use phase::{From, Phase, PhaseLoss};
pub use sections::{
    DataSection, EmaSection, HarmoniseSection, LimitSection, OptimSection, OptimizerName,
    PrecisionName, ScheduleName, SplitSection,
};
pub(crate) use supply::Supply;

/// What can be wrong with a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecipeError {
    /// Not TOML, or a key or value that does not belong.
    #[error("recipe: {0}")]
    Parse(String),
    /// A size of the network out of its range.
    #[error("recipe: model: {0}")]
    Model(#[from] ModelError),
    /// A value out of its range.
    #[error("recipe: {key} = {value} is not possible: {allowed}")]
    Value {
        /// Dotted key.
        key: String,
        /// As written.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// `--set` with something that is not `key=value`.
    #[error("--set {given}: {reason}")]
    Override {
        /// As given.
        given: String,
        /// What is wrong.
        reason: String,
    },
}

impl RecipeError {
    pub(crate) fn value(key: &str, value: impl ToString, allowed: &str) -> Self {
        Self::Value { key: key.into(), value: value.to_string(), allowed: allowed.into() }
    }
}

/// See the module header; the grammar is documented in `docs/recipes.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of everything random: initial weights, split, order, augmentation.
    #[serde(default)]
    pub seed: u64,
    /// How convolutions multiply in training.
    #[serde(default)]
    pub precision: PrecisionName,
    /// The network.
    pub model: ModelSection,
    /// Images on their way to the network.
    #[serde(default)]
    pub data: DataSection,
    /// Who is trained on and who is held out.
    #[serde(default)]
    pub split: SplitSection,
    /// Optimiser and learning rate.
    #[serde(default)]
    pub optim: OptimSection,
    /// Exponential moving average of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaSection>,
    /// Limits of the whole run.
    #[serde(default)]
    pub limit: LimitSection,
    /// Training phases, in order.
    pub phase: Vec<Phase>,
}

impl Recipe {
    /// Reads a recipe, applies `key=value` overrides, fills in defaults and checks every value.
    ///
    /// # Errors
    /// When the text is not TOML, a key is unknown, or a value is out of its range.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, RecipeError> {
        let mut table: toml::Table =
            toml::from_str(text).map_err(|e| RecipeError::Parse(e.to_string()))?;
        for given in overrides {
            overrides::apply(&mut table, given)?;
        }
        // Through text, so that errors point at the line when nothing was overridden.
        let text = if overrides.is_empty() {
            text.to_owned()
        } else {
            toml::to_string(&table).map_err(|e| RecipeError::Parse(e.to_string()))?
        };
        let mut recipe: Self = toml::from_str(&text)
            .map_err(|e| RecipeError::Parse(overrides::with_suggestion(&e.to_string())))?;
        for phase in &mut recipe.phase {
            phase.resolve();
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// The filled-in recipe as TOML.
    ///
    /// # Panics
    /// Never: a recipe is plain data.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe is plain data")
    }

    /// The network this recipe describes for data with the given logit channels.
    ///
    /// # Errors
    /// When a size is outside what the architecture allows.
    pub fn model_config(&self, logit_channels: usize) -> Result<ModelConfig, RecipeError> {
        let config = self.model.config().with_channels(self.data.channels, logit_channels);
        let patch = self.data.patches.as_ref().map(|p| p.size);
        let config = match patch.or(self.data.size) {
            Some(size) => config.for_size(&size),
            None => config,
        };
        config.validate()?;
        Ok(config)
    }

    /// Whether a device can do what this recipe asks for.
    ///
    /// # Errors
    /// When the precision or a rule of alpha does not exist there.
    pub fn check_device(&self, device: &Device) -> Result<(), RecipeError> {
        if self.precision == PrecisionName::Bf16 && !on_cpu(device) {
            let allowed = "this device has \"fp32\"; \"bf16\" is for the CPU";
            return Err(RecipeError::value("precision", "\"bf16\"", allowed));
        }
        if self.balances_gradients() && !on_cpu(device) {
            let allowed = "this rule compares gradients, which is done on the CPU only";
            let key = "loss.feature_discrepancy.alpha.rule";
            return Err(RecipeError::value(key, "\"balanced\"", allowed));
        }
        Ok(())
    }

    /// Whether some alpha goes by the gradients that meet at its layer.
    pub(crate) fn balances_gradients(&self) -> bool {
        let rules = self.phase.iter().filter_map(|p| p.loss.feature_discrepancy.as_ref());
        rules.into_iter().any(|fd| fd.alpha_rule().needs_pull())
    }

    fn validate(&self) -> Result<(), RecipeError> {
        self.model_config(1)?;
        self.data.validate()?;
        self.split.validate()?;
        self.optim.validate()?;
        if let Some(ema) = &self.ema {
            ema.validate()?;
        }
        if self.phase.is_empty() {
            return Err(RecipeError::value("phase", "[]", "a recipe needs at least one [[phase]]"));
        }
        if self.ema.is_some() && self.model.source_norm() {
            let allowed =
                "a moving average keeps one set of norms: leave [ema] out, or source_norm";
            return Err(RecipeError::value("model.source_norm", "true", allowed));
        }
        for (i, phase) in self.phase.iter().enumerate() {
            phase.validate(i)?;
            self.validate_supply(i)?;
            if self.phase[..i].iter().any(|p| p.name == phase.name) {
                let value = format!("\"{}\"", phase.name);
                return Err(RecipeError::value("phase.name", value, "names must differ"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
