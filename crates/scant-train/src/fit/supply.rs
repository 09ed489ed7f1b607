//! The batches of each phase.

use std::collections::BTreeMap;
use std::sync::Arc;

use scant_data::stream::{BatchStream, CaseSource, StreamConfig, StreamError, Subset};

use super::{Data, Run};
use crate::TrainError;
use crate::recipe::{Recipe, RecipeError};

/// The batch stream of a phase, by its position.
pub(super) fn stream(
    recipe: &Recipe,
    data: &Data,
    phase: usize,
) -> Result<BatchStream, TrainError> {
    let supply = recipe.supply(phase);
    let d = &recipe.data;
    let config = StreamConfig {
        batch: d.batch,
        preprocess: d.preprocess(),
        augment: d.augment.config()?,
        patches: d.patches.clone(),
        seed: recipe.seed,
        workers: d.workers,
        cache: d.cache_mib > 0,
        cache_bytes: d.cache_mib << 20,
        drop_last: false,
        balance_sources: d.balance_sources,
        novel_per_batch: supply.novel_per_batch,
    };
    let mut source = Arc::clone(&data.train);
    if !supply.selection.is_everything() {
        let subset = Subset::new(source, &supply.selection).map_err(|e| {
            let roles = format!("\"{}\"", supply.selection.train_on);
            RecipeError::value(&recipe.train_on_key(phase), roles, &e.to_string())
        })?;
        source = Arc::new(subset);
    }
    BatchStream::new(source, config).map_err(|e| {
        let (key, value) = match e {
            StreamError::OneRole { .. } => {
                ("data.novel_per_batch", supply.novel_per_batch.to_string())
            }
            _ => ("data", "{ .. }".to_owned()),
        };
        RecipeError::value(key, value, &e.to_string()).into()
    })
}

/// Cases by the name of their source.
pub(super) fn by_source(cases: &dyn CaseSource) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for case in 0..cases.len() {
        *found.entry(cases.id(case).source.clone()).or_default() += 1;
    }
    found
}

impl Run<'_> {
    /// Makes the stream of a phase, unless the present one draws the same: it has images in memory.
    pub(super) fn draw_for(&mut self, phase: usize) -> Result<(), TrainError> {
        let supply = self.recipe.supply(phase);
        if supply != self.supply {
            self.stream = stream(self.recipe, self.data, phase)?;
            self.supply = supply;
        }
        Ok(())
    }

    /// Writes down how many images the current phase trains on, and says so where it is not all.
    pub(super) fn count_images(&mut self) {
        let images = by_source(self.stream.cases());
        let (taking_part, all) = (self.stream.cases().len(), self.data.train.len());
        if taking_part < all {
            let list: Vec<String> =
                images.iter().map(|(source, n)| format!("{n} of {source}")).collect();
            self.observer.note(&format!(
                "phase \"{}\" trains on {taking_part} of {all} images: {}",
                self.recipe.phase[self.state.phase].name,
                list.join(", ")
            ));
        }
        self.state.phases[self.state.phase].images = images;
    }
}
