//! How the weight `alpha` of a tap's discrepancy changes over training.
//!
//! The total loss is `L_seg + Σ_l alpha_l L_fd(l)`, one `alpha` per tap, 0 at the start. The paper
//! trains `alpha` and says it "progressively rises from zero"; since `dL / d alpha = L_fd`, plain
//! descent raises it only while `L_fd < 0` (pixel sums) and holds it at 0 where `L_fd > 0` (means).
//! In the released code `alpha` is left outside the optimiser and stays 0. So the rule is a choice,
//! and each one below says how it fails.
//!
//! Rules are pure functions from state to state in `f64`; the trainer keeps one [`AlphaState`] per
//! tap, stores it in checkpoints, and calls [`AlphaRule::next`] after every optimiser step.
//!
//! Source: paper Eq. 2 and Algorithm 1; clipping to `[0, 1]` as in the released code; the other
//! rules are ours.

use serde::{Deserialize, Deserializer, Serialize, de};

/// Where training stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlphaProgress {
    /// Optimiser steps done in this phase.
    pub step: u64,
    /// Epochs finished in this phase.
    pub epoch: usize,
    /// Epochs of this phase.
    pub epochs: usize,
}

/// What a step showed of one tap; its discrepancy is unweighted and with the exchanged term, if any.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AlphaSeen {
    /// `None` when no image of the batch contributed.
    pub discrepancy: Option<f64>,
    /// Norm of the gradient of the weighted discrepancy at the tap over that of everything else that
    /// reaches it; `None` where it was not measured.
    pub pull: Option<f64>,
}

/// The weight of one tap with what its rule remembers.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlphaState {
    /// Weight of the discrepancy, at least 0.
    pub alpha: f64,
    /// Adam's running mean of the gradient.
    pub first_moment: f64,
    /// Adam's running mean of the squared gradient.
    pub second_moment: f64,
    /// Updates that saw a discrepancy.
    pub updates: u64,
}

/// How `alpha` follows the discrepancy.
///
/// In a file either a name, `"ascent"`, which takes the defaults, or a table,
/// `{ rule = "ascent", lr = 1e-3, max = 1.0 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum AlphaRule {
    /// Gradient descent on the total loss, then clipping to `[0, max]`: the method as written.
    ///
    /// Fails when `L_fd > 0` (pixel mean, region mean, scalar): `alpha` stays 0 and the loss is
    /// inert. With `L_fd < 0` it rises without end up to `max`; under Adam by about `lr` per step,
    /// so that 3 400 steps at 1e-4 end near 0.34.
    DescentClip {
        /// Step size.
        lr: f64,
        /// Upper bound.
        max: f64,
        /// Adam (0.9, 0.999, 1e-8) as the released script would have used, else plain descent.
        adam: bool,
    },
    /// Penalty reading: `alpha + lr L_fd` while `L_fd > 0`, clipped to `[0, max]`; never falls. The
    /// taps that separate worst get the largest weight.
    ///
    /// Fails when `L_fd < 0` (pixel sums of large maps): never leaves 0. Otherwise every tap ends
    /// at `max` if training is long enough, and the differences between taps are gone.
    Ascent {
        /// Step size.
        lr: f64,
        /// Upper bound.
        max: f64,
    },
    /// `max * min(1, epoch / ramp_epochs)`, whatever the discrepancy.
    ///
    /// Fails silently when `ramp_epochs` is longer than the phase: `max` is never reached.
    Schedule {
        /// Final value.
        max: f64,
        /// Epochs until it is reached; 0 means at once.
        ramp_epochs: f64,
    },
    /// Uncertainty weighting: descends `alpha L_fd - log alpha` in `log alpha`, which settles at
    /// `alpha = 1 / L_fd`.
    ///
    /// Starts at `initial`, never at 0. Fails when `L_fd <= 0`: there is no balance point and
    /// `alpha` grows to `max`.
    Uncertainty {
        /// Step size in `log alpha`.
        lr: f64,
        /// First value, above 0.
        initial: f64,
        /// Upper bound.
        max: f64,
    },
    /// Multiplier of the constraint `L_fd <= target`: `alpha + lr (L_fd - target)`, clipped to `[0,
    /// max]`. Unlike [`AlphaRule::Ascent`] it falls again once a tap separates well enough.
    ///
    /// Fails when no tap misses its target: the loss is inert, rightly. The values of the target are
    /// those of the form.
    Target {
        /// Step size.
        lr: f64,
        /// Discrepancy that is good enough.
        target: f64,
        /// Upper bound.
        max: f64,
    },
    /// As much weight as makes the gradient of the discrepancy at the tap `share` of everything else
    /// that reaches it, averaged over steps; at most `max`. So it can neither drown the segmentation
    /// loss nor be drowned by it, whatever the form, the size of the map and the depth.
    ///
    /// Starts at `initial`, to have something to measure. The gradients are compared on the CPU only.
    Balanced {
        /// Norm of the gradient relative to the rest, above 0.
        share: f64,
        /// First value, above 0.
        initial: f64,
        /// Upper bound.
        max: f64,
    },
    /// Constant, for ablations after a warm start.
    Fixed {
        /// The value.
        value: f64,
    },
}

impl AlphaRule {
    /// Names as written in files.
    pub const NAMES: [&'static str; 7] =
        ["descent-clip", "ascent", "schedule", "uncertainty", "target", "balanced", "fixed"];

    /// The method as written: Adam with the paper's learning rate, clipped to `[0, 1]`.
    pub const DESCENT_CLIP: Self = Self::DescentClip { lr: 1e-4, max: 1.0, adam: true };
    /// The penalty reading; at `L_fd = 1` the bound is reached after 1 000 steps.
    pub const ASCENT: Self = Self::Ascent { lr: 1e-3, max: 1.0 };

    /// The rule of a name, with its default numbers.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "descent-clip" => Self::DESCENT_CLIP,
            "ascent" => Self::ASCENT,
            "schedule" => Self::Schedule { max: 0.1, ramp_epochs: 10.0 },
            "uncertainty" => Self::Uncertainty { lr: 1e-3, initial: 1e-2, max: 1.0 },
            "target" => Self::Target { lr: 1e-3, target: 0.5, max: 1.0 },
            "balanced" => Self::Balanced { share: 0.1, initial: 1e-3, max: 1.0 },
            "fixed" => Self::Fixed { value: 0.1 },
            _ => return None,
        })
    }

    /// State before the first step of the phase.
    #[must_use]
    pub fn start(&self) -> AlphaState {
        let alpha = match *self {
            Self::Uncertainty { initial, max, .. } | Self::Balanced { initial, max, .. } => {
                initial.min(max)
            }
            Self::Fixed { value } => value,
            Self::Schedule { max, ramp_epochs } => ramp(max, ramp_epochs, 0),
            Self::DescentClip { .. } | Self::Ascent { .. } | Self::Target { .. } => 0.0,
        };
        AlphaState { alpha, ..AlphaState::default() }
    }

    /// State after a step on which the tap showed `seen`.
    ///
    /// Without a finite discrepancy the rules that follow it keep the state as it is: one broken
    /// batch must not poison the weight for the rest of training.
    #[must_use]
    pub fn next(&self, state: AlphaState, seen: AlphaSeen, progress: AlphaProgress) -> AlphaState {
        match *self {
            Self::Fixed { value } => return AlphaState { alpha: value, ..state },
            Self::Schedule { max, ramp_epochs } => {
                return AlphaState { alpha: ramp(max, ramp_epochs, progress.epoch), ..state };
            }
            Self::Balanced { share, max, .. } => {
                let Some(pull) = seen.pull.filter(|p| p.is_finite() && *p > 0.0) else {
                    return state;
                };
                let wanted = state.alpha * share / pull;
                // The first measure counts whole, later ones a tenth, on the scale of factors.
                let step = if state.updates == 0 { 1.0 } else { 0.1 };
                let alpha = state.alpha.powf(1.0 - step) * wanted.powf(step);
                let alpha = alpha.clamp(f64::MIN_POSITIVE, max);
                return AlphaState { alpha, updates: state.updates + 1, ..state };
            }
            Self::DescentClip { .. }
            | Self::Ascent { .. }
            | Self::Uncertainty { .. }
            | Self::Target { .. } => {}
        }
        let Some(l) = seen.discrepancy.filter(|l| l.is_finite()) else {
            return state;
        };
        let updates = state.updates + 1;
        match *self {
            Self::DescentClip { lr, max, adam: true } => {
                let first_moment = 0.9 * state.first_moment + 0.1 * l;
                let second_moment = 0.999 * state.second_moment + 0.001 * l * l;
                let t = updates as f64;
                let mean = first_moment / (1.0 - 0.9_f64.powf(t));
                let square = second_moment / (1.0 - 0.999_f64.powf(t));
                let alpha = (state.alpha - lr * mean / (square.sqrt() + 1e-8)).clamp(0.0, max);
                AlphaState { alpha, first_moment, second_moment, updates }
            }
            Self::DescentClip { lr, max, adam: false } => {
                AlphaState { alpha: (state.alpha - lr * l).clamp(0.0, max), updates, ..state }
            }
            Self::Ascent { lr, max } => {
                let alpha = (state.alpha + lr * l.max(0.0)).clamp(0.0, max);
                AlphaState { alpha, updates, ..state }
            }
            Self::Uncertainty { lr, max, .. } => {
                let log_alpha = state.alpha.ln() - lr * (state.alpha * l - 1.0);
                // A huge discrepancy may not push alpha to an exact 0, from where no logarithm
                // returns.
                let alpha = log_alpha.exp().clamp(f64::MIN_POSITIVE, max);
                AlphaState { alpha, updates, ..state }
            }
            Self::Target { lr, target, max } => {
                let alpha = (state.alpha + lr * (l - target)).clamp(0.0, max);
                AlphaState { alpha, updates, ..state }
            }
            Self::Fixed { .. } | Self::Schedule { .. } | Self::Balanced { .. } => state,
        }
    }

    /// Whether the rule goes by gradients, which somebody has to measure.
    #[must_use]
    pub fn needs_pull(&self) -> bool {
        matches!(self, Self::Balanced { .. })
    }

    /// The numbers of the rule, by their key in files.
    pub(super) fn numbers(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Self::DescentClip { lr, max, .. } | Self::Ascent { lr, max } => {
                vec![("lr", lr), ("max", max)]
            }
            Self::Schedule { max, ramp_epochs } => {
                vec![("max", max), ("ramp_epochs", ramp_epochs)]
            }
            Self::Uncertainty { lr, initial, max } => {
                vec![("lr", lr), ("initial", initial), ("max", max)]
            }
            Self::Target { lr, target, max } => vec![("lr", lr), ("target", target), ("max", max)],
            Self::Balanced { share, initial, max } => {
                vec![("share", share), ("initial", initial), ("max", max)]
            }
            Self::Fixed { value } => vec![("value", value)],
        }
    }
}

fn ramp(max: f64, ramp_epochs: f64, epoch: usize) -> f64 {
    if ramp_epochs > 0.0 { max * (epoch as f64 / ramp_epochs).min(1.0) } else { max }
}

impl<'de> Deserialize<'de> for AlphaRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;

        impl<'de> de::Visitor<'de> for NameOrTable {
            type Value = AlphaRule;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "the name of an alpha rule ({})", AlphaRule::NAMES.join(", "))?;
                f.write_str(" or a table with `rule` and its numbers")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<AlphaRule, E> {
                AlphaRule::named(name)
                    .ok_or_else(|| E::unknown_variant(name, AlphaRule::NAMES.as_slice()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<AlphaRule, A::Error> {
                let table = RuleTable::deserialize(de::value::MapAccessDeserializer::new(map))?;
                table.rule().map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(NameOrTable)
    }
}

/// The table form: any number left out is that of the rule's default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    rule: String,
    lr: Option<f64>,
    max: Option<f64>,
    adam: Option<bool>,
    ramp_epochs: Option<f64>,
    initial: Option<f64>,
    target: Option<f64>,
    share: Option<f64>,
    value: Option<f64>,
}

impl RuleTable {
    fn rule(mut self) -> Result<AlphaRule, String> {
        let mut rule = AlphaRule::named(&self.rule).ok_or_else(|| {
            format!("unknown alpha rule `{}`, expected {}", self.rule, AlphaRule::NAMES.join(", "))
        })?;
        fn set<T>(place: &mut T, given: Option<T>) {
            if let Some(given) = given {
                *place = given;
            }
        }
        match &mut rule {
            AlphaRule::DescentClip { lr, max, adam } => {
                set(lr, self.lr.take());
                set(max, self.max.take());
                set(adam, self.adam.take());
            }
            AlphaRule::Ascent { lr, max } => {
                set(lr, self.lr.take());
                set(max, self.max.take());
            }
            AlphaRule::Schedule { max, ramp_epochs } => {
                set(max, self.max.take());
                set(ramp_epochs, self.ramp_epochs.take());
            }
            AlphaRule::Uncertainty { lr, initial, max } => {
                set(lr, self.lr.take());
                set(initial, self.initial.take());
                set(max, self.max.take());
            }
            AlphaRule::Target { lr, target, max } => {
                set(lr, self.lr.take());
                set(target, self.target.take());
                set(max, self.max.take());
            }
            AlphaRule::Balanced { share, initial, max } => {
                set(share, self.share.take());
                set(initial, self.initial.take());
                set(max, self.max.take());
            }
            AlphaRule::Fixed { value } => set(value, self.value.take()),
        }
        let left = [
            ("lr", self.lr.is_some()),
            ("max", self.max.is_some()),
            ("adam", self.adam.is_some()),
            ("ramp_epochs", self.ramp_epochs.is_some()),
            ("initial", self.initial.is_some()),
            ("target", self.target.is_some()),
            ("share", self.share.is_some()),
            ("value", self.value.is_some()),
        ];
        match left.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!("alpha rule `{}` has no `{key}`", self.rule)),
            None => Ok(rule),
        }
    }
}

#[cfg(test)]
mod tests;
