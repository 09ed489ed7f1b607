//! Every number of a study, made once and shown by page, tables and text alike.

use std::collections::{BTreeMap, BTreeSet};

use scant_core::{Evaluation, FRACTION_AXIS, NOISE_AXIS, RunRecord, StudyAxis, StudyStatus};
use scant_metrics::study::{
    self, AreaDifference, Drop, DropRatio, Estimate, PairedDifference, Runs, SingleValueTest,
    StudyOptions, WorstOff,
};
use scant_metrics::{EmptyPolicy, Metric};

use super::load::LoadedStudy;
use crate::numbers;
use crate::results::main_evaluation;

/// Metrics a study is reported in; the first is the headline.
pub(super) const METRICS: [Metric; 3] = [Metric::Dice, Metric::Iou, Metric::Hd95];
/// Corrected p below this, and an interval that leaves out 0, are called a difference.
pub(super) const LEVEL: f64 = 0.05;

/// Positions on an axis and the points that stand there, ascending.
pub(super) type Positions = Vec<(f64, usize)>;

/// A place in the grid: one value on every axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) at: BTreeMap<String, String>,
    /// `fraction 1/4, noise 0.1`; `everything` in a study without axes.
    pub(super) label: String,
}

/// A method at a point, in one metric.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) method: usize,
    pub(super) point: usize,
    pub(super) metric: Metric,
    pub(super) mean: Option<Estimate>,
    /// Against the reference at the same point; absent for the reference itself.
    pub(super) difference: Option<PairedDifference>,
}

/// A method against the reference on the cases the reference is worst at.
#[derive(Debug, Clone)]
pub(super) struct WorstRow {
    pub(super) method: usize,
    pub(super) point: usize,
    pub(super) found: WorstOff,
}

/// The area under a curve of Dice over fractions, everything else fixed.
#[derive(Debug, Clone)]
pub(super) struct AreaRow {
    pub(super) method: usize,
    /// The other axes, `noise 0.1`, or nothing.
    pub(super) slice: String,
    pub(super) area: Option<Estimate>,
    pub(super) difference: Option<AreaDifference>,
}

/// What a method loses at a noise level.
#[derive(Debug, Clone)]
pub(super) struct DropRow {
    pub(super) method: usize,
    pub(super) point: usize,
    pub(super) found: DropRatio,
}

/// The published test of a method at a point.
#[derive(Debug, Clone)]
pub(super) struct PublishedRow {
    pub(super) method: usize,
    pub(super) point: usize,
    pub(super) found: SingleValueTest,
}

/// A run that gave nothing.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) run: String,
    pub(super) why: String,
}

/// A finished run with the cases that count.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub(super) method: usize,
    pub(super) point: usize,
    pub(super) seed: u64,
    pub(super) record: &'a RunRecord,
    pub(super) evaluation: Evaluation,
}

/// Everything a study says.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    pub(super) options: StudyOptions,
    pub(super) methods: Vec<String>,
    /// Position of the reference among the methods, if it is one.
    pub(super) reference: Option<usize>,
    pub(super) points: Vec<Point>,
    pub(super) judged: Vec<Judged<'a>>,
    pub(super) rows: Vec<Row>,
    pub(super) worst: Vec<WorstRow>,
    pub(super) areas: Vec<AreaRow>,
    pub(super) drops: Vec<DropRow>,
    pub(super) published: Vec<PublishedRow>,
    pub(super) troubles: Vec<Trouble>,
    pub(super) waiting: usize,
    pub(super) warnings: Vec<String>,
    /// What the empty-mask policy of the runs does.
    pub(super) policies: Vec<String>,
}

impl<'a> Findings<'a> {
    pub(super) fn of(study: &'a LoadedStudy) -> Self {
        let record = &study.record;
        let mut findings = Self {
            options: StudyOptions::default(),
            methods: methods(study),
            reference: None,
            points: points(study),
            judged: Vec::new(),
            rows: Vec::new(),
            worst: Vec::new(),
            areas: Vec::new(),
            drops: Vec::new(),
            published: Vec::new(),
            troubles: Vec::new(),
            waiting: record.runs.iter().filter(|r| r.status == StudyStatus::Waiting).count(),
            warnings: Vec::new(),
            policies: Vec::new(),
        };
        findings.reference = findings.methods.iter().position(|m| *m == record.reference);
        findings.judge(study);
        if findings.reference.is_none() {
            findings.warnings.push(format!(
                "the reference \u{201c}{}\u{201d} is not among the methods: nothing can be compared",
                record.reference
            ));
        }
        findings.compare();
        findings.worst_off();
        findings.curves(study);
        findings.noise();
        findings.published_test();
        findings.epochs_differ();
        findings
    }

    /// The runs of a method at a point.
    pub(super) fn runs(&self, method: usize, point: usize) -> Runs<'_> {
        let here = self.judged.iter().filter(|j| j.method == method && j.point == point);
        here.map(|j| (j.seed, &j.evaluation)).collect()
    }

    /// The row of a method at a point.
    pub(super) fn row(&self, method: usize, point: usize, metric: Metric) -> Option<&Row> {
        self.rows.iter().find(|r| r.method == method && r.point == point && r.metric == metric)
    }

    /// Fewest and most seeds of a method at a point, over all that finished.
    pub(super) fn seeds(&self) -> Option<(usize, usize)> {
        let mut counts: BTreeMap<(usize, usize), BTreeSet<u64>> = BTreeMap::new();
        for j in &self.judged {
            counts.entry((j.method, j.point)).or_default().insert(j.seed);
        }
        let n = || counts.values().map(BTreeSet::len);
        Some((n().min()?, n().max()?))
    }

    fn judge(&mut self, study: &'a LoadedStudy) {
        let mut policies = BTreeSet::new();
        for loaded in &study.runs {
            let run = &loaded.run;
            let name = format!("{} ({}, seed {})", run.folder, run.method, run.seed);
            let mut trouble = |why: String| {
                self.troubles.push(Trouble { run: name.clone(), why });
            };
            if let Some(why) = &loaded.trouble {
                trouble(why.clone());
            }
            let Some(record) = &loaded.record else { continue };
            let places = (
                self.methods.iter().position(|m| *m == run.method),
                self.points.iter().position(|p| p.at == run.at),
            );
            let (Some(method), Some(point)) = places else { continue };
            let test = main_evaluation(record).filter(|e| e.part == "test");
            let Some(test) = test else {
                trouble("it has no test evaluation".into());
                continue;
            };
            let twice = |j: &Judged<'_>| (j.method, j.point, j.seed) == (method, point, run.seed);
            if self.judged.iter().any(twice) {
                trouble("another run has the same method, point and seed; that one counts".into());
                continue;
            }
            match study::judged(test, &record.pool, &study.record.judge) {
                Ok(evaluation) => {
                    policies.insert(test.protocol.empty_policy.clone());
                    self.judged.push(Judged { method, point, seed: run.seed, record, evaluation });
                }
                Err(e) => trouble(e.to_string()),
            }
        }
        self.policies = policies
            .into_iter()
            .map(|p| p.parse::<EmptyPolicy>().map_or(p, |known| known.describe().to_string()))
            .collect();
    }

    fn compare(&mut self) {
        for metric in METRICS {
            let mut rows = Vec::new();
            for point in 0..self.points.len() {
                for method in 0..self.methods.len() {
                    let runs = self.runs(method, point);
                    let mean = study::mean_score(&runs, metric, &self.options);
                    let difference = match self.reference {
                        Some(r) if r != method => {
                            study::difference(&self.runs(r, point), &runs, metric, &self.options)
                        }
                        _ => Ok(None),
                    };
                    let difference = difference.unwrap_or_else(|e| {
                        // The same for every metric; said once.
                        if metric == METRICS[0] {
                            self.warnings.push(format!(
                                "{} at {} cannot be paired with the reference: {e}",
                                self.methods[method], self.points[point].label
                            ));
                        }
                        None
                    });
                    if mean.is_some() {
                        rows.push(Row { method, point, metric, mean, difference });
                    }
                }
            }
            study::correct(
                rows.iter_mut()
                    .filter_map(|r| r.difference.as_mut())
                    .filter_map(|d| d.tests.as_mut()),
            );
            self.rows.extend(rows);
        }
    }

    fn others(&self) -> Vec<(usize, usize)> {
        let methods = (0..self.methods.len()).filter(|m| Some(*m) != self.reference);
        let points = 0..self.points.len();
        points.flat_map(|p| methods.clone().map(move |m| (m, p))).collect()
    }

    fn worst_off(&mut self) {
        let Some(reference) = self.reference else { return };
        let mut rows = Vec::new();
        for (method, point) in self.others() {
            let (a, b) = (self.runs(reference, point), self.runs(method, point));
            // What cannot be paired was said above.
            if let Ok(found) = study::worst_off_difference(&a, &b, METRICS[0], &self.options) {
                rows.push(WorstRow { method, point, found });
            }
        }
        for pick in [
            (|w: &mut WorstOff| w.by_same_run.as_mut())
                as fn(&mut WorstOff) -> Option<&mut PairedDifference>,
            |w| w.by_other_seeds.as_mut(),
        ] {
            study::correct(
                rows.iter_mut().filter_map(|r| pick(&mut r.found)).filter_map(|d| d.tests.as_mut()),
            );
        }
        self.worst = rows;
    }

    /// Points that differ on `axis` only, by the label of the rest, in ascending order of the axis.
    pub(super) fn slices(&self, axis: &str) -> Vec<(String, Positions)> {
        let mut out: Vec<(BTreeMap<String, String>, Positions)> = Vec::new();
        for (i, point) in self.points.iter().enumerate() {
            let Some(x) = point.at.get(axis).and_then(|v| position(v)) else { continue };
            let mut rest = point.at.clone();
            rest.remove(axis);
            match out.iter_mut().find(|(r, _)| *r == rest) {
                Some((_, points)) => points.push((x, i)),
                None => out.push((rest, vec![(x, i)])),
            }
        }
        out.into_iter()
            .map(|(rest, mut points)| {
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                let words: Vec<String> = rest.iter().map(|(k, v)| format!("{k} {v}")).collect();
                (words.join(", "), points)
            })
            .collect()
    }

    fn curves(&mut self, study: &LoadedStudy) {
        let has_axis = study.record.axes.iter().any(|a| a.name == FRACTION_AXIS);
        let metric = METRICS[0];
        let (mut rows, mut warnings) = (Vec::new(), Vec::new());
        for (slice, points) in self.slices(FRACTION_AXIS) {
            if !has_axis || points.len() < 2 {
                continue;
            }
            for method in 0..self.methods.len() {
                let curve: Vec<_> =
                    points.iter().map(|&(x, p)| (x, self.runs(method, p))).collect();
                let area = study::area(&curve, metric, &self.options);
                let paired: Option<Vec<_>> = self.reference.filter(|r| *r != method).map(|r| {
                    points
                        .iter()
                        .map(|&(x, p)| (x, self.runs(r, p), self.runs(method, p)))
                        .collect()
                });
                let difference =
                    paired.map_or(Ok(None), |c| study::area_difference(&c, metric, &self.options));
                let (area, difference) = match (area, difference) {
                    (Ok(area), Ok(difference)) => (area, difference),
                    (Err(e), _) | (_, Err(e)) => {
                        let warning = format!("{} has no area: {e}", self.methods[method]);
                        warnings.push(warning);
                        continue;
                    }
                };
                if area.is_some() {
                    rows.push(AreaRow { method, slice: slice.clone(), area, difference });
                }
            }
        }
        study::correct(
            rows.iter_mut().filter_map(|r| r.difference.as_mut()).filter_map(|d| d.tests.as_mut()),
        );
        self.areas = rows;
        self.warnings.extend(warnings);
    }

    fn noise(&mut self) {
        let Some(reference) = self.reference else { return };
        let mut rows = Vec::new();
        for (_, points) in self.slices(NOISE_AXIS) {
            let Some(&(_, clean)) = points.iter().find(|(sigma, _)| *sigma == 0.0) else {
                continue;
            };
            for &(_, noisy) in points.iter().filter(|(sigma, _)| *sigma > 0.0) {
                for method in 0..self.methods.len() {
                    let of = |m| Drop { clean: self.runs(m, clean), noisy: self.runs(m, noisy) };
                    let found =
                        study::drop_ratio(&of(reference), &of(method), METRICS[0], &self.options);
                    if let Ok(Some(found)) = found {
                        rows.push(DropRow { method, point: noisy, found });
                    }
                }
            }
        }
        study::correct(
            rows.iter_mut()
                .filter(|r| r.method != reference)
                .filter_map(|r| r.found.tests.as_mut()),
        );
        self.drops = rows;
    }

    fn published_test(&mut self) {
        let Some(reference) = self.reference else { return };
        let metric = METRICS[0];
        for (method, point) in self.others() {
            let single = self.runs(reference, point).into_iter().next();
            let Some(against) = single.and_then(|(_, e)| study::run_score(e, metric)) else {
                continue;
            };
            let scores: Vec<f64> = self
                .runs(method, point)
                .into_values()
                .filter_map(|e| study::run_score(e, metric).map(|s| s.0))
                .collect();
            if let Some(found) = study::single_value_test(&scores, against.0) {
                self.published.push(PublishedRow { method, point, found });
            }
        }
    }

    /// A method that trained longer than the reference is said to have done so.
    fn epochs_differ(&mut self) {
        let Some(reference) = self.reference else { return };
        let epochs = |r: &RunRecord| r.phases.iter().map(|p| p.epochs.len()).sum::<usize>();
        let of = |method: usize| -> BTreeSet<usize> {
            self.judged.iter().filter(|j| j.method == method).map(|j| epochs(j.record)).collect()
        };
        let usual = of(reference);
        for method in (0..self.methods.len()).filter(|m| *m != reference) {
            let here = of(method);
            if !here.is_empty() && !usual.is_empty() && here != usual {
                self.warnings.push(format!(
                    "{} trained for {} epochs, {} for {}: part of any difference may be longer \
                     training or an early stop",
                    self.methods[method],
                    range(&here),
                    self.methods[reference],
                    range(&usual)
                ));
            }
        }
    }
}

/// `40`, or `36 to 40`.
pub(super) fn range(values: &BTreeSet<usize>) -> String {
    match (values.first(), values.last()) {
        (Some(a), Some(b)) if a != b => format!("{a} to {b}"),
        (Some(a), _) => a.to_string(),
        _ => numbers::ABSENT.into(),
    }
}

/// Methods in the order of the record, then any that only runs name.
fn methods(study: &LoadedStudy) -> Vec<String> {
    let mut out = study.record.methods.clone();
    for run in &study.record.runs {
        if !out.contains(&run.method) {
            out.push(run.method.clone());
        }
    }
    out
}

/// The points that runs stand at, in the order of the axes.
fn points(study: &LoadedStudy) -> Vec<Point> {
    let axes = &study.record.axes;
    let mut points: Vec<BTreeMap<String, String>> = Vec::new();
    for run in &study.record.runs {
        if !points.contains(&run.at) {
            points.push(run.at.clone());
        }
    }
    let rank = |at: &BTreeMap<String, String>| -> Vec<usize> {
        let of = |axis: &StudyAxis| {
            let place = |v: &String| axis.values.iter().position(|w| w == v);
            at.get(&axis.name).and_then(place).unwrap_or(usize::MAX)
        };
        axes.iter().map(of).collect()
    };
    points.sort_by_key(rank);
    let label = |at: &BTreeMap<String, String>| {
        let known = axes.iter().filter_map(|a| at.get_key_value(&a.name));
        let others = at.iter().filter(|(k, _)| !axes.iter().any(|a| a.name == **k));
        let words: Vec<String> = known.chain(others).map(|(k, v)| format!("{k} {v}")).collect();
        if words.is_empty() { "the one setting".into() } else { words.join(", ") }
    };
    points.into_iter().map(|at| Point { label: label(&at), at }).collect()
}

/// The number behind a value of an axis as written: `0.25`, or `1/4`.
pub(super) fn position(value: &str) -> Option<f64> {
    let number = |s: &str| s.trim().parse::<f64>().ok().filter(|v| v.is_finite());
    match value.split_once('/') {
        Some((a, b)) => {
            let (a, b) = (number(a)?, number(b)?);
            (b != 0.0).then(|| a / b)
        }
        None => number(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_decimals_or_fractions() {
        assert_eq!(position("1/16"), Some(0.0625));
        assert_eq!(position(" 0.5 "), Some(0.5));
        assert_eq!(position("1"), Some(1.0));
        for bad in ["", "a", "1/0", "1/2/3", "inf"] {
            assert_eq!(position(bad), None, "{bad}");
        }
    }
}
