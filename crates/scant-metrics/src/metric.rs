//! The metrics by name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::MetricError;

/// A number that is computed for every class of every case.
///
/// The order of the variants is the order of columns in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// `2tp / (2tp + fp + fn)`, in `[0, 1]` (Dice 1945).
    Dice,
    /// `tp / (tp + fp + fn)`, in `[0, 1]` (Jaccard 1912).
    Iou,
    /// `tp / (tp + fp)`, in `[0, 1]`.
    Precision,
    /// `tp / (tp + fn)`, in `[0, 1]`.
    Recall,
    /// Hausdorff distance, a length.
    Hd,
    /// The larger of the two directed 95th percentiles (MONAI), a length.
    Hd95,
    /// The 95th percentile of both directions pooled (MedPy), a length.
    Hd95Pooled,
    /// Mean of both directions pooled (average symmetric surface distance), a length.
    Assd,
    /// Normalised surface distance at a tolerance, in `[0, 1]` (Nikolov et al. 2018, with boundary
    /// pixels for surface elements).
    Nsd,
}

impl Metric {
    /// Every metric, in the order of columns.
    pub const ALL: [Self; 9] = [
        Self::Dice,
        Self::Iou,
        Self::Precision,
        Self::Recall,
        Self::Hd,
        Self::Hd95,
        Self::Hd95Pooled,
        Self::Assd,
        Self::Nsd,
    ];

    /// The name in records and recipes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dice => "dice",
            Self::Iou => "iou",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Hd => "hd",
            Self::Hd95 => "hd95",
            Self::Hd95Pooled => "hd95_pooled",
            Self::Assd => "assd",
            Self::Nsd => "nsd",
        }
    }

    /// Whether the value is a length (small is good) rather than a share (large is good).
    #[must_use]
    pub fn is_distance(self) -> bool {
        matches!(self, Self::Hd | Self::Hd95 | Self::Hd95Pooled | Self::Assd)
    }

    /// Whether a larger value is better.
    #[must_use]
    pub fn higher_is_better(self) -> bool {
        !self.is_distance()
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(name: &str) -> Result<Self, MetricError> {
        Self::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| MetricError::UnknownMetric {
            name: name.into(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_parsing_and_serde() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>(), Ok(metric));
            assert_eq!(serde_json::to_string(&metric).unwrap(), format!("\"{metric}\""));
        }
        let error = "dise".parse::<Metric>().unwrap_err().to_string();
        assert!(error.contains("dise") && error.contains("hd95_pooled"), "{error}");
    }
}
