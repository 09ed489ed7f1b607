//! What a recipe can say about feature discrepancy.
//!
//! ```toml
//! [phase.loss]
//! dice = 1.0
//! bce = 1.0
//! feature_discrepancy = { form = "region-mean", alpha = "ascent" }
//! ```

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::FdClasses;
use super::alpha::AlphaRule;
use super::feature_discrepancy::{FdForm, MinusLog};
use super::region_weights::FdPixels;

/// What can be wrong with a [`FeatureDiscrepancyConfig`].
#[derive(Debug, Clone, PartialEq, Error)]
pub enum DiscrepancyConfigError {
    /// `eps` cannot keep the logarithm finite.
    #[error("feature_discrepancy.eps must be a finite number above 0, got {0}")]
    Eps(f64),
    /// A number of the alpha rule is out of range.
    #[error("feature_discrepancy.alpha.{key} must be a finite number {range}, got {value}")]
    Alpha {
        /// Key in the file.
        key: &'static str,
        /// What is allowed.
        range: &'static str,
        /// What was given.
        value: f64,
    },
    /// A temperature that divides by zero.
    #[error("feature_discrepancy.temperature must be a finite number above 0, got {0}")]
    Temperature(f64),
    /// Two choices that have no meaning together.
    #[error("feature_discrepancy.{one} cannot go with {other}: {why}")]
    Combination {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// What to choose instead.
        why: &'static str,
    },
    /// An empty list of layers.
    #[error("feature_discrepancy.layers is empty; name at least one tap, or write \"all\"")]
    NoLayers,
    /// A layer stands twice.
    #[error("feature_discrepancy.layers names \"{0}\" twice")]
    RepeatedLayer(String),
    /// A layer the model does not have.
    #[error("feature_discrepancy.layers names \"{name}\", which this model does not tap ({known})")]
    UnknownLayer {
        /// The name asked for.
        name: String,
        /// All taps of the model, comma separated.
        known: String,
    },
}

/// Which taps take part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Layers {
    /// All of them: encoder blocks, bottleneck, decoder blocks. The paper finds this 1.3 to 1.8
    /// Dice points better than a selection.
    #[default]
    All,
    /// Those of the given names.
    Named(Vec<String>),
}

impl Layers {
    /// Positions in `taps` of the layers that take part, in the order of `taps`.
    ///
    /// # Errors
    /// When a name is not among `taps`.
    pub fn select<S: AsRef<str>>(&self, taps: &[S]) -> Result<Vec<usize>, DiscrepancyConfigError> {
        let Self::Named(names) = self else {
            return Ok((0..taps.len()).collect());
        };
        let known = |name: &str| taps.iter().any(|tap| tap.as_ref() == name);
        if let Some(name) = names.iter().find(|name| !known(name)) {
            let known = taps.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
            return Err(DiscrepancyConfigError::UnknownLayer { name: name.clone(), known });
        }
        let asked = |&i: &usize| names.iter().any(|name| name == taps[i].as_ref());
        Ok((0..taps.len()).filter(asked).collect())
    }
}

impl Serialize for Layers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Named(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllOrNames;

        impl<'de> de::Visitor<'de> for AllOrNames {
            type Value = Layers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"all\" or a list of tap names")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Layers, E> {
                if word == "all" {
                    Ok(Layers::All)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(word), &self))
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut names: A) -> Result<Layers, A::Error> {
                let mut list = Vec::new();
                while let Some(name) = names.next_element()? {
                    list.push(name);
                }
                Ok(Layers::Named(list))
            }
        }

        deserializer.deserialize_any(AllOrNames)
    }
}

/// Whether and how the exchanged term is added to `L_fd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exchangeable {
    /// Not at all.
    #[default]
    None,
    /// Algorithm 1 with a cyclic shift by a random `k`: needs no dataset labels.
    Shuffled,
    /// Algorithm 1 with independent random permutations of foregrounds and backgrounds (README).
    ShuffledIndependent,
    /// Definition 2 over every base-novel pair of the batch; needs both in a batch.
    BaseNovel,
    /// Definition 2 between the means of the base and of the novel images of the batch.
    BaseNovelMean,
    /// Definition 2 over a random one-to-one matching of base and novel images of the batch.
    BaseNovelMatched,
}

/// Feature discrepancy, as a recipe states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct FeatureDiscrepancyConfig {
    /// Meaning of the distance. Default `paper-sum`, Definition 1; `region-mean` is the choice that
    /// does not depend on the size of the object.
    pub form: FdForm,
    /// Whether the distance is squared inside the logarithm, which is a factor 2. Default: as
    /// published, squared for Definition 1's forms, not for Eq. 10 (`scalar-normalised`), the
    /// released code and Algorithm 1 (`exchangeable = "shuffled"`). `L_fd` and its exchanged term
    /// share it, so neither outweighs the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub squared: Option<bool>,
    /// How the weight per tap moves. Default: `descent-clip` as written for `paper-sum`, whose
    /// values are negative; `ascent` for the other forms, whose values are positive and under which
    /// descent would hold the weight at 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<AlphaRule>,
    /// Regions of a multi-class target. Default `foreground`.
    pub classes: FdClasses,
    /// Taps that take part. Default `"all"`.
    pub layers: Layers,
    /// Pixels that speak for foreground and background. Default `all`; the others are for forms of
    /// means.
    pub pixels: FdPixels,
    /// The exchanged term. Default `none`. With `form = "prototype"` it says whose images make the
    /// prototypes: `none` all others of the batch, `base-novel` those of the other data set.
    pub exchangeable: Exchangeable,
    /// Divides the cosines of `form = "prototype"`. Default 0.1.
    pub temperature: f64,
    /// Added to the squared distance. Default 1e-12.
    pub eps: f64,
}

impl Default for FeatureDiscrepancyConfig {
    fn default() -> Self {
        Self {
            form: FdForm::PaperSum,
            squared: None,
            alpha: None,
            classes: FdClasses::Foreground,
            layers: Layers::All,
            pixels: FdPixels::All,
            temperature: 0.1,
            exchangeable: Exchangeable::None,
            eps: 1e-12,
        }
    }
}

impl FeatureDiscrepancyConfig {
    /// The logarithm, with the default of `squared` filled in.
    #[must_use]
    pub fn log(&self) -> MinusLog {
        let algorithm_1 =
            matches!(self.exchangeable, Exchangeable::Shuffled | Exchangeable::ShuffledIndependent);
        let published =
            !algorithm_1 && !matches!(self.form, FdForm::ScalarNormalised | FdForm::ReleasedCode);
        MinusLog { squared: self.squared.unwrap_or(published), eps: self.eps }
    }

    /// The rule of the weights, with the default filled in.
    #[must_use]
    pub fn alpha_rule(&self) -> AlphaRule {
        self.alpha.unwrap_or(match self.form {
            FdForm::PaperSum => AlphaRule::DESCENT_CLIP,
            _ => AlphaRule::ASCENT,
        })
    }

    /// The same configuration with every default written out, for the resolved recipe.
    #[must_use]
    pub fn resolved(&self) -> Self {
        Self { squared: Some(self.log().squared), alpha: Some(self.alpha_rule()), ..self.clone() }
    }

    /// Why this combination is expected to leave the weights at 0 and the loss inert, if it is.
    #[must_use]
    pub fn inert_because(&self) -> Option<&'static str> {
        match (self.alpha_rule(), self.form) {
            (AlphaRule::Fixed { value: 0.0 }, _) => Some("alpha is fixed at 0"),
            (rule, _)
                if rule.numbers().iter().any(|&(k, v)| v == 0.0 && (k == "max" || k == "lr")) =>
            {
                Some("the alpha rule has a step size or an upper bound of 0")
            }
            (AlphaRule::DescentClip { .. }, FdForm::PaperSum) => None,
            (AlphaRule::DescentClip { .. }, _) => Some(
                "this form usually has positive values, under which descent holds alpha at 0; use \
                 the ascent rule or form paper-sum",
            ),
            (AlphaRule::Ascent { .. }, FdForm::PaperSum) => Some(
                "paper-sum usually has negative values, under which ascent never leaves 0; use the \
                 descent-clip rule or form region-mean",
            ),
            _ => None,
        }
    }

    /// Checks what a user may have written; the names of the layers are checked by
    /// [`Layers::select`] once the model is known.
    ///
    /// # Errors
    /// When a number is out of its range, or the list of layers is empty or repeats a name.
    pub fn validate(&self) -> Result<(), DiscrepancyConfigError> {
        if !self.eps.is_finite() || self.eps <= 0.0 {
            return Err(DiscrepancyConfigError::Eps(self.eps));
        }
        if !self.temperature.is_finite() || self.temperature <= 0.0 {
            return Err(DiscrepancyConfigError::Temperature(self.temperature));
        }
        let means = matches!(self.form, FdForm::RegionMean | FdForm::Relative | FdForm::Prototype);
        if self.pixels != FdPixels::All && !means {
            return Err(DiscrepancyConfigError::Combination {
                one: "pixels",
                other: "this form",
                why: "weights need a form of means: region-mean, relative or prototype",
            });
        }
        let paired = !matches!(self.exchangeable, Exchangeable::None | Exchangeable::BaseNovel);
        if self.form == FdForm::Prototype && paired {
            return Err(DiscrepancyConfigError::Combination {
                one: "exchangeable",
                other: "form = \"prototype\"",
                why: "prototypes are not pairs; write \"none\" or \"base-novel\"",
            });
        }
        for (key, value) in self.alpha_rule().numbers() {
            let (allowed, range) = match key {
                "initial" | "share" => (value > 0.0, "above 0"),
                // A discrepancy may be negative, and so may what is asked of it.
                "target" => (true, ""),
                _ => (value >= 0.0, "of at least 0"),
            };
            if !value.is_finite() || !allowed {
                return Err(DiscrepancyConfigError::Alpha { key, range, value });
            }
        }
        if let Layers::Named(names) = &self.layers {
            if names.is_empty() {
                return Err(DiscrepancyConfigError::NoLayers);
            }
            let repeated = (1..names.len()).find(|&i| names[..i].contains(&names[i]));
            if let Some(i) = repeated {
                return Err(DiscrepancyConfigError::RepeatedLayer(names[i].clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
