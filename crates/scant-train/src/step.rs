//! One optimiser step: forward, loss, backward, clipping, update. Every batch of a run goes through
//! here, and so does what measures how long that takes.

use std::collections::BTreeMap;

use ndarray::{Array3, Array4, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scant_core::{Annotated, LabelSpace, Role, SampleId};
use scant_data::stream::Batch;
use scant_nn::loss::alpha::AlphaState;
use scant_nn::{Device, Model, Precision, weights, with_precision};

use crate::TrainError;
use crate::objective::{DeviceBatch, Objective, objective};
use crate::optimizer::{self, FlatGradients, Optimizer};
use crate::recipe::{PhaseLoss, Recipe, RecipeError};

/// Loss of one batch and the gradient of every parameter; no gradients where the loss is not a
/// number. `alpha` and `draw` as in [`objective`].
pub(crate) fn differentiate(
    precision: Precision,
    model: &Model,
    batch: &DeviceBatch,
    loss: &PhaseLoss,
    alpha: &BTreeMap<String, f64>,
    draw: u64,
) -> (Objective, Option<FlatGradients>) {
    // Dropout and its kin draw from the generator of the device. Seeded anew at every step, it makes
    // them a function of the step, so that a resumed run drops the same.
    weights::device(model).seed(draw);
    // The backward pass keeps to the precision of the forward pass.
    let loss = with_precision(precision, || objective(model, batch, loss, alpha, draw));
    let finite = loss.terms["total"].is_finite();
    let gradients = finite.then(|| optimizer::collect(model, &loss.total.backward()));
    (loss, gradients)
}

/// Averages the gradients of `gathered` batches, scales them down to the norm `clip` (0 leaves them
/// alone) and moves the model; nothing moves where they are not numbers. The norm before clipping.
pub(crate) fn apply(
    model: &mut Model,
    optimizer: &mut Optimizer,
    mut gradients: FlatGradients,
    gathered: usize,
    clip: f64,
    lr: f64,
) -> f64 {
    if gathered > 1 {
        optimizer::scale(&mut gradients, 1.0 / gathered as f64);
    }
    let norm = optimizer::norm(&gradients);
    if clip > 0.0 && norm > clip {
        optimizer::scale(&mut gradients, clip / norm);
    }
    if norm.is_finite() {
        *model = optimizer.step(model.clone(), &gradients, lr);
    }
    norm
}

/// The weight of every tap that takes part in a loss, before the first step.
///
/// # Panics
/// When the loss names a tap that is not in `taps`.
pub(crate) fn first_alphas(loss: &PhaseLoss, taps: &[String]) -> BTreeMap<String, AlphaState> {
    let Some(fd) = &loss.feature_discrepancy else { return BTreeMap::new() };
    let chosen = fd.layers.select(taps).expect("layers are checked at the start");
    let start = fd.alpha_rule().start();
    chosen.into_iter().map(|i| (taps[i].clone(), start)).collect()
}

/// A network that takes the steps of a run on one and the same generated batch: for measuring.
#[derive(Debug)]
pub struct RepeatedStep {
    precision: Precision,
    model: Model,
    batch: DeviceBatch,
    loss: PhaseLoss,
    alpha: BTreeMap<String, f64>,
    optimizer: Optimizer,
    clip: f64,
    lr: f64,
}

impl RepeatedStep {
    /// The network, precision, batch size, loss and optimiser of the first phase of a recipe on images
    /// (or volumes, depth first) of `size`; `device` without autodiff. Augmentation, schedules and
    /// moving averages take no part.
    ///
    /// # Errors
    /// When the recipe asks for a tap the network does not have, for a network that cannot be built or
    /// takes another kind of input, or for a precision that the device does not have.
    pub fn new(
        recipe: &Recipe,
        classes: &LabelSpace,
        size: &[usize],
        device: &Device,
    ) -> Result<Self, TrainError> {
        recipe.check_device(device)?;
        let device = device.clone().autodiff();
        let config = recipe.model_config(classes.logit_channels())?.for_size(size);
        let (depth, plane) = match (config.dimensions(), size) {
            (2, &[rows, columns]) => (None, [rows, columns]),
            (3, &[depth, rows, columns]) => (Some(depth), [rows, columns]),
            (2, _) => return Err(RecipeError::value("size", list(size), "rows and columns").into()),
            _ => {
                let allowed = "depth, rows and columns";
                return Err(RecipeError::value("size", list(size), allowed).into());
            }
        };
        if depth.is_some() && recipe.phase[0].loss.feature_discrepancy.is_some() {
            let allowed = "for networks of images";
            return Err(RecipeError::value("loss.feature_discrepancy", "{ .. }", allowed).into());
        }
        let model = config.init(&device, recipe.seed)?;
        let loss = recipe.phase[0].loss.clone();
        let taps = config.tap_names();
        if let Some(fd) = &loss.feature_discrepancy {
            fd.layers.select(&taps).map_err(|e| {
                RecipeError::value("loss.feature_discrepancy.layers", "[ .. ]", &e.to_string())
            })?;
        }
        let alpha = first_alphas(&loss, &taps).into_iter().map(|(k, v)| (k, v.alpha)).collect();
        let count = recipe.data.batch * depth.unwrap_or(1);
        let mut batch = generated(count, recipe.data.channels, plane, classes, recipe.seed);
        // As the stream of two roles orders them.
        let novel = recipe.supply(0).novel_per_batch * depth.unwrap_or(1);
        batch.roles[count - novel..].fill(Role::Novel);
        Ok(Self {
            precision: recipe.precision.into(),
            model,
            batch: match depth {
                None => DeviceBatch::new(&batch, &device),
                Some(depth) => DeviceBatch::stacked(&batch, depth, &device),
            },
            loss,
            alpha,
            optimizer: Optimizer::new(recipe.optim),
            clip: recipe.optim.clip_norm,
            lr: recipe.phase[0].lr.unwrap_or(recipe.optim.lr),
        })
    }

    /// Takes one step; the loss before it, every part by name as in a run's record.
    ///
    /// Neither the loss nor the gradient needs to be a number: what is measured is the time.
    pub fn step(&mut self) -> BTreeMap<String, f64> {
        let draw = self.optimizer.updates();
        let (loss, gradients) =
            differentiate(self.precision, &self.model, &self.batch, &self.loss, &self.alpha, draw);
        if let Some(gradients) = gradients {
            apply(&mut self.model, &mut self.optimizer, gradients, 1, self.clip, self.lr);
        }
        loss.terms
    }

    /// Trainable parameters of the network.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.model.parameters()
    }

    /// Optimiser steps taken.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.optimizer.updates()
    }
}

fn list(size: &[usize]) -> String {
    size.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

/// Noise of mean 0 and deviation 1, with a rectangle of each foreground class on it.
fn generated(
    count: usize,
    channels: usize,
    [rows, columns]: [usize; 2],
    classes: &LabelSpace,
    seed: u64,
) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let root = 3.0_f32.sqrt();
    let images = Array4::from_shape_simple_fn((count, channels, rows, columns), || {
        rng.random_range(-root..root)
    });
    let mut labels = Array3::zeros((count, rows, columns));
    for mut image in labels.outer_iter_mut() {
        for class in classes.foreground() {
            let mut span = |side: usize| {
                let start = rng.random_range(0..side.div_ceil(2));
                start..start + side.div_ceil(3)
            };
            image.slice_mut(s![span(rows), span(columns)]).fill(class);
        }
    }
    let name = |i: usize| SampleId {
        source: "generated".into(),
        group: i.to_string(),
        stem: i.to_string(),
    };
    Batch {
        images,
        labels,
        annotated: vec![Annotated::all(classes.len()); count],
        ids: (0..count).map(name).collect(),
        sources: vec![0; count],
        roles: vec![Role::Base; count],
    }
}

#[cfg(test)]
mod tests {
    use scant_nn::loss::alpha::AlphaSeen;

    use super::*;

    fn repeated(more: &str, loss: &str) -> Result<RepeatedStep, TrainError> {
        let text = format!(
            "[model]\nname = \"unet\"\nwidth = 2\ndepth = 2\n[data]\nsize = [12, 8]\nchannels = 1\nbatch = 2\n\
             {more}\n[[phase]]\nname = \"only\"\nepochs = 1\nloss = {loss}\n"
        );
        let names = ["background", "a", "b"].map(String::from).to_vec();
        let classes = LabelSpace::new(names).unwrap();
        RepeatedStep::new(&Recipe::parse(&text, &[]).unwrap(), &classes, &[12, 8], &Device::flex())
    }

    #[test]
    fn steps_are_taken_and_lower_the_loss_of_the_batch() {
        let mut steps = repeated("", "{ dice = 1.0, ce = 1.0 }").unwrap();
        let first = steps.step()["total"];
        for _ in 0..30 {
            steps.step();
        }
        let last = steps.step();
        assert_eq!(steps.updates(), 32);
        assert!(last["total"] < 0.9 * first, "{first} to {}", last["total"]);
        assert_eq!(last.keys().collect::<Vec<_>>(), ["ce", "dice", "total"]);
    }

    #[test]
    fn a_feature_discrepancy_takes_part_from_the_first_step() {
        let loss = "{ dice = 1.0, feature_discrepancy = { form = \"region-mean\", \
                    alpha = { rule = \"fixed\", value = 0.5 } } }";
        let terms = repeated("", loss).unwrap().step();
        let rest = terms["total"] - terms["dice"];
        assert!(terms["feature_discrepancy"].abs() > 1e-3, "{terms:?}");
        assert!((rest - terms["feature_discrepancy"]).abs() < 1e-4, "{terms:?}");
    }

    #[test]
    fn every_choice_of_pixels_and_form_descends_and_is_measured() {
        for form in ["region-mean", "relative", "prototype"] {
            for pixels in ["all", "boundary", "errors"] {
                let loss = format!(
                    "{{ dice = 1.0, feature_discrepancy = {{ form = \"{form}\", pixels = \"{pixels}\", \
                     alpha = {{ rule = \"balanced\", share = 0.5, initial = 0.01 }} }} }}"
                );
                let mut steps = repeated("", &loss).unwrap();
                let terms = steps.step();
                assert!(terms["feature_discrepancy"] != 0.0, "{form} {pixels} {terms:?}");
                let (loss, gradients) = differentiate(
                    steps.precision,
                    &steps.model,
                    &steps.batch,
                    &steps.loss,
                    &steps.alpha,
                    3,
                );
                assert!(gradients.is_some());
                let seen = loss.seen();
                assert_eq!(seen.len(), 5, "{seen:?}");
                let measured = |s: &AlphaSeen| s.pull.is_some_and(|p| p > 0.0 && p.is_finite());
                assert!(seen.values().all(measured), "{form} {pixels} {seen:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let unknown = "{ dice = 1.0, feature_discrepancy = { layers = [\"enc7\"] } }";
        let error = repeated("", unknown).unwrap_err().to_string();
        assert!(error.contains("enc7"), "{error}");
        let planar = "[model]\nname = \"unet\"\nwidth = 2\ndepth = 1\n[[phase]]\n\
                    name = \"only\"\nepochs = 1\nloss = { dice = 1.0 }\n";
        let classes = LabelSpace::new(vec!["background".into(), "a".into()]).unwrap();
        let recipe = Recipe::parse(planar, &[]).unwrap();
        let error = RepeatedStep::new(&recipe, &classes, &[8, 8, 8], &Device::flex());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("size = 8x8x8") && error.contains("rows and columns"), "{error}");
    }

    #[test]
    fn a_generated_batch_shows_every_class() {
        let names = ["background", "a"].map(String::from).to_vec();
        let classes = LabelSpace::new(names).unwrap();
        for size in [[1, 1], [5, 3], [32, 32]] {
            let batch = generated(3, 1, size, &classes, 7);
            assert_eq!(batch.images.dim(), (3, 1, size[0], size[1]));
            for label in batch.labels.outer_iter() {
                assert!(label.iter().any(|&v| v == 1), "{size:?}");
            }
        }
        let [one, two] = [7, 8].map(|seed| generated(1, 3, [8, 8], &classes, seed));
        assert_ne!(one, two);
    }
}
