//! Evaluating a run and keeping what was seen: the case table, masks and pictures.

use std::path::Path;

use ndarray::{Array2, ArrayView3, Axis};
use scant_core::{
    CaseRecord, Evaluation, EvaluationProtocol, GalleryItem, GalleryKind, Image, LabelMap, Sample,
};
use scant_data::PoolCases;
use scant_data::stream::CaseSource;
use scant_infer::Predictor;
use scant_metrics::{EmptyPolicy, Metric, MetricOptions, case_score};
use scant_nn::loss::discrepancy_config::FeatureDiscrepancyConfig;
use scant_nn::loss::feature_discrepancy::FdForm;
use scant_train::{EvaluateOptions, evaluate_cases};

use crate::exit::{Failure, Result};

/// Cases of each kind in the gallery.
const GALLERY: usize = 4;
/// Longest side of gallery pictures, pixels.
const PICTURE: usize = 320;

/// An empty-mask policy by name.
pub(crate) fn empty_policy(name: &str) -> Result<EmptyPolicy> {
    name.parse().map_err(Failure::usage)
}

/// The definitions behind an evaluation.
pub(crate) fn protocol(metrics: &MetricOptions, threshold: f64, tta: &str) -> EvaluationProtocol {
    EvaluationProtocol {
        empty_policy: metrics.policy.name().into(),
        nsd_tolerance: metrics.nsd_tolerance,
        threshold,
        tta: tta.into(),
    }
}

/// Predicts and judges cases; masks go to `masks/SOURCE/STEM.png` as class ids where `masks` is given.
pub(crate) fn evaluate(
    predictor: &Predictor,
    cases: &PoolCases,
    part: &str,
    metrics: MetricOptions,
    masks: Option<&Path>,
) -> Result<Evaluation> {
    // The form that does not depend on the size of the object, whatever was trained with.
    let discrepancy = FeatureDiscrepancyConfig {
        form: FdForm::RegionMean,
        ..FeatureDiscrepancyConfig::default()
    };
    let options = EvaluateOptions { metrics, discrepancy: Some(discrepancy) };
    let mut records: Vec<CaseRecord> = Vec::with_capacity(cases.len());
    let mut failure: Option<Failure> = None;
    evaluate_cases(predictor, cases, &options, |_, outcome| {
        if let (Some(folder), Some(labels)) = (masks, &outcome.prediction) {
            let id = &outcome.record.id;
            let path = folder.join(&id.source).join(format!("{}.png", id.stem));
            if let Err(e) = write_mask(&path, labels) {
                failure.get_or_insert(e);
            }
        }
        records.push(outcome.record);
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    let options = predictor.options();
    Ok(Evaluation {
        part: part.into(),
        protocol: protocol(&metrics, options.threshold, options.tta.name()),
        cases: records,
    })
}

fn write_mask(path: &Path, labels: &LabelMap) -> Result {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .map_err(|e| Failure::failed(format!("cannot make {}: {e}", folder.display())))?;
    let planar = labels.as_planar().ok_or_else(|| Failure::failed("a mask is not planar"))?;
    Ok(scant_io::write_grey8(path, planar)?)
}

/// Mean Dice of a case over its classes; failed cases count 0.
fn score(case: &CaseRecord) -> Option<f64> {
    case_score(case, Metric::Dice)
}

/// Writes pictures of the worst and best cases below `root/gallery` and describes them.
pub(crate) fn gallery(
    predictor: &Predictor,
    cases: &PoolCases,
    evaluation: &Evaluation,
    root: &Path,
) -> Result<Vec<GalleryItem>> {
    let mut ranked: Vec<(f64, usize)> = evaluation
        .cases
        .iter()
        .enumerate()
        .filter(|(_, c)| c.failure.is_none())
        .filter_map(|(i, c)| Some((score(c)?, i)))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let worst = GALLERY.min(ranked.len());
    // A case is shown once, as one of the worst before it is one of the best.
    let best = GALLERY.min(ranked.len() - worst);
    let chosen = ranked[..worst]
        .iter()
        .map(|r| (GalleryKind::Worst, r))
        .chain(ranked.iter().rev().take(best).map(|r| (GalleryKind::Best, r)));
    let folder = root.join("gallery");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .map_err(|e| Failure::failed(format!("cannot clear {}: {e}", folder.display())))?;
    }
    let mut items = Vec::new();
    for (kind, &(dice, case)) in chosen {
        let sample = cases.load(case)?;
        let predictor = predictor.for_source(&sample.id.source);
        let at = format!("gallery/{:02}", items.len());
        items.push(picture(predictor, &sample, root, &at, kind, dice, &evaluation.part)?);
    }
    Ok(items)
}

fn picture(
    predictor: &Predictor,
    sample: &Sample,
    root: &Path,
    at: &str,
    kind: GalleryKind,
    dice: f64,
    part: &str,
) -> Result<GalleryItem> {
    let failed = |e: &dyn std::fmt::Display| Failure::failed(format!("{}: {e}", sample.id));
    let folder = root.join(at);
    std::fs::create_dir_all(&folder).map_err(|e| failed(&e))?;
    let planar = sample.image.as_planar().ok_or_else(|| failed(&"not planar"))?;
    let (_, rows, columns) = planar.dim();
    let step = rows.max(columns).div_ceil(PICTURE).max(1);
    let path = |name: &str| (folder.join(name), format!("{at}/{name}"));

    let (image_file, image) = path("image.png");
    write_picture(&image_file, &sample.image, planar, step)?;
    let label = sample.label.as_ref().and_then(LabelMap::as_planar);
    let label = label.ok_or_else(|| failed(&"no mask"))?;
    let (truth_file, truth) = path("truth.png");
    scant_io::write_grey8(&truth_file, thinned(label, step).view())?;
    let predicted = predictor.predict(&sample.image).map_err(|e| failed(&e))?;
    let predicted = predicted.labels.as_planar().map(|p| thinned(p, step));
    let (prediction_file, prediction) = path("prediction.png");
    let predicted = predicted.ok_or_else(|| failed(&"not planar"))?;
    scant_io::write_grey8(&prediction_file, predicted.view())?;

    let output = predictor.inspect(&sample.image).map_err(|e| failed(&e))?;
    let mut heatmaps = std::collections::BTreeMap::new();
    for tap in output.taps.iter().filter(|t| t.name == "bottleneck" || t.name == "dec1") {
        let (file, name) = path(&format!("{}.png", tap.name));
        let mean = tap.features.clone().mean_dim(1);
        let [_, _, h, w] = mean.dims();
        let values: Vec<f32> = mean.into_data().iter::<f32>().collect();
        scant_io::write_grey8(&file, stretched(&values, h, w).view())?;
        heatmaps.insert(tap.name.clone(), name);
    }
    Ok(GalleryItem {
        id: sample.id.clone(),
        part: part.into(),
        kind,
        dice: Some(dice),
        image,
        truth,
        prediction,
        heatmaps,
    })
}

/// Every `step`-th pixel: class ids cannot be averaged.
fn thinned(ids: ndarray::ArrayView2<'_, u8>, step: usize) -> Array2<u8> {
    ids.slice(ndarray::s![..;step, ..;step]).to_owned()
}

fn write_picture(path: &Path, image: &Image, planar: ArrayView3<'_, f32>, step: usize) -> Result {
    let small = planar.slice(ndarray::s![.., ..;step, ..;step]);
    if image.channels() == 3 {
        let low = small.iter().copied().fold(f32::INFINITY, f32::min);
        let high = small.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Colours are shown as stored unless the file is too dark to see anything.
        let scale = if high - low < 0.25 && high > low { 1.0 / high } else { 1.0 };
        let bytes = small.mapv(|v| (v * scale * 255.0).round().clamp(0.0, 255.0) as u8);
        let rgb = bytes.permuted_axes([1, 2, 0]).as_standard_layout().into_owned();
        return Ok(scant_io::write_rgb8(path, rgb.view())?);
    }
    let grey = small.index_axis(Axis(0), 0);
    let (h, w) = grey.dim();
    let values: Vec<f32> = grey.iter().copied().collect();
    Ok(scant_io::write_grey8(path, stretched(&values, h, w).view())?)
}

/// Values min-max scaled to 0..255; a constant map is black.
fn stretched(values: &[f32], rows: usize, columns: usize) -> Array2<u8> {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = if high > low { high - low } else { 1.0 };
    Array2::from_shape_fn((rows, columns), |(r, c)| {
        ((values[r * columns + c] - low) / range * 255.0).round().clamp(0.0, 255.0) as u8
    })
}
