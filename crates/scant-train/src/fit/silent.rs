//! Terms of a loss that were asked for and did nothing.

use super::Run;
use super::phase::INERT_SHARE;
use crate::recipe::Phase;

impl Run<'_> {
    /// A sentence for every term beside the segmentation loss, but the feature discrepancy, that stayed
    /// without effect in every epoch of the current phase.
    pub(super) fn silent_terms(&self, phase: &Phase) -> Vec<String> {
        let loss = &phase.loss;
        let weighted = [
            ("deep_supervision", loss.deep_supervision.as_ref().map(|_| 1.0)),
            ("local_contrast", loss.local_contrast.as_ref().map(|c| c.weight)),
            ("pixel_contrast", loss.pixel_contrast.as_ref().map(|c| c.weight)),
        ];
        let name = &phase.name;
        let mut found: Vec<String> = weighted
            .into_iter()
            .filter_map(|(term, weight)| Some((term, self.largest_share(term, weight?)?)))
            .filter(|(_, share)| *share < INERT_SHARE)
            .map(|(term, share)| {
                let share = share * 100.0;
                format!(
                    "phase \"{name}\": {term} was at most {share:.4} % of the loss, which is as good as \
                     nothing; raise its weight, or look whether the masks give it anything to work on"
                )
            })
            .collect();
        if loss.group_dro.is_some() && self.state.groups.weights.len() < 2 {
            found.push(format!(
                "phase \"{name}\": group_dro was asked for, but there was one source to train on, so it \
                 was the plain loss"
            ));
        } else if loss.group_dro.is_some() && self.weights_of_sources_stayed() {
            found.push(format!(
                "phase \"{name}\": group_dro was asked for, but the weights of the sources stayed equal, \
                 so it was a mean over sources; raise its step"
            ));
        }
        found
    }

    /// The largest share of a term in the loss over the epochs of the current phase; `None` before the
    /// first has ended.
    fn largest_share(&self, term: &str, weight: f64) -> Option<f64> {
        let epochs = &self.state.phases[self.state.phase].epochs;
        let share = |loss: &std::collections::BTreeMap<String, f64>| {
            Some((weight * loss.get(term)?).abs() / loss.get("total")?.abs().max(f64::MIN_POSITIVE))
        };
        epochs.iter().filter_map(|epoch| share(&epoch.loss)).max_by(f64::total_cmp)
    }

    fn weights_of_sources_stayed(&self) -> bool {
        let weights = &self.state.groups.weights;
        let equal = 1.0 / weights.len().max(1) as f64;
        weights.values().all(|w| (w - equal).abs() < INERT_SHARE * equal)
    }
}
