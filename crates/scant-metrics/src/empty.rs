//! What a metric is when a mask is empty: a choice, so it has a name and is printed.
//!
//! No two toolkits agree here, and the choice moves published means by whole points. Several of
//! the presets let a missed object *improve* a mean; they exist so that a table made elsewhere can
//! be reproduced, not because they are right.

use std::{fmt, str::FromStr};

use scant_core::EmptySituation;
use serde::{Deserialize, Serialize};

use crate::{Metric, MetricError};

/// A named rule for empty masks.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum EmptyPolicy {
    /// The default: an agreed absence is undefined and counted beside the mean, every one-sided
    /// absence is the worst possible value. A miss can never improve a mean.
    #[default]
    Scant,
    /// MONAI 1.6 with its defaults (`ignore_empty=True`).
    Monai,
    /// MONAI 1.6 with `ignore_empty=False`.
    MonaiKeepEmpty,
    /// MedPy 0.5.2 on NumPy 2, where its `ZeroDivisionError` guards only work for `jc`.
    Medpy,
    /// nnU-Net v2 `evaluate_predictions.py`.
    Nnunet,
    /// SSL4MIS `val_2D.py`.
    Ssl4mis,
    /// Whatever is not computable counts as a failure, an agreed absence too.
    Zero,
    /// An agreed absence is a perfect result (as in MetricsReloaded).
    One,
}

/// What stands in for a metric in one situation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// Nothing: both masks have pixels and the formula applies.
    Measured,
    /// No value; the case is counted as undefined.
    Undefined,
    /// This value.
    Value(f64),
    /// The diagonal of the image in the unit of the case, longer than any distance in it.
    Diagonal,
    /// Infinity.
    Infinite,
}

impl EmptyPolicy {
    /// Every preset.
    pub const ALL: [Self; 8] = [
        Self::Scant,
        Self::Monai,
        Self::MonaiKeepEmpty,
        Self::Medpy,
        Self::Nnunet,
        Self::Ssl4mis,
        Self::Zero,
        Self::One,
    ];

    /// The name in recipes and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scant => "scant",
            Self::Monai => "monai",
            Self::MonaiKeepEmpty => "monai-keep-empty",
            Self::Medpy => "medpy",
            Self::Nnunet => "nnunet",
            Self::Ssl4mis => "ssl4mis",
            Self::Zero => "zero",
            Self::One => "one",
        }
    }

    /// One sentence to print with every table made under this policy.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Scant => {
                "Empty masks (policy scant): where truth and prediction are both empty nothing is \
                 defined and the case is counted beside the mean; a false alarm or a miss has \
                 Dice, IoU and NSD 0 and distances equal to the image diagonal."
            }
            Self::Monai => {
                "Empty masks (policy monai, MONAI's defaults): every overlap is dropped where the \
                 truth is empty; a miss has Dice, IoU and NSD 0, HD and ASSD infinite, and is \
                 dropped from HD95, so HD95 improves with every miss."
            }
            Self::MonaiKeepEmpty => {
                "Empty masks (policy monai-keep-empty, MONAI with ignore_empty=False): Dice and \
                 IoU are 1 where both are empty and 0 where one is; HD and ASSD are infinite where \
                 one is empty, and HD95 is dropped there, so HD95 improves with every miss."
            }
            Self::Medpy => {
                "Empty masks (policy medpy, MedPy 0.5.2 on NumPy 2): where both are empty IoU is 1 \
                 and Dice is dropped; with one empty Dice and IoU are 0; all distances are dropped \
                 where MedPy raises an error, so they improve with every miss."
            }
            Self::Nnunet => {
                "Empty masks (policy nnunet): Dice and IoU are dropped where both are empty and 0 \
                 where one is; nnU-Net has no distances, so those are dropped wherever a mask is \
                 empty and improve with every miss."
            }
            Self::Ssl4mis => {
                "Empty masks (policy ssl4mis, its 2-D validation): an empty prediction has Dice 0 \
                 and distance 0 whatever the truth, so distances improve with every miss; a false \
                 alarm has Dice 0 and no distance."
            }
            Self::Zero => {
                "Empty masks (policy zero): wherever a mask is empty, also where both are, Dice, \
                 IoU and NSD are 0 and distances equal the image diagonal."
            }
            Self::One => {
                "Empty masks (policy one): where both are empty overlaps and NSD are 1 and \
                 distances 0; a false alarm or a miss has 0 and distances equal to the image \
                 diagonal."
            }
        }
    }

    /// What stands in for `metric` in `situation`.
    #[must_use]
    pub fn fill(self, metric: Metric, situation: EmptySituation) -> Fill {
        if situation == EmptySituation::BothPresent {
            return Fill::Measured;
        }
        match metric {
            Metric::Dice | Metric::Iou => self.overlap(metric, situation),
            Metric::Precision | Metric::Recall => self.rate(metric, situation),
            Metric::Hd | Metric::Hd95 | Metric::Hd95Pooled | Metric::Assd => {
                self.distance(metric, situation)
            }
            Metric::Nsd => self.nsd(situation),
        }
    }

    fn overlap(self, metric: Metric, situation: EmptySituation) -> Fill {
        match (situation, self) {
            (EmptySituation::BothEmpty, Self::Scant | Self::Monai | Self::Nnunet)
            | (EmptySituation::FalseAlarm, Self::Monai) => Fill::Undefined,
            (EmptySituation::BothEmpty, Self::Medpy) if metric == Metric::Dice => Fill::Undefined,
            (EmptySituation::BothEmpty, Self::MonaiKeepEmpty | Self::Medpy | Self::One) => {
                Fill::Value(1.0)
            }
            _ => Fill::Value(0.0),
        }
    }

    /// Precision and recall: one of the two is still defined where only one mask is empty.
    fn rate(self, metric: Metric, situation: EmptySituation) -> Fill {
        match (situation, metric) {
            (EmptySituation::BothEmpty, _) => match self {
                Self::One => Fill::Value(1.0),
                Self::Zero => Fill::Value(0.0),
                _ => Fill::Undefined,
            },
            (EmptySituation::FalseAlarm, Metric::Recall) => match self {
                Self::Zero | Self::One => Fill::Value(0.0),
                _ => Fill::Undefined,
            },
            // 0/0, but dropping it would let a network that predicts nothing look precise.
            (EmptySituation::Missed, Metric::Precision) => match self {
                Self::Scant | Self::Zero | Self::One => Fill::Value(0.0),
                _ => Fill::Undefined,
            },
            _ => Fill::Value(0.0),
        }
    }

    fn distance(self, metric: Metric, situation: EmptySituation) -> Fill {
        let both = situation == EmptySituation::BothEmpty;
        match self {
            Self::Scant if both => Fill::Undefined,
            Self::One if both => Fill::Value(0.0),
            Self::Scant | Self::One | Self::Zero => Fill::Diagonal,
            Self::Monai | Self::MonaiKeepEmpty => match metric {
                Metric::Hd | Metric::Assd if !both => Fill::Infinite,
                _ => Fill::Undefined,
            },
            Self::Ssl4mis if situation != EmptySituation::FalseAlarm => Fill::Value(0.0),
            Self::Medpy | Self::Nnunet | Self::Ssl4mis => Fill::Undefined,
        }
    }

    fn nsd(self, situation: EmptySituation) -> Fill {
        let both = situation == EmptySituation::BothEmpty;
        match self {
            Self::Scant | Self::Monai | Self::MonaiKeepEmpty if both => Fill::Undefined,
            Self::One if both => Fill::Value(1.0),
            // These three do not compute it, so there is nothing to imitate.
            Self::Medpy | Self::Nnunet | Self::Ssl4mis => Fill::Undefined,
            _ => Fill::Value(0.0),
        }
    }
}

impl fmt::Display for EmptyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for EmptyPolicy {
    type Err = MetricError;

    fn from_str(name: &str) -> Result<Self, MetricError> {
        Self::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| MetricError::UnknownPolicy {
            name: name.into(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: Fill = Fill::Undefined;
    const O: Fill = Fill::Value(0.0);
    const I: Fill = Fill::Value(1.0);
    const D: Fill = Fill::Diagonal;
    const X: Fill = Fill::Infinite;

    /// Rows: dice, iou, precision, recall, hd, hd95, hd95_pooled, assd, nsd.
    /// Columns: both empty, false alarm, missed.
    fn table(policy: EmptyPolicy) -> [[Fill; 3]; 9] {
        match policy {
            EmptyPolicy::Scant => [
                [U, O, O],
                [U, O, O],
                [U, O, O],
                [U, U, O],
                [U, D, D],
                [U, D, D],
                [U, D, D],
                [U, D, D],
                [U, O, O],
            ],
            EmptyPolicy::Monai => [
                [U, U, O],
                [U, U, O],
                [U, O, U],
                [U, U, O],
                [U, X, X],
                [U, U, U],
                [U, U, U],
                [U, X, X],
                [U, O, O],
            ],
            EmptyPolicy::MonaiKeepEmpty => [
                [I, O, O],
                [I, O, O],
                [U, O, U],
                [U, U, O],
                [U, X, X],
                [U, U, U],
                [U, U, U],
                [U, X, X],
                [U, O, O],
            ],
            EmptyPolicy::Medpy => [
                [U, O, O],
                [I, O, O],
                [U, O, U],
                [U, U, O],
                [U, U, U],
                [U, U, U],
                [U, U, U],
                [U, U, U],
                [U, U, U],
            ],
            EmptyPolicy::Nnunet => [
                [U, O, O],
                [U, O, O],
                [U, O, U],
                [U, U, O],
                [U, U, U],
                [U, U, U],
                [U, U, U],
                [U, U, U],
                [U, U, U],
            ],
            EmptyPolicy::Ssl4mis => [
                [O, O, O],
                [O, O, O],
                [U, O, U],
                [U, U, O],
                [O, U, O],
                [O, U, O],
                [O, U, O],
                [O, U, O],
                [U, U, U],
            ],
            EmptyPolicy::Zero => [
                [O, O, O],
                [O, O, O],
                [O, O, O],
                [O, O, O],
                [D, D, D],
                [D, D, D],
                [D, D, D],
                [D, D, D],
                [O, O, O],
            ],
            EmptyPolicy::One => [
                [I, O, O],
                [I, O, O],
                [I, O, O],
                [I, O, O],
                [O, D, D],
                [O, D, D],
                [O, D, D],
                [O, D, D],
                [I, O, O],
            ],
        }
    }

    #[test]
    fn every_situation_under_every_preset() {
        let situations =
            [EmptySituation::BothEmpty, EmptySituation::FalseAlarm, EmptySituation::Missed];
        for policy in EmptyPolicy::ALL {
            for (metric, row) in Metric::ALL.into_iter().zip(table(policy)) {
                for (situation, expected) in situations.into_iter().zip(row) {
                    let got = policy.fill(metric, situation);
                    assert_eq!(got, expected, "{policy} {metric} {situation:?}");
                }
                assert_eq!(policy.fill(metric, EmptySituation::BothPresent), Fill::Measured);
            }
        }
    }

    #[test]
    fn names_survive_parsing_and_serde() {
        for policy in EmptyPolicy::ALL {
            assert_eq!(policy.name().parse::<EmptyPolicy>(), Ok(policy));
            assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{policy}\""));
            assert!(policy.describe().contains(&format!("policy {policy}")));
        }
        assert!("skip".parse::<EmptyPolicy>().unwrap_err().to_string().contains("scant, monai"));
    }
}
