//! The one path from an image to its mask.

use std::collections::BTreeMap;

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Tensor, TensorData};
use ndarray::{Array2, Array3, Axis};
use scant_core::{Image, LabelMap, LabelSpace};
use scant_data::preprocess::{PreprocessConfig, PreprocessError};
use scant_nn::{Device, Model, SegOutput};
use thiserror::Error;

use crate::tile::TileOptions;
use crate::tta::Tta;

/// How to predict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictOptions {
    /// Copies to average.
    pub tta: Tta,
    /// Sliding window; network inputs no larger than a tile are predicted whole.
    pub tile: TileOptions,
    /// Probability from which a pixel belongs to a single foreground class.
    pub threshold: f64,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self {
            tta: Tta::None,
            tile: TileOptions { size: [1024, 1024], overlap: 0.5 },
            threshold: 0.5,
        }
    }
}

/// Why an image cannot be predicted.
#[derive(Debug, Error)]
pub enum PredictError {
    /// The image cannot become network input.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// A volume where a planar image is needed.
    #[error("the image is a volume; this model predicts planar images")]
    NotPlanar,
}

/// A predicted image, on the grid of its original.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Class ids.
    pub labels: LabelMap,
    /// # Shapes
    /// `[classes, rows, columns]`, summing to one over classes.
    pub probabilities: Array3<f32>,
}

/// A network with everything around it.
#[derive(Debug, Clone)]
pub struct Predictor {
    model: Model,
    preprocess: PreprocessConfig,
    classes: LabelSpace,
    options: PredictOptions,
    device: Device,
    /// For sources with norms of their own.
    others: BTreeMap<String, Predictor>,
}

impl Predictor {
    /// `model` must be in evaluation mode, on `device`, which records no gradients.
    #[must_use]
    pub fn new(
        model: Model,
        preprocess: PreprocessConfig,
        classes: LabelSpace,
        options: PredictOptions,
        device: Device,
    ) -> Self {
        Self { model, preprocess, classes, options, device, others: BTreeMap::new() }
    }

    /// The same with another network, as [`Predictor::new`] takes it, for the images of one source.
    #[must_use]
    pub fn with_source(mut self, source: String, model: Model) -> Self {
        let other = Self { model, others: BTreeMap::new(), ..self.clone() };
        self.others.insert(source, other);
        self
    }

    /// The predictor for images of a source: itself, unless the source has a network of its own.
    #[must_use]
    pub fn for_source(&self, source: &str) -> &Self {
        self.others.get(source).unwrap_or(self)
    }

    /// How it predicts.
    #[must_use]
    pub fn options(&self) -> &PredictOptions {
        &self.options
    }

    /// Its classes.
    #[must_use]
    pub fn classes(&self) -> &LabelSpace {
        &self.classes
    }

    /// Its preprocessing.
    #[must_use]
    pub fn preprocess(&self) -> &PreprocessConfig {
        &self.preprocess
    }

    /// Predicts one image on its own grid.
    ///
    /// # Errors
    /// When the image is not planar or cannot be preprocessed.
    pub fn predict(&self, image: &Image) -> Result<Prediction, PredictError> {
        let planar = image.as_planar().ok_or(PredictError::NotPlanar)?;
        let (_, rows, columns) = planar.dim();
        let input = self.input(image)?;
        let probabilities = self.average(input);
        let [_, k, h, w] = probabilities.dims();
        let values: Vec<f32> = probabilities.into_data().iter::<f32>().collect();
        let grid = Array3::from_shape_vec((k, h, w), values).expect("a tensor has its own shape");
        let restored = self.preprocess.restore(grid.view(), (rows, columns));
        Ok(self.decide(&restored))
    }

    /// The network's own output for an image on the network grid: taps for heatmaps and
    /// discrepancies. Not tiled.
    ///
    /// # Errors
    /// When the image is not planar or cannot be preprocessed.
    pub fn inspect(&self, image: &Image) -> Result<SegOutput, PredictError> {
        image.as_planar().ok_or(PredictError::NotPlanar)?;
        Ok(self.model.forward(self.input(image)?))
    }

    fn input(&self, image: &Image) -> Result<Tensor<4>, PredictError> {
        let pixels = self.preprocess.apply_image(image)?;
        let (c, h, w) = pixels.dim();
        let data = pixels.as_standard_layout().iter().copied().collect::<Vec<f32>>();
        Ok(Tensor::from_data(TensorData::new(data, [1, c, h, w]), &self.device))
    }

    /// Mean probability over the symmetric copies, `[1, K, h, w]`.
    fn average(&self, input: Tensor<4>) -> Tensor<4> {
        let symmetries = self.options.tta.symmetries();
        let count = symmetries.len() as f64;
        let mut sum: Option<Tensor<4>> = None;
        for symmetry in symmetries {
            let p = symmetry.undo(self.tiled(symmetry.apply(input.clone())));
            sum = Some(match sum {
                None => p,
                Some(s) => s + p,
            });
        }
        let sum = sum.expect("there is at least the image itself");
        if count > 1.0 { sum / count } else { sum }
    }

    /// Probabilities of one network input, whole or by tiles.
    fn tiled(&self, input: Tensor<4>) -> Tensor<4> {
        let [_, c, h, w] = input.dims();
        let tile = self.options.tile;
        if h <= tile.size[0] && w <= tile.size[1] {
            return probabilities(self.model.forward(input).logits);
        }
        let size = [tile.size[0].min(h), tile.size[1].min(w)];
        let weight = TileOptions::weights(size);
        let k = self.classes.logit_channels();
        let mut sum = Array3::<f32>::zeros((k, h, w));
        let mut total = Array2::<f32>::zeros((h, w));
        for [row, column] in tile.corners([h, w]) {
            let part =
                input.clone().slice([0..1, 0..c, row..row + size[0], column..column + size[1]]);
            let p: Vec<f32> =
                probabilities(self.model.forward(part).logits).into_data().iter::<f32>().collect();
            for r in 0..size[0] {
                for q in 0..size[1] {
                    let here = r * size[1] + q;
                    total[[row + r, column + q]] += weight[here];
                    for class in 0..k {
                        sum[[class, row + r, column + q]] +=
                            weight[here] * p[class * size[0] * size[1] + here];
                    }
                }
            }
        }
        sum /= &total.insert_axis(Axis(0));
        let data = sum.into_raw_vec_and_offset().0;
        Tensor::from_data(TensorData::new(data, [1, k, h, w]), &self.device)
    }

    /// Class ids and full probabilities from `[K, rows, columns]`.
    fn decide(&self, p: &Array3<f32>) -> Prediction {
        let (k, rows, columns) = p.dim();
        if k == 1 {
            let threshold = self.options.threshold as f32;
            let labels = p.index_axis(Axis(0), 0).mapv(|v| u8::from(v >= threshold));
            let mut both = Array3::zeros((2, rows, columns));
            both.index_axis_mut(Axis(0), 0).assign(&p.index_axis(Axis(0), 0).mapv(|v| 1.0 - v));
            both.index_axis_mut(Axis(0), 1).assign(&p.index_axis(Axis(0), 0));
            return Prediction { labels: LabelMap::planar(labels), probabilities: both };
        }
        let labels = Array2::from_shape_fn((rows, columns), |(r, c)| {
            // Strictly greater: a tie goes to the lower id, the background first.
            (1..k).fold(0, |best, i| if p[[i, r, c]] > p[[best, r, c]] { i } else { best }) as u8
        });
        Prediction { labels: LabelMap::planar(labels), probabilities: p.clone() }
    }
}

fn probabilities(logits: Tensor<4>) -> Tensor<4> {
    if logits.dims()[1] == 1 { sigmoid(logits) } else { softmax(logits, 1) }
}
