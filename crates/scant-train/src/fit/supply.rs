//! The batches of each phase, and what their images are made to look like.

use std::collections::BTreeMap;
use std::sync::Arc;

use scant_core::Role;
use scant_data::preprocess::{PreprocessConfig, PreprocessError};
use scant_data::stream::{
    BatchStream, CaseSource, Fitted, LoadError, StreamConfig, StreamError, Subset, fit_harmonise,
};

use super::{Data, Run};
use crate::TrainError;
use crate::recipe::{Recipe, RecipeError};

/// Whether there is anything to fit `data.harmonise` on.
pub(super) fn check_harmonise(recipe: &Recipe, data: &Data) -> Result<(), TrainError> {
    let Some(section) = recipe.data.harmonise else { return Ok(()) };
    let method = section.method;
    let base = (0..data.train.len()).find(|&case| data.train.role(case) == Role::Base);
    let Some(base) = base else {
        let value = format!("\"{}\"", method.name());
        let allowed = "it is fitted on base training images, and there are none";
        return Err(RecipeError::value("data.harmonise.method", value, allowed).into());
    };
    // One image tells whether the pool is grey; each of them is looked at when it is fitted on.
    let sample = data.train.load(base)?;
    if method.needs_colour() && sample.image.pixels.shape().first() == Some(&1) {
        let grey = PreprocessError::GreyImage(method.name());
        return Err(LoadError::new(sample.id.to_string(), grey).into());
    }
    Ok(())
}

/// The preprocessing of a recipe, fitted on all base images of the training part, whichever of them
/// are trained on.
pub(super) fn preprocess(
    recipe: &Recipe,
    data: &Data,
) -> Result<(PreprocessConfig, Option<Fitted>), TrainError> {
    let mut preprocess = recipe.data.preprocess();
    let Some(section) = recipe.data.harmonise else { return Ok((preprocess, None)) };
    let fitted = fit_harmonise(section.method, &*data.train, &preprocess)?;
    preprocess.harmonise = Some(fitted.harmonise.clone());
    Ok((preprocess, Some(fitted)))
}

/// Positions of the validation cases that choose the best epoch.
///
/// # Errors
/// When there is a validation part, and nobody in it has the role that is asked for.
pub(super) fn validated(recipe: &Recipe, data: &Data) -> Result<Vec<usize>, TrainError> {
    let (roles, cases) = (recipe.data.validate_on, &data.validation);
    let chosen: Vec<usize> =
        (0..cases.len()).filter(|&case| roles.takes(cases.role(case))).collect();
    if chosen.is_empty() && !cases.is_empty() {
        let value = format!("\"{roles}\"");
        let allowed = format!(
            "none of the {} validation images has that role; choose another, or change the split",
            cases.len()
        );
        return Err(RecipeError::value("data.validate_on", value, &allowed).into());
    }
    Ok(chosen)
}

/// The batch stream of a phase, by its position.
pub(super) fn stream(
    recipe: &Recipe,
    data: &Data,
    phase: usize,
    preprocess: &PreprocessConfig,
) -> Result<BatchStream, TrainError> {
    let supply = recipe.supply(phase);
    let d = &recipe.data;
    let config = StreamConfig {
        batch: d.batch,
        preprocess: preprocess.clone(),
        augment: d.augment.config()?,
        patches: d.patches.clone(),
        seed: recipe.seed,
        workers: d.workers,
        cache: d.cache_mib > 0,
        cache_bytes: d.cache_mib << 20,
        drop_last: false,
        balance_sources: d.balance_sources,
        novel_per_batch: supply.novel_per_batch,
        noise_sigma: d.noise_sigma,
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
            self.stream = stream(self.recipe, self.data, phase, &self.preprocess)?;
            self.supply = supply;
        }
        Ok(())
    }

    /// Says what images were fitted on.
    pub(super) fn tell_fitted(&mut self, fitted: &Fitted) {
        let method = fitted.harmonise.method().name();
        let images = fitted.images;
        self.observer.note(&format!("harmonise by {method}: fitted on {images} base images"));
        if let Some(first) = fitted.passed_over.first() {
            self.warn(format!(
                "harmonise by {method}: {} base image(s) have too little to go by (almost no tissue, or one \
                 colour) and stay as they are; the first is {first}",
                fitted.passed_over.len()
            ));
        }
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
