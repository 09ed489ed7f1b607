//! What the finished runs came to: the record of the study and its tables.

use std::fmt::Write as _;

use scant_core::{CaseRecord, RunRecord, StudyAxis, StudyRecord, StudyRun, StudyStatus};
use scant_metrics::stats::mean;
use scant_metrics::{Metric, case_score};
use scant_train::study::{Point, StudyFile};

use super::folder::StudyFolder;
use super::plan::StudyPlan;
use crate::exit::Result;

/// Share of the cases of a run that are its worst-off.
const WORST: f64 = 0.25;
/// What is written per case, and its mean per run.
const METRICS: [Metric; 3] = [Metric::Dice, Metric::Iou, Metric::Hd95];

/// The numbers of one finished run.
struct RunNumbers {
    /// Every test case.
    cases: Vec<CaseNumbers>,
    secs: f64,
    peak_mib: Option<f64>,
    /// Mean over taps at the end of the last phase; nothing where there are none.
    alpha: Option<f64>,
}

/// The numbers of one case.
struct CaseNumbers {
    source: String,
    group: String,
    case: String,
    judged: bool,
    /// As [`METRICS`]; nothing where the metric is not defined or not finite.
    values: [Option<f64>; 3],
}

enum Outcome {
    Waiting,
    Finished(Box<RunNumbers>),
    Failed(String),
}

/// Outcomes of all runs of a study.
pub(crate) struct Results<'a> {
    file: &'a StudyFile,
    plan: &'a StudyPlan,
    outcomes: Vec<Outcome>,
}

impl<'a> Results<'a> {
    pub(crate) fn new(file: &'a StudyFile, plan: &'a StudyPlan) -> Self {
        Self { file, plan, outcomes: plan.runs.iter().map(|_| Outcome::Waiting).collect() }
    }

    pub(crate) fn finish(&mut self, run: usize, record: &RunRecord) {
        let number = |case: &CaseRecord, metric| case_score(case, metric).filter(|v| v.is_finite());
        let test = record.evaluations.iter().filter(|e| e.part == "test");
        let cases = test.flat_map(|e| &e.cases).map(|case| CaseNumbers {
            source: case.id.source.clone(),
            group: case.id.group.clone(),
            case: case.id.stem.clone(),
            judged: self.plan.judged.has(&case.id),
            values: METRICS.map(|metric| number(case, metric)),
        });
        let last = record.phases.last().and_then(|p| p.epochs.last());
        let alphas: Vec<f64> =
            last.map(|e| e.alpha.values().copied().collect()).unwrap_or_default();
        let numbers = RunNumbers {
            cases: cases.collect(),
            secs: record.timing.train_secs,
            peak_mib: record.timing.peak_memory_mib,
            alpha: mean(&alphas),
        };
        self.outcomes[run] = Outcome::Finished(Box::new(numbers));
    }

    pub(crate) fn fail(&mut self, run: usize, why: &str) {
        self.outcomes[run] = Outcome::Failed(why.to_owned());
    }

    pub(crate) fn any_waiting(&self) -> bool {
        self.outcomes.iter().any(|o| matches!(o, Outcome::Waiting))
    }

    /// Failed runs and why.
    pub(crate) fn failed(&self) -> Vec<(&str, &str)> {
        self.plan
            .runs
            .iter()
            .zip(&self.outcomes)
            .filter_map(|(run, outcome)| match outcome {
                Outcome::Failed(why) => Some((run.folder.as_str(), why.as_str())),
                _ => None,
            })
            .collect()
    }

    /// One run in a few words.
    pub(crate) fn line(&self, run: usize) -> String {
        match &self.outcomes[run] {
            Outcome::Waiting => "not finished".into(),
            Outcome::Failed(why) => format!("failed: {why}"),
            Outcome::Finished(numbers) => match mean(&numbers.judged(0)) {
                Some(dice) => format!("Dice {dice:.4}"),
                None => "no Dice".into(),
            },
        }
    }

    /// Writes `study.json`, `results.csv` and `cases.csv`.
    pub(crate) fn write(&self, folder: &StudyFolder) -> Result {
        folder.write_record(&self.record())?;
        folder.write("results.csv", &self.runs_csv())?;
        folder.write("cases.csv", &self.cases_csv())
    }

    fn record(&self) -> StudyRecord {
        let f = self.file;
        let axes = f.axis.iter().map(|a| StudyAxis {
            name: a.name.clone(),
            values: a.values.iter().map(scant_train::study::Value::label).collect(),
        });
        let mut runs = Vec::new();
        for (run, outcome) in self.plan.runs.iter().zip(&self.outcomes) {
            let status = match outcome {
                Outcome::Waiting => StudyStatus::Waiting,
                Outcome::Finished(_) => StudyStatus::Finished,
                Outcome::Failed(why) => StudyStatus::Failed { why: why.clone() },
            };
            runs.extend(run.points.iter().map(|point| StudyRun {
                folder: run.folder.clone(),
                method: run.method.clone(),
                at: point.at.clone(),
                seed: run.seed,
                status: status.clone(),
            }));
        }
        StudyRecord {
            schema: StudyRecord::SCHEMA,
            scant_version: env!("CARGO_PKG_VERSION").into(),
            name: f.name.clone(),
            purpose: f.purpose.clone(),
            judge: f.judge.clone(),
            reference: f.reference.clone(),
            methods: f.methods.iter().map(|m| m.name.clone()).collect(),
            axes: axes.collect(),
            runs,
        }
    }

    /// Finished runs at each of their points.
    fn finished(&self) -> impl Iterator<Item = (&'a str, u64, &'a Point, &RunNumbers)> {
        self.plan.runs.iter().zip(&self.outcomes).flat_map(|(run, outcome)| {
            let numbers = match outcome {
                Outcome::Finished(numbers) => Some(&**numbers),
                _ => None,
            };
            numbers.into_iter().flat_map(move |n| {
                run.points.iter().map(move |p| (run.method.as_str(), run.seed, p, n))
            })
        })
    }

    fn axis_columns(&self) -> String {
        self.file.axis.iter().map(|a| format!("{},", field(&a.name))).collect()
    }

    fn place(&self, method: &str, point: &Point, seed: u64) -> String {
        let at = |name: &str| point.at.get(name).map_or("", String::as_str);
        let labels: String =
            self.file.axis.iter().map(|a| format!("{},", field(at(&a.name)))).collect();
        format!("{},{labels}{seed}", field(method))
    }

    fn runs_csv(&self) -> String {
        let mut out = format!(
            "method,{}seed,cases,dice,iou,hd95,hd95_undefined,worst_quarter_dice,train_seconds,\
             peak_memory_mib,mean_alpha\n",
            self.axis_columns()
        );
        for (method, seed, point, numbers) in self.finished() {
            let judged = numbers.cases.iter().filter(|c| c.judged).count();
            let dice = numbers.judged(0);
            let hd95 = numbers.judged(2);
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{},{judged},{},{},{},{},{},{:.2},{},{}",
                self.place(method, point, seed),
                number(mean(&dice)),
                number(mean(&numbers.judged(1))),
                number(mean(&hd95)),
                judged - hd95.len(),
                number(worst_quarter(&dice)),
                numbers.secs,
                numbers.peak_mib.map_or(String::new(), |m| format!("{m:.0}")),
                number(numbers.alpha),
            );
        }
        out
    }

    fn cases_csv(&self) -> String {
        let mut out =
            format!("method,{}seed,source,group,case,judged,dice,iou,hd95\n", self.axis_columns());
        for (method, seed, point, numbers) in self.finished() {
            let place = self.place(method, point, seed);
            for case in &numbers.cases {
                let [dice, iou, hd95] = case.values.map(number);
                let _ = writeln!(
                    out,
                    "{place},{},{},{},{},{dice},{iou},{hd95}",
                    field(&case.source),
                    field(&case.group),
                    field(&case.case),
                    case.judged
                );
            }
        }
        out
    }
}

impl RunNumbers {
    /// The values of one metric on judged cases, where it is defined.
    fn judged(&self, metric: usize) -> Vec<f64> {
        self.cases.iter().filter(|c| c.judged).filter_map(|c| c.values[metric]).collect()
    }
}

/// Mean of the lowest quarter, rounded up.
fn worst_quarter(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.truncate((values.len() as f64 * WORST).ceil() as usize);
    mean(&sorted)
}

fn number(value: Option<f64>) -> String {
    value.map_or(String::new(), |v| format!("{v:.6}"))
}

/// A field of a CSV file, quoted where it has to be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_quarter_is_rounded_up() {
        assert_eq!(worst_quarter(&[0.9, 0.1, 0.5, 0.4, 0.8]), Some(0.25));
        assert_eq!(worst_quarter(&[0.7]), Some(0.7));
        assert_eq!(worst_quarter(&[]), None);
    }

    #[test]
    fn fields_are_quoted_where_they_have_to_be() {
        assert_eq!(field("enc1+dec1"), "enc1+dec1");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
