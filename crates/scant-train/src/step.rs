//! One optimiser step: forward, loss, backward, clipping, update. Every batch of a run goes through
//! here, and so does what measures how long that takes.

use std::collections::BTreeMap;

use ndarray::{Array3, Array4, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scant_core::{Annotated, LabelSpace, Role, SampleId};
use scant_data::stream::Batch;
use scant_nn::heads::Heads;
use scant_nn::loss::alpha::AlphaState;
use scant_nn::loss::group_dro::Groups;
use scant_nn::source_norm::SourceNorms;
use scant_nn::{Device, Precision, weights, with_precision};

use crate::TrainError;
use crate::objective::{DeviceBatch, Learners, Lent, Objective, objective, phase_heads};
use crate::optimizer::{self, FlatGradients, Optimizer};
use crate::recipe::{PhaseLoss, Recipe, RecipeError};

/// Loss of one batch and the gradient of every parameter; no gradients where the loss is not a
/// number. `lent` as in [`objective`].
pub(crate) fn differentiate(
    precision: Precision,
    learners: &Learners,
    batch: &DeviceBatch,
    loss: &PhaseLoss,
    lent: &Lent,
) -> (Objective, Option<FlatGradients>) {
    // Dropout and its kin draw from the generator of the device. Seeded anew at every step, it makes
    // them a function of the step, so that a resumed run drops the same.
    weights::device(&learners.model).seed(lent.draw);
    // The backward pass keeps to the precision of the forward pass.
    let loss = with_precision(precision, || objective(learners, batch, loss, lent));
    let finite = loss.terms["total"].is_finite();
    let gradients = finite.then(|| optimizer::collect(learners, &loss.total.backward()));
    (loss, gradients)
}

/// Averages the gradients of `gathered` batches, scales them down to the norm `clip` (0 leaves them
/// alone) and moves what learns; nothing moves where they are not numbers. The norm before clipping.
pub(crate) fn apply(
    learners: &mut Learners,
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
        *learners = optimizer.step(learners.clone(), &gradients, lr);
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
    learners: Learners,
    batch: DeviceBatch,
    loss: PhaseLoss,
    lent: Lent,
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
        let loss = recipe.phase[0].loss.clone();
        if let (Some(_), Some(term)) = (depth, loss.for_images_only()) {
            let key = format!("loss.{term}");
            return Err(RecipeError::value(&key, "{ .. }", "for networks of images").into());
        }
        if depth.is_some() && recipe.model.source_norm() {
            let allowed = "for networks of images";
            return Err(RecipeError::value("model.source_norm", "true", allowed).into());
        }
        let model = config.init(&device, recipe.seed)?;
        let heads = match depth {
            None => Heads::init(&phase_heads(&loss, &config, Some(plane))?, &device, recipe.seed),
            Some(_) => Heads::none(),
        };
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
        let mut counts = BTreeMap::new();
        for id in &batch.ids {
            *counts.entry(id.source.clone()).or_default() += 1;
        }
        crate::recipe::check_source_norm(recipe, &config)?;
        let away: Vec<String> = counts.keys().filter(|name| *name != "site-1").cloned().collect();
        let away = if recipe.model.source_norm() { away } else { Vec::new() };
        let norms = SourceNorms::copies(&model, &away);
        Ok(Self {
            precision: recipe.precision.into(),
            learners: Learners { model, heads, norms },
            batch: match depth {
                None => DeviceBatch::new(&batch, &device),
                Some(depth) => DeviceBatch::stacked(&batch, depth, &device),
            },
            loss,
            lent: Lent { alpha, groups: Groups::equal(counts), progress: 0.0, draw: 0 },
            optimizer: Optimizer::new(recipe.optim),
            clip: recipe.optim.clip_norm,
            lr: recipe.phase[0].lr.unwrap_or(recipe.optim.lr),
        })
    }

    /// Takes one step; the loss before it, every part by name as in a run's record.
    ///
    /// Neither the loss nor the gradient needs to be a number: what is measured is the time.
    pub fn step(&mut self) -> BTreeMap<String, f64> {
        self.lent.draw = self.optimizer.updates();
        let (loss, gradients) =
            differentiate(self.precision, &self.learners, &self.batch, &self.loss, &self.lent);
        if let Some(gradients) = gradients {
            let optimizer = &mut self.optimizer;
            apply(&mut self.learners, optimizer, gradients, 1, self.clip, self.lr);
        }
        self.lent.groups = loss.groups;
        loss.terms
    }

    /// Trainable parameters of the network.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.learners.model.parameters()
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

/// Noise of mean 0 and deviation 1, with a rectangle of each foreground class on it, from two
/// sources in turns.
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
    let source = |i: usize| ["site-1", "site-2"][i % 2];
    let name =
        |i: usize| SampleId { source: source(i).into(), group: i.to_string(), stem: i.to_string() };
    Batch {
        images,
        labels,
        annotated: vec![Annotated::all(classes.len()); count],
        ids: (0..count).map(name).collect(),
        sources: (0..count).map(|i| i % 2).collect(),
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

    fn number(terms: &BTreeMap<String, f64>, name: &str) -> f64 {
        *terms.get(name).unwrap_or_else(|| panic!("no {name} in {terms:?}"))
    }

    #[test]
    fn heads_are_trained_and_their_terms_add_up() {
        let loss = "{ dice = 1.0, ce = 1.0, deep_supervision = { weight = 0.5, taps = [\"dec2\"] }, \
                    local_contrast = { weight = 0.2, tap = \"dec1\", region_size = 1, project = 3 }, \
                    pixel_contrast = { weight = 0.3, stride = 2, width = 4, max_pixels = 20 } }";
        let mut steps = repeated("", loss).unwrap();
        let before = steps.learners.heads.export();
        assert_eq!(before.len(), 2 + 4 + 1 + 4, "{:?}", before.keys());
        let terms = steps.step();
        let of = |name: &str| number(&terms, name);
        let sum = of("dice")
            + of("ce")
            + of("deep_supervision")
            + 0.2 * of("local_contrast")
            + 0.3 * of("pixel_contrast");
        assert!((of("total") - sum).abs() < 1e-4 * sum, "{terms:?}");
        for name in ["deep_supervision", "local_contrast", "pixel_contrast"] {
            assert!(of(name) > 0.1, "{name}: {terms:?}");
        }
        let after = steps.learners.heads.export();
        for (name, tensor) in &before {
            assert_ne!(tensor, &after[name], "{name} was not trained");
        }
        for _ in 0..30 {
            steps.step();
        }
        let last = steps.step();
        for name in ["deep_supervision", "local_contrast", "pixel_contrast", "total"] {
            let (first, last) = (of(name), number(&last, name));
            assert!(last < first, "{name}: {first} to {last}");
        }
    }

    #[test]
    fn contrast_alone_trains_the_features_and_leaves_the_logits() {
        let loss = "{ local_contrast = { tap = \"dec1\", region_size = 1 } }";
        let mut steps = repeated("", loss).unwrap();
        let before = weights::export(&steps.learners.model);
        let first = steps.step();
        assert_eq!(first.keys().collect::<Vec<_>>(), ["local_contrast", "total"]);
        let after = weights::export(&steps.learners.model);
        for name in ["Conv_1x1.weight", "Conv_1x1.bias"] {
            assert_eq!(before[name], after[name], "{name}");
        }
        assert_ne!(before["Conv1.conv.0.weight"], after["Conv1.conv.0.weight"]);
        // Nothing else sees images, so the running statistics are those of the copies.
        assert_ne!(before["Conv1.conv.1.running_mean"], after["Conv1.conv.1.running_mean"]);
    }

    #[test]
    fn beside_images_the_copies_leave_the_running_statistics_alone() {
        let [with, without] = [
            "{ dice = 1.0, local_contrast = { tap = \"dec1\", region_size = 1 } }",
            "{ dice = 1.0 }",
        ]
        .map(|loss| {
            let mut steps = repeated("", loss).unwrap();
            steps.step();
            weights::export(&steps.learners.model)
        });
        for (name, tensor) in with.iter().filter(|(name, _)| name.contains("running")) {
            assert_eq!(tensor, &without[name], "{name}");
        }
        // Adam's first step knows signs only, and not all of them are the same.
        let weights = with.iter().filter(|(name, _)| name.ends_with("weight"));
        assert!(weights.into_iter().any(|(name, tensor)| tensor != &without[name]));
    }

    #[test]
    fn weights_of_sources_follow_their_losses_over_two_steps() {
        let loss = "{ dice = 1.0, group_dro = { step = 0.5 } }";
        let mut steps = repeated("", loss).unwrap();
        let mut weights = [0.5, 0.5];
        for _ in 0..2 {
            let terms = steps.step();
            let of = |name: &str| number(&terms, name);
            let losses = ["site-1", "site-2"].map(|s| of(&format!("group_loss/{s}")));
            let raised = [0, 1].map(|i: usize| weights[i] * (0.5 * losses[i]).exp());
            weights = raised.map(|w| w / (raised[0] + raised[1]));
            for (i, source) in ["site-1", "site-2"].into_iter().enumerate() {
                let got = of(&format!("group_weight/{source}"));
                assert!((got - weights[i]).abs() < 1e-9, "{terms:?}");
            }
            let total = weights[0] * losses[0] + weights[1] * losses[1];
            assert!((of("total") - total).abs() < 1e-5, "{terms:?}");
            assert!((of("group_dro") - total).abs() < 1e-5, "{terms:?}");
            let mean = 0.5 * (losses[0] + losses[1]);
            assert!((of("dice") - mean).abs() < 1e-5, "{terms:?}");
        }
        assert!((weights[0] - 0.5).abs() > 1e-4, "the losses of the sources do not differ");
    }

    #[test]
    fn norms_of_sources_drift_apart_from_what_they_share() {
        let text = "[model]\nname = \"unet\"\nwidth = 2\ndepth = 1\nsource_norm = true\n[data]\n\
                    size = [8, 8]\nchannels = 1\nbatch = 4\n[[phase]]\nname = \"only\"\nepochs = 1\n\
                    loss = { dice = 1.0, local_contrast = { tap = \"dec1\" } }\n";
        let classes = LabelSpace::new(vec!["background".into(), "a".into()]).unwrap();
        let recipe = Recipe::parse(text, &[]).unwrap();
        let mut steps = RepeatedStep::new(&recipe, &classes, &[8, 8], &Device::flex()).unwrap();
        let norms = |steps: &RepeatedStep| steps.learners.norms.export(&steps.learners.model);
        let before = norms(&steps);
        assert!(before.keys().all(|name| name.starts_with("site-2/")), "{:?}", before.keys());
        let first = steps.step()["total"];
        for _ in 0..20 {
            steps.step();
        }
        assert!(steps.step()["total"] < first);
        let (home, away) = (weights::export(&steps.learners.model), norms(&steps));
        for (name, tensor) in &away {
            assert_ne!(tensor, &before[name], "{name} was not trained");
            assert_ne!(tensor, &home[name.strip_prefix("site-2/").unwrap()], "{name} is shared");
        }
    }

    #[test]
    fn a_loss_that_the_network_cannot_carry_is_refused() {
        for (loss, words) in [
            ("{ dice = 1.0, deep_supervision = { taps = [\"dec7\"] } }", "\"dec7\""),
            ("{ dice = 1.0, deep_supervision = { taps = [] } }", "at least one tap"),
            ("{ dice = 1.0, deep_supervision = { taps = [\"dec2\", \"dec2\"] } }", "once"),
            ("{ dice = 1.0, local_contrast = {} }", "6 x 4"),
            ("{ dice = 1.0, local_contrast = { tap = \"enc9\" } }", "enc1, enc2"),
            ("{ dice = 1.0, pixel_contrast = { stride = 3, tap = \"dec2\" } }", "stride = 3"),
        ] {
            let error = repeated("", loss).unwrap_err().to_string();
            assert!(error.contains(words), "{loss}: {error}");
        }
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
                    &steps.learners,
                    &steps.batch,
                    &steps.loss,
                    &steps.lent,
                );
                assert!(gradients.is_some());
                let seen = loss.seen();
                assert_eq!(seen.len(), 5, "{seen:?}");
                // The errors of both sides may add up to less than a pixel of a small map.
                let measured = |s: &&AlphaSeen| s.pull.is_some_and(|p| p > 0.0 && p.is_finite());
                let contributed = |s: &&AlphaSeen| s.discrepancy.is_some();
                let count = seen.values().filter(contributed).count();
                assert!(count >= if pixels == "errors" { 3 } else { 5 }, "{pixels} {seen:?}");
                assert_eq!(seen.values().filter(measured).count(), count, "{form} {seen:?}");
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
