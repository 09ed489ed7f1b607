use proptest::prelude::*;

use super::*;

/// A step with this discrepancy.
fn saw(discrepancy: f64) -> AlphaSeen {
    AlphaSeen { discrepancy: Some(discrepancy), pull: None }
}

const AT: AlphaProgress = AlphaProgress { step: 0, epoch: 0, epochs: 75 };

fn after(rule: AlphaRule, steps: usize, discrepancy: f64) -> AlphaState {
    (0..steps).fold(rule.start(), |state, _| rule.next(state, saw(discrepancy), AT))
}

#[test]
fn descent_rises_on_negative_values_by_about_lr_per_step() {
    let state = after(AlphaRule::DESCENT_CLIP, 3_400, -0.8);
    assert!((state.alpha - 0.34).abs() < 1e-6, "{}", state.alpha);
    assert_eq!(state.updates, 3_400);
    assert_eq!(after(AlphaRule::DESCENT_CLIP, 11_000, -0.8).alpha, 1.0);
}

#[test]
fn descent_stays_at_zero_on_positive_values() {
    for adam in [true, false] {
        let rule = AlphaRule::DescentClip { lr: 1e-2, max: 1.0, adam };
        assert_eq!(after(rule, 500, 1.9).alpha, 0.0);
    }
}

#[test]
fn plain_descent_moves_by_lr_times_the_value() {
    let rule = AlphaRule::DescentClip { lr: 0.1, max: 1.0, adam: false };
    let first = rule.next(rule.start(), saw(-2.0), AT);
    assert!((first.alpha - 0.2).abs() < 1e-15);
    let back = rule.next(first, saw(0.5), AT);
    assert!((back.alpha - 0.15).abs() < 1e-15);
    assert_eq!(rule.next(first, saw(-100.0), AT).alpha, 1.0);
}

#[test]
fn adam_follows_its_published_update() {
    // Kingma & Ba, algorithm 1, written out for gradients -1, 3 with lr 0.1.
    let rule = AlphaRule::DescentClip { lr: 0.1, max: 1.0, adam: true };
    let one = rule.next(rule.start(), saw(-1.0), AT);
    assert!((one.alpha - 0.1).abs() < 1e-8);
    let two = rule.next(one, saw(3.0), AT);
    let (m, v) = (0.9 * -0.1 + 0.1 * 3.0, 0.999 * 0.001 + 0.001 * 9.0);
    let expected =
        one.alpha - 0.1 * (m / (1.0 - 0.81)) / ((v / (1.0 - 0.999_f64 * 0.999)).sqrt() + 1e-8);
    assert!((two.alpha - expected).abs() < 1e-12);
    assert!((two.first_moment - m).abs() < 1e-15 && (two.second_moment - v).abs() < 1e-15);
}

#[test]
fn ascent_rises_while_positive_and_never_falls() {
    let rule = AlphaRule::Ascent { lr: 0.1, max: 0.5 };
    let up = rule.next(rule.start(), saw(2.0), AT);
    assert!((up.alpha - 0.2).abs() < 1e-15);
    assert_eq!(rule.next(up, saw(-5.0), AT).alpha, up.alpha);
    assert_eq!(after(rule, 50, 2.0).alpha, 0.5);
    assert_eq!(after(rule, 50, -2.0).alpha, 0.0);
}

#[test]
fn schedule_ramps_by_epoch_whatever_the_value() {
    let rule = AlphaRule::Schedule { max: 0.4, ramp_epochs: 4.0 };
    let at = |epoch: usize, l: Option<f64>| {
        let seen = AlphaSeen { discrepancy: l, pull: None };
        rule.next(rule.start(), seen, AlphaProgress { epoch, ..AT }).alpha
    };
    assert_eq!([0, 1, 2, 4, 60].map(|e| at(e, Some(7.0))), [0.0, 0.1, 0.2, 0.4, 0.4]);
    assert_eq!(at(2, None), 0.2);
    let at_once = AlphaRule::Schedule { max: 0.4, ramp_epochs: 0.0 };
    assert_eq!(at_once.start().alpha, 0.4);
}

#[test]
fn uncertainty_settles_at_one_over_the_value() {
    let rule = AlphaRule::Uncertainty { lr: 0.05, initial: 0.01, max: 10.0 };
    assert!((rule.start().alpha - 0.01).abs() < 1e-15);
    assert!((after(rule, 2_000, 4.0).alpha - 0.25).abs() < 1e-6);
    assert_eq!(after(rule, 2_000, -1.0).alpha, 10.0);
    // A monstrous value is survived.
    let low = rule.next(AlphaState { alpha: 5.0, ..AlphaState::default() }, saw(1e9), AT);
    assert!(low.alpha > 0.0);
    assert!(rule.next(low, saw(0.1), AT).alpha > low.alpha);
}

#[test]
fn fixed_is_fixed_from_the_start() {
    let rule = AlphaRule::Fixed { value: 0.3 };
    assert_eq!(after(rule, 0, 1.0).alpha, 0.3);
    assert_eq!(after(rule, 9, -4.0).alpha, 0.3);
}

#[test]
fn a_target_pulls_from_both_sides() {
    let rule = AlphaRule::Target { lr: 0.1, target: 0.5, max: 0.4 };
    let up = rule.next(rule.start(), saw(2.5), AT);
    assert!((up.alpha - 0.2).abs() < 1e-15);
    let down = rule.next(up, saw(-0.5), AT);
    assert!((down.alpha - 0.1).abs() < 1e-15);
    assert_eq!(after(rule, 50, 0.4).alpha, 0.0);
    assert_eq!(after(rule, 50, 9.0).alpha, 0.4);
}

#[test]
fn balance_finds_the_share_and_follows_slowly() {
    let rule = AlphaRule::Balanced { share: 0.2, initial: 1e-3, max: 1.0 };
    // The gradient of the discrepancy is 40 times that of the rest, per unit of alpha.
    let pull = |state: AlphaState, unit: f64| AlphaSeen {
        discrepancy: Some(-3.0),
        pull: Some(unit * state.alpha),
    };
    let first = rule.next(rule.start(), pull(rule.start(), 40.0), AT);
    assert!((first.alpha - 0.005).abs() < 1e-12, "{first:?}");
    // The rest shrinks to a quarter: a tenth of the way on the scale of factors.
    let second = rule.next(first, pull(first, 160.0), AT);
    assert!((second.alpha - 0.005 * 0.25_f64.powf(0.1)).abs() < 1e-12, "{second:?}");
    let settled = (0..200).fold(second, |s, _| rule.next(s, pull(s, 160.0), AT));
    assert!((settled.alpha - 0.00125).abs() < 1e-9, "{settled:?}");
    assert_eq!(rule.next(first, saw(1.0), AT), first, "not measured");
    // Next to nothing to compare with: bounded.
    assert_eq!(rule.next(rule.start(), pull(rule.start(), 1e-9), AT).alpha, 1.0);
}

#[test]
fn a_broken_or_missing_value_leaves_the_state_alone() {
    for name in AlphaRule::NAMES {
        let rule = AlphaRule::named(name).unwrap();
        let state = after(rule, 5, 0.7);
        for value in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            let seen = AlphaSeen { discrepancy: value, pull: value };
            assert_eq!(rule.next(state, seen, AT), state, "{name}");
        }
    }
}

#[test]
fn a_rule_is_a_name_or_a_table() {
    let read = |text: &str| serde_json::from_str::<AlphaRule>(text);
    assert_eq!(read("\"ascent\"").unwrap(), AlphaRule::ASCENT);
    let table = r#"{"rule": "ascent", "max": 0.25}"#;
    assert_eq!(read(table).unwrap(), AlphaRule::Ascent { lr: 1e-3, max: 0.25 });
    for name in AlphaRule::NAMES {
        let rule = AlphaRule::named(name).unwrap();
        let text = serde_json::to_string(&rule).unwrap();
        assert!(text.contains(&format!("\"rule\":\"{name}\"")), "{text}");
        assert_eq!(read(&text).unwrap(), rule);
    }
}

#[test]
fn a_wrong_rule_says_what_is_known() {
    let error = |text: &str| serde_json::from_str::<AlphaRule>(text).unwrap_err().to_string();
    assert!(error("\"descend\"").contains("descent-clip"));
    assert!(error(r#"{"rule": "up"}"#).contains("unknown alpha rule `up`, expected descent-clip"));
    assert!(error(r#"{"rule": "fixed", "lr": 1}"#).contains("alpha rule `fixed` has no `lr`"));
    assert!(error(r#"{"rule": "fixed", "speed": 1}"#).contains("unknown field `speed`"));
    assert!(error("3").contains("the name of an alpha rule (descent-clip, ascent"));
}

#[test]
fn state_survives_a_checkpoint() {
    let state = after(AlphaRule::DESCENT_CLIP, 7, -0.37);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<AlphaState>(&text).unwrap(), state);
}

proptest! {
    #[test]
    fn alpha_stays_between_zero_and_its_bound(
        values in proptest::collection::vec(-1e3_f64..1e3, 1..60), rule in 0_usize..7,
    ) {
        let rule = AlphaRule::named(AlphaRule::NAMES[rule]).unwrap();
        let mut state = rule.start();
        for (i, l) in values.into_iter().enumerate() {
            let seen = AlphaSeen { discrepancy: Some(l), pull: Some(l.abs()) };
            state = rule.next(state, seen, AlphaProgress { epoch: i, ..AT });
            prop_assert!((0.0..=1.0).contains(&state.alpha), "{:?} {:?}", rule, state);
        }
    }
}
