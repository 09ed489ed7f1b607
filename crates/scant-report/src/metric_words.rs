//! What metrics are called and how they are defined, for people.

use scant_metrics::Metric;

/// Name at the head of a column.
pub(crate) fn label(metric: Metric) -> &'static str {
    match metric {
        Metric::Dice => "Dice",
        Metric::Iou => "IoU",
        Metric::Precision => "Precision",
        Metric::Recall => "Recall",
        Metric::Hd => "HD",
        Metric::Hd95 => "HD95",
        Metric::Hd95Pooled => "HD95 pooled",
        Metric::Assd => "ASSD",
        Metric::Nsd => "NSD",
    }
}

/// Decimals shown: distances are in mm or pixels, shares in 0..1.
pub(crate) fn digits(metric: Metric) -> usize {
    if metric.is_distance() { 2 } else { 3 }
}

/// The definition, as printed in the methods section.
pub(crate) fn definition(metric: Metric, tolerance: f64) -> String {
    match metric {
        Metric::Dice => "2 TP / (2 TP + FP + FN) of hard masks, per class and case, 0 to 1; \
                         higher is better (Dice 1945)."
            .into(),
        Metric::Iou => "TP / (TP + FP + FN), 0 to 1; higher is better (Jaccard 1912).".into(),
        Metric::Precision => {
            "TP / (TP + FP), the drawn share that is right; higher is better.".into()
        }
        Metric::Recall => "TP / (TP + FN), the found share of the object; higher is better.".into(),
        Metric::Hd => "Hausdorff distance: the farthest any border pixel of one mask lies from \
                       the border of the other; lower is better."
            .into(),
        Metric::Hd95 => "95th percentile of the border distances in each direction, then the \
                         larger of the two (as in MONAI); lower is better."
            .into(),
        Metric::Hd95Pooled => "95th percentile of the border distances of both directions pooled \
                               (as in MedPy); lower is better. Not comparable with HD95."
            .into(),
        Metric::Assd => "average symmetric surface distance: mean of the border distances of both \
                         directions pooled; lower is better."
            .into(),
        Metric::Nsd => format!(
            "normalised surface distance: the share of both borders that lies within {tolerance} \
             (in the unit of the case) of the other border, 0 to 1; higher is better \
             (Nikolov et al. 2018)."
        ),
    }
}
