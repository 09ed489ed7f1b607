//! From intervals to a plain word.

use scant_metrics::stats::Interval;
use serde::Serialize;

/// Adding a source plainly: nothing but pooling.
const PLAIN: &str = "plain";

/// A method at a fraction against the base alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Effect {
    pub(crate) method: String,
    pub(crate) fraction: String,
    /// Seeds in which both finished.
    pub(crate) seeds: usize,
    /// Mean paired difference in Dice.
    pub(crate) difference: Option<f64>,
    /// Holds together with all others; absent where there is too little to say.
    pub(crate) interval: Option<Interval>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub(crate) enum Verdict {
    /// It helps, added this way.
    Add {
        /// The way whose gain is surest.
        method: String,
        /// The share of it to add.
        fraction: String,
        /// Whether plain pooling has been shown to help as well.
        plainly: bool,
    },
    /// It harms in some way and helps in none by more than the margin.
    LeaveOut,
    /// Whichever way, it neither helps nor harms by more than the margin.
    NoDifference,
    /// The intervals are too wide.
    CannotTell {
        /// Ways that have been shown to harm all the same.
        harmful: Vec<String>,
    },
}

/// The answer to intervals that hold together, so that choosing among them needs no further correction.
pub(crate) fn judge(effects: &[Effect], margin: f64) -> Verdict {
    let known = || effects.iter().filter_map(|e| Some((e, e.interval?)));
    let helpful = || known().filter(|(_, i)| i.low > 0.0);
    let surest = helpful().max_by(|a, b| a.1.low.total_cmp(&b.1.low));
    if let Some((best, _)) = surest {
        return Verdict::Add {
            method: best.method.clone(),
            fraction: best.fraction.clone(),
            plainly: helpful().any(|(e, _)| e.method == PLAIN),
        };
    }
    let complete = !effects.is_empty() && effects.iter().all(|e| e.interval.is_some());
    let harmful: Vec<String> = known()
        .filter(|(_, i)| i.high < 0.0)
        .map(|(e, _)| format!("{} at {}", e.method, e.fraction))
        .collect();
    if complete && !harmful.is_empty() && known().all(|(_, i)| i.high < margin) {
        return Verdict::LeaveOut;
    }
    if complete && known().all(|(_, i)| i.low > -margin && i.high < margin) {
        return Verdict::NoDifference;
    }
    Verdict::CannotTell { harmful }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(method: &str, interval: Option<(f64, f64)>) -> Effect {
        Effect {
            method: method.into(),
            fraction: "1".into(),
            seeds: 5,
            difference: interval.map(|(low, high)| (low + high) / 2.0),
            interval: interval.map(|(low, high)| Interval { low, high }),
        }
    }

    fn of(effects: &[(&str, f64, f64)]) -> Verdict {
        let effects: Vec<Effect> =
            effects.iter().map(|(m, low, high)| effect(m, Some((*low, *high)))).collect();
        judge(&effects, 0.01)
    }

    #[test]
    fn what_is_shown_to_help_is_added_the_surest_way() {
        let add = |method: &str, plainly| Verdict::Add {
            method: method.into(),
            fraction: "1".into(),
            plainly,
        };
        assert_eq!(of(&[("plain", 0.001, 0.03), ("fd-exch", -0.01, 0.2)]), add("plain", true));
        assert_eq!(of(&[("plain", 0.001, 0.03), ("fd-exch", 0.002, 0.02)]), add("fd-exch", true));
        assert_eq!(of(&[("plain", -0.05, -0.01), ("fd-exch", 0.002, 0.02)]), add("fd-exch", false));
    }

    #[test]
    fn what_harms_and_never_helps_is_left_out() {
        assert_eq!(of(&[("plain", -0.05, -0.01), ("fd-exch", -0.03, 0.005)]), Verdict::LeaveOut);
        // The other way may still help.
        let harmful = vec!["plain at 1".to_owned()];
        let got = of(&[("plain", -0.05, -0.01), ("fd-exch", -0.03, 0.02)]);
        assert_eq!(got, Verdict::CannotTell { harmful });
    }

    #[test]
    fn narrow_about_nothing_is_no_difference_and_wide_is_no_answer() {
        assert_eq!(of(&[("plain", -0.008, 0.009), ("fd", -0.002, 0.003)]), Verdict::NoDifference);
        // However little, it is shown to harm.
        assert_eq!(of(&[("plain", -0.008, -0.001)]), Verdict::LeaveOut);
        let unknown = Verdict::CannotTell { harmful: Vec::new() };
        assert_eq!(of(&[("plain", -0.008, 0.011)]), unknown);
        assert_eq!(of(&[]), unknown);
        let partly = [effect("plain", Some((-0.001, 0.001))), effect("fd", None)];
        assert_eq!(judge(&partly, 0.01), unknown, "one of them is not known");
    }
}
