//! NaN and infinity in a training table, which JSON can only spell as `null`.

use std::collections::BTreeMap;

use scant_core::{EpochRecord, RunRecord};
use serde_json::Value;

/// Plain numbers of an epoch.
const SCALARS: [&str; 3] = ["lr", "grad_norm", "seconds"];
/// Maps from a name to a number of an epoch.
const MAPS: [&str; 4] = ["loss", "alpha", "discrepancy", "val_dice_by_source"];

/// Where a record said `null` in place of a number.
#[derive(Debug, Default)]
pub(crate) struct NonFinite {
    scalars: Vec<(usize, usize, &'static str)>,
    entries: Vec<(usize, usize, &'static str, String)>,
    cases: Vec<(usize, usize, String)>,
    timing: Vec<&'static str>,
}

impl NonFinite {
    /// Replaces every such `null` by zero and remembers where it stood.
    pub(crate) fn take(record: &mut Value) -> Self {
        let mut found = Self::default();
        for (p, phase) in items(record, "phases") {
            for (e, epoch) in items(phase, "epochs") {
                for name in SCALARS {
                    if zero_if_null(epoch.get_mut(name)) {
                        found.scalars.push((p, e, name));
                    }
                }
                for map in MAPS {
                    for name in zero_nulls(epoch.get_mut(map)) {
                        found.entries.push((p, e, map, name));
                    }
                }
            }
        }
        for (v, evaluation) in items(record, "evaluations") {
            for (c, case) in items(evaluation, "cases") {
                for name in zero_nulls(case.get_mut("discrepancy")) {
                    found.cases.push((v, c, name));
                }
            }
        }
        for name in ["train_secs", "evaluate_secs", "data_wait_secs"] {
            if zero_if_null(record.get_mut("timing").and_then(|t| t.get_mut(name))) {
                found.timing.push(name);
            }
        }
        found
    }

    /// Writes NaN to every remembered place.
    pub(crate) fn put_back(&self, record: &mut RunRecord) {
        for &(p, e, name) in &self.scalars {
            let epoch = &mut record.phases[p].epochs[e];
            match name {
                "lr" => epoch.lr = f64::NAN,
                "grad_norm" => epoch.grad_norm = f64::NAN,
                _ => epoch.seconds = f64::NAN,
            }
        }
        for (p, e, map, name) in &self.entries {
            map_mut(&mut record.phases[*p].epochs[*e], map).insert(name.clone(), f64::NAN);
        }
        for (v, c, name) in &self.cases {
            record.evaluations[*v].cases[*c].discrepancy.insert(name.clone(), f64::NAN);
        }
        for name in &self.timing {
            match *name {
                "train_secs" => record.timing.train_secs = f64::NAN,
                "evaluate_secs" => record.timing.evaluate_secs = f64::NAN,
                _ => record.timing.data_wait_secs = f64::NAN,
            }
        }
    }

    /// One sentence per quantity of the training table that was not finite, and where it began.
    pub(crate) fn notes(&self, record: &RunRecord) -> Vec<String> {
        let mut first: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
        let mut see = |what: String, p: usize, e: usize| {
            first.entry(what).or_insert((p, e, 0)).2 += 1;
        };
        for &(p, e, name) in &self.scalars {
            see(name.to_string(), p, e);
        }
        for (p, e, map, name) in &self.entries {
            see(format!("{map} \"{name}\""), *p, *e);
        }
        let mut notes: Vec<String> = first
            .into_iter()
            .map(|(what, (p, e, times))| {
                let phase = &record.phases[p];
                format!(
                    "{what} was not a finite number in {times} epoch(s), first in epoch {} of \
                     phase \"{}\"; the curves have gaps there",
                    phase.epochs[e].epoch, phase.name
                )
            })
            .collect();
        if !self.cases.is_empty() {
            notes.push(format!(
                "{} per-case discrepancy value(s) were not finite and are left out of the plots",
                self.cases.len()
            ));
        }
        notes
    }
}

fn map_mut<'a>(epoch: &'a mut EpochRecord, map: &str) -> &'a mut BTreeMap<String, f64> {
    match map {
        "loss" => &mut epoch.loss,
        "alpha" => &mut epoch.alpha,
        "discrepancy" => &mut epoch.discrepancy,
        _ => &mut epoch.val_dice_by_source,
    }
}

fn items<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = (usize, &'a mut Value)> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().enumerate()
}

fn zero_if_null(value: Option<&mut Value>) -> bool {
    match value {
        Some(v) if v.is_null() => {
            *v = Value::from(0.0);
            true
        }
        _ => false,
    }
}

fn zero_nulls(value: Option<&mut Value>) -> Vec<String> {
    let Some(map) = value.and_then(Value::as_object_mut) else { return Vec::new() };
    let mut names = Vec::new();
    for (name, v) in map {
        if zero_if_null(Some(v)) {
            names.push(name.clone());
        }
    }
    names
}
