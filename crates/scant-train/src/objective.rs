//! From a batch to the number that is descended, with every part of it for the log.

mod deep_supervision;
mod discrepancy;
mod group_dro;
mod local_contrast;
mod phase_heads;
mod pixel_contrast;
mod segmentation;

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ndarray::Array3;
use scant_core::{Annotated, Role};
use scant_data::stream::Batch;
use scant_nn::heads::Heads;
use scant_nn::loss::Target;
use scant_nn::loss::alpha::AlphaSeen;
use scant_nn::loss::group_dro::Groups;
use scant_nn::source_norm::SourceNorms;
use scant_nn::{Model, SegOutput, Watch};

use discrepancy::TapTerms;
pub(crate) use discrepancy::discrepancy_per_tap;
pub(crate) use phase_heads::phase_heads;
use segmentation::Scores;

use crate::recipe::PhaseLoss;

/// What a network is shown.
#[derive(Debug)]
pub(crate) enum Pixels {
    /// `[B, C, H, W]`
    Images(Tensor<4>),
    /// `[B, C, D, H, W]`
    Volumes(Tensor<5>),
}

/// A batch on the device.
#[derive(Debug)]
pub(crate) struct DeviceBatch {
    pub(crate) pixels: Pixels,
    /// The slices of a volume one below the other.
    pub(crate) target: Target,
    roles: Vec<Role>,
    /// Name of the source of every image.
    sources: Vec<String>,
    drawn: Drawn,
}

/// What was drawn, on the host: what is sampled is chosen from it.
#[derive(Debug)]
struct Drawn {
    /// `[B, H, W]`
    labels: Array3<u8>,
    annotated: Vec<Annotated>,
}

impl DeviceBatch {
    pub(crate) fn new(batch: &Batch, device: &Device) -> Self {
        let (b, c, h, w) = batch.images.dim();
        let pixels: Vec<f32> = batch.images.iter().copied().collect();
        let ids: Vec<i32> = batch.labels.iter().map(|&v| i32::from(v)).collect();
        let classes = batch.annotated.first().map_or(0, |a| a.flags().len());
        let drawn: Vec<f32> = batch
            .annotated
            .iter()
            .flat_map(|a| a.flags().iter().map(|&d| f32::from(u8::from(d))))
            .collect();
        Self {
            pixels: Pixels::Images(Tensor::from_data(
                TensorData::new(pixels, [b, c, h, w]),
                device,
            )),
            target: Target {
                classes: Tensor::<3, Int>::from_data(TensorData::new(ids, [b, h, w]), device),
                annotated: Tensor::from_data(TensorData::new(drawn, [b, classes]), device),
            },
            roles: batch.roles.clone(),
            sources: batch.ids.iter().map(|id| id.source.clone()).collect(),
            drawn: Drawn { labels: batch.labels.clone(), annotated: batch.annotated.clone() },
        }
    }

    /// The images of a batch as the slices of volumes of `depth` slices each.
    pub(crate) fn stacked(batch: &Batch, depth: usize, device: &Device) -> Self {
        let planar = Self::new(batch, device);
        let Pixels::Images(images) = planar.pixels else { unreachable!("made of images above") };
        let [slices, c, h, w] = images.dims();
        let count = slices / depth;
        let volumes = images.reshape([count, depth, c, h, w]).swap_dims(1, 2);
        Self {
            pixels: Pixels::Volumes(volumes),
            target: Target {
                classes: planar.target.classes.reshape([count, depth * h, w]),
                annotated: planar.target.annotated.slice(0..count),
            },
            roles: planar.roles.into_iter().step_by(depth).collect(),
            sources: planar.sources.into_iter().step_by(depth).collect(),
            drawn: planar.drawn,
        }
    }
}

/// What changes over time, lent to one step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lent {
    /// Weight of every tap that takes part in the feature discrepancy.
    pub(crate) alpha: BTreeMap<String, f64>,
    /// Weights of the sources under group DRO.
    pub(crate) groups: Groups,
    /// Share of the phase that is done, 0 to 1.
    pub(crate) progress: f64,
    /// Seeds whatever is drawn at random.
    pub(crate) draw: u64,
}

/// The loss of one batch.
pub(crate) struct Objective {
    /// What is descended.
    pub(crate) total: Tensor<1>,
    /// Named parts, before their weights, with `total`; `feature_discrepancy` and `deep_supervision` are
    /// weighted sums over taps.
    pub(crate) terms: BTreeMap<String, f64>,
    /// Unweighted discrepancy per tap with its exchanged term; `None` where no image contributed.
    pub(crate) discrepancy: BTreeMap<String, Option<f64>>,
    /// Taps whose gradients the backward pass compares.
    pub(crate) watched: Vec<(String, Watch)>,
    /// Weights of the sources after this batch.
    pub(crate) groups: Groups,
}

impl Objective {
    /// After the backward pass: what the rules of the alphas go by.
    pub(crate) fn seen(&self) -> BTreeMap<String, AlphaSeen> {
        let pull = |tap: &String| self.watched.iter().find(|(name, _)| name == tap)?.1.ratio();
        let seen = |(tap, value): (&String, &Option<f64>)| {
            (tap.clone(), AlphaSeen { discrepancy: *value, pull: pull(tap) })
        };
        self.discrepancy.iter().map(seen).collect()
    }
}

/// Everything that learns.
#[derive(Debug, Clone)]
pub(crate) struct Learners {
    pub(crate) model: Model,
    /// Beside the network for the current phase.
    pub(crate) heads: Heads,
    /// Of every source but the home one.
    pub(crate) norms: SourceNorms,
}

impl Learners {
    /// The network on images of these sources.
    fn forward(&self, images: Tensor<4>, sources: &[String]) -> SegOutput {
        self.norms.forward(&self.model, images, sources)
    }
}

/// Forward pass and loss; the heads are those of [`phase_heads`].
pub(crate) fn objective(
    learners: &Learners,
    batch: &DeviceBatch,
    loss: &PhaseLoss,
    lent: &Lent,
) -> Objective {
    let mut sum = Sum::new(lent.groups.clone());
    let plain = loss.shows_images();
    if plain {
        add_plain_pass(&mut sum, learners, batch, loss, lent);
    }
    if let (Some(config), Pixels::Images(images)) = (&loss.local_contrast, &batch.pixels) {
        let (sources, draw) = (&batch.sources, lent.draw);
        let term =
            local_contrast::contrast_of_copies(learners, images, sources, config, draw, plain);
        sum.add("local_contrast", term, config.weight);
    }
    sum.close(&scant_nn::weights::device(&learners.model))
}

/// Every term of the images as they are.
fn add_plain_pass(
    sum: &mut Sum,
    learners: &Learners,
    batch: &DeviceBatch,
    loss: &PhaseLoss,
    lent: &Lent,
) {
    let (scores, output) = match &batch.pixels {
        Pixels::Images(images) => {
            let output = learners.forward(images.clone(), &batch.sources);
            (Scores::of(&output), Some(output))
        }
        Pixels::Volumes(volumes) => {
            let logits = learners.model.forward_volume(volumes.clone()).logits;
            let [b, k, d, h, w] = logits.dims();
            (Scores::plain(logits.reshape([b, k, d * h, w])), None)
        }
    };
    let config = loss.segmentation();
    if loss.segments() {
        match loss.group_dro {
            None => {
                let (total, terms) = segmentation::supervised(&scores, &batch.target, &config);
                sum.take(total, terms);
            }
            Some(dro) => {
                let by = group_dro::by_source(&scores, batch, &config, dro, &lent.groups);
                sum.take(by.total, by.terms);
                sum.groups = by.groups;
            }
        }
    }
    let Some(output) = output else { return };
    if let Some(aux) = &loss.deep_supervision {
        let (target, progress) = (&batch.target, lent.progress);
        let term = deep_supervision::deep_supervision(
            &output,
            &learners.heads,
            target,
            &config,
            aux,
            progress,
        );
        sum.add("deep_supervision", term, 1.0);
    }
    if let Some(pixels) = &loss.pixel_contrast {
        let drawn = &batch.drawn;
        match pixel_contrast::contrast_of_pixels(&output, &learners.heads, drawn, pixels, lent.draw)
        {
            Some(term) => sum.add("pixel_contrast", term, pixels.weight),
            None => sum.nothing("pixel_contrast"),
        }
    }
    if let Some(config) = &loss.feature_discrepancy {
        let mut weighted = 0.0;
        for TapTerms { tap, terms, watch } in
            discrepancy::tap_terms(&output, batch, config, lent.draw)
        {
            let weight = lent.alpha.get(&tap).copied().unwrap_or(0.0);
            let contributed = terms.iter().any(|t| t.contributed() > 0);
            sum.watched.extend(watch.map(|watch| (tap.clone(), watch)));
            let both = terms.into_iter().map(|t| t.value).reduce(|a, b| a + b);
            let Some(both) = both.filter(|_| contributed) else {
                sum.discrepancy.insert(tap, None);
                continue;
            };
            let value = scalar(&both);
            weighted += weight * value;
            if weight != 0.0 {
                sum.take(both * weight, BTreeMap::new());
            }
            sum.discrepancy.insert(tap, Some(value));
        }
        sum.terms.insert("feature_discrepancy".into(), weighted);
    }
}

/// An objective in the making.
struct Sum {
    total: Option<Tensor<1>>,
    terms: BTreeMap<String, f64>,
    discrepancy: BTreeMap<String, Option<f64>>,
    watched: Vec<(String, Watch)>,
    groups: Groups,
}

impl Sum {
    fn new(groups: Groups) -> Self {
        Self {
            total: None,
            terms: BTreeMap::new(),
            discrepancy: BTreeMap::new(),
            watched: Vec::new(),
            groups,
        }
    }

    /// Adds what is descended, with its parts for the log.
    fn take(&mut self, part: Tensor<1>, terms: BTreeMap<String, f64>) {
        self.terms.extend(terms);
        self.total = Some(match self.total.take() {
            None => part,
            Some(total) => total + part,
        });
    }

    fn add(&mut self, name: &str, term: Tensor<1>, weight: f64) {
        let value = BTreeMap::from([(name.to_owned(), scalar(&term))]);
        self.take(if weight == 1.0 { term } else { term * weight }, value);
    }

    /// A term that has nothing to say about this batch.
    fn nothing(&mut self, name: &str) {
        self.terms.insert(name.to_owned(), 0.0);
    }

    fn close(mut self, device: &Device) -> Objective {
        // Without any term the batch moves nothing.
        let total = self.total.unwrap_or_else(|| Tensor::zeros([1], device));
        self.terms.insert("total".into(), scalar(&total));
        Objective {
            total,
            terms: self.terms,
            discrepancy: self.discrepancy,
            watched: self.watched,
            groups: self.groups,
        }
    }
}

/// The value of a one-element tensor.
pub(crate) fn scalar(t: &Tensor<1>) -> f64 {
    f64::from(t.clone().into_scalar::<f32>())
}

/// The map of a tap, for a loss that goes on with it.
fn tap(output: &SegOutput, name: &str) -> Tensor<4> {
    let tap = output.taps.iter().find(|tap| tap.name == name);
    tap.expect("taps are checked before training").features.clone()
}

/// Positions as an index tensor.
fn positions(at: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let at: Vec<i64> = at.map(|p| i64::try_from(p).expect("positions fit in 63 bits")).collect();
    Tensor::from_ints(at.as_slice(), device)
}
