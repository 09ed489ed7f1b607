//! Judging a network on cases, one by one.

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use scant_core::{CaseRecord, LabelMap, LabelSpace, Sample, SampleId};
use scant_data::stream::CaseSource;
use scant_infer::{PredictError, Predictor};
use scant_metrics::{Counts, EmptyPolicy, MetricOptions, evaluate_case};
use scant_nn::loss::Target;
use scant_nn::loss::discrepancy_config::FeatureDiscrepancyConfig;

use crate::TrainError;
use crate::objective::discrepancy_per_tap;

/// What is measured.
#[derive(Debug, Clone)]
pub struct EvaluateOptions {
    /// Definitions of the metrics.
    pub metrics: MetricOptions,
    /// Report this discrepancy per tap.
    pub discrepancy: Option<FeatureDiscrepancyConfig>,
}

/// One judged case.
#[derive(Debug, Clone)]
pub struct CaseOutcome {
    /// Its numbers.
    pub record: CaseRecord,
    /// What was predicted; absent when the case failed.
    pub prediction: Option<LabelMap>,
}

/// Predicts and judges every case. A case that cannot be loaded or predicted becomes a failed
/// record; the rest goes on.
pub fn evaluate_cases(
    predictor: &Predictor,
    cases: &dyn CaseSource,
    options: &EvaluateOptions,
    mut done: impl FnMut(usize, CaseOutcome),
) {
    for i in 0..cases.len() {
        let outcome = match cases.load(i) {
            Ok(sample) => judge(predictor, &sample, options)
                .unwrap_or_else(|reason| failed(&sample.id, reason)),
            Err(e) => failed(cases.id(i), e.to_string()),
        };
        done(i, outcome);
    }
}

fn failed(id: &SampleId, reason: String) -> CaseOutcome {
    let record = CaseRecord {
        id: id.clone(),
        distance_unit: "px".into(),
        classes: Vec::new(),
        discrepancy: BTreeMap::new(),
        failure: Some(reason),
    };
    CaseOutcome { record, prediction: None }
}

fn judge(
    predictor: &Predictor,
    sample: &Sample,
    options: &EvaluateOptions,
) -> Result<CaseOutcome, String> {
    let truth = sample.label.as_ref().ok_or("the case has no mask")?;
    let predictor = predictor.for_source(&sample.id.source);
    let prediction = predictor.predict(&sample.image).map_err(|e| e.to_string())?;
    let spacing = sample.image.geometry.spacing_mm.as_deref();
    let mut classes = Vec::new();
    for id in predictor.classes().foreground().filter(|&id| sample.annotated.has(id)) {
        let name = predictor.classes().name(id);
        let result = evaluate_case(
            prediction.labels.ids.view(),
            truth.ids.view(),
            spacing,
            id,
            name,
            &options.metrics,
        );
        classes.push(result.map_err(|e| e.to_string())?);
    }
    let discrepancy = match &options.discrepancy {
        None => BTreeMap::new(),
        Some(config) => case_discrepancy(predictor, sample, config).map_err(|e| e.to_string())?,
    };
    let record = CaseRecord {
        id: sample.id.clone(),
        distance_unit: sample.image.geometry.distance_unit().into(),
        classes,
        discrepancy,
        failure: None,
    };
    Ok(CaseOutcome { record, prediction: Some(prediction.labels) })
}

/// Unweighted `L_fd` per tap of one labelled case, batch of one, on the network grid.
///
/// # Errors
/// When the image cannot be preprocessed.
pub fn case_discrepancy(
    predictor: &Predictor,
    sample: &Sample,
    config: &FeatureDiscrepancyConfig,
) -> Result<BTreeMap<String, f64>, PredictError> {
    let Some(label) = sample.label.as_ref().and_then(LabelMap::as_planar) else {
        return Ok(BTreeMap::new());
    };
    let output = predictor.inspect(&sample.image)?;
    let device = output.logits.device();
    let ids = predictor.preprocess().apply_label(label);
    let (h, w) = ids.dim();
    let ids: Vec<i32> = ids.iter().map(|&v| i32::from(v)).collect();
    let target = Target {
        classes: Tensor::<3, Int>::from_data(TensorData::new(ids, [1, h, w]), &device),
        annotated: drawn(sample, predictor.classes(), &device),
    };
    Ok(discrepancy_per_tap(&output, &target, config))
}

fn drawn(sample: &Sample, classes: &LabelSpace, device: &Device) -> Tensor<2> {
    let flags: Vec<f32> =
        sample.annotated.flags().iter().map(|&d| f32::from(u8::from(d))).collect();
    Tensor::from_data(TensorData::new(flags, [1, classes.len()]), device)
}

/// Mean hard Dice over cases and drawn foreground classes, and the same per source. A class that is
/// empty in truth and prediction has no Dice and is left out, as in every report.
///
/// # Errors
/// When a case cannot be predicted.
pub fn validation_dice(
    predictor: &Predictor,
    samples: &[Sample],
) -> Result<(Option<f64>, BTreeMap<String, f64>), TrainError> {
    let mut by_source: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        let Some(truth) = &sample.label else { continue };
        let predictor = predictor.for_source(&sample.id.source);
        let prediction = predictor
            .predict(&sample.image)
            .map_err(|source| TrainError::Predict { case: sample.id.to_string(), source })?;
        for id in predictor.classes().foreground().filter(|&id| sample.annotated.has(id)) {
            let counts = Counts::of_class(&prediction.labels.ids.view(), &truth.ids.view(), id);
            let counts = counts.expect("a prediction has the size of its image");
            if let Some(dice) = scant_metrics::overlap::dice(&counts, EmptyPolicy::Scant) {
                by_source.entry(sample.id.source.clone()).or_default().push(dice);
            }
        }
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let all: Vec<f64> = by_source.values().flatten().copied().collect();
    let overall = (!all.is_empty()).then(|| mean(&all));
    Ok((overall, by_source.iter().map(|(k, v)| (k.clone(), mean(v))).collect()))
}
