use scant_data::stream::Roles;

use super::*;

const SMALL: &str = r#"
[model]
name = "unet"
[[phase]]
name = "warm-up"
epochs = 3
[[phase]]
name = "discrepancy"
epochs = 2
loss = { dice = 1.0, bce = 1.0, feature_discrepancy = { form = "region-mean" } }
"#;

#[test]
fn what_is_left_out_is_filled_in_and_survives_a_round_trip() {
    let recipe = Recipe::parse(SMALL, &[]).unwrap();
    assert_eq!(recipe.phase[0].loss, PhaseLoss::default());
    let fd = recipe.phase[1].loss.feature_discrepancy.as_ref().unwrap();
    assert!(fd.alpha.is_some() && fd.squared.is_some(), "resolved: {fd:?}");
    assert_eq!(Recipe::parse(&recipe.to_toml(), &[]).unwrap(), recipe);
}

#[test]
fn a_mistyped_key_names_the_nearest_one() {
    let text = SMALL.replace("epochs = 3", "epoch = 3");
    let message = Recipe::parse(&text, &[]).unwrap_err().to_string();
    assert!(message.contains("epoch") && message.contains("did you mean `epochs`"), "{message}");
    let message = Recipe::parse(&format!("{SMALL}\n[optim]\nlearning = 1\nlr = 1"), &[]);
    assert!(message.unwrap_err().to_string().contains("unknown field `learning`"));
    let message = Recipe::parse(&SMALL.replace("\"unet\"", "\"unett\""), &[]).unwrap_err();
    assert!(message.to_string().contains("did you mean \"unet\""), "{message}");
}

#[test]
fn the_precision_is_one_of_two() {
    assert_eq!(Recipe::parse(SMALL, &[]).unwrap().precision, PrecisionName::Fp32);
    let recipe = Recipe::parse(SMALL, &["precision=bf16".to_owned()]).unwrap();
    assert_eq!(recipe.precision, PrecisionName::Bf16);
    assert_eq!(Recipe::parse(&recipe.to_toml(), &[]).unwrap(), recipe);
    assert!(recipe.check_device(&Device::flex()).is_ok());
    let message = Recipe::parse(&format!("precision = \"bf17\"\n{SMALL}"), &[]).unwrap_err();
    let message = message.to_string();
    for says in ["line 1", "unknown variant `bf17`", "`fp32` or `bf16`", "did you mean `bf16`"] {
        assert!(message.contains(says), "no {says} in {message}");
    }
}

#[test]
fn overrides_reach_phases_by_name_and_position() {
    let set: Vec<String> =
        ["phase.warm-up.epochs=7", "phase.1.epochs=9", "optim.lr=1e-4", "data.size=[64, 96]"]
            .map(String::from)
            .to_vec();
    let recipe = Recipe::parse(SMALL, &set).unwrap();
    assert_eq!((recipe.phase[0].epochs, recipe.phase[1].epochs), (7, 9));
    assert_eq!(recipe.optim.lr, 1e-4);
    assert_eq!(recipe.data.size, Some([64, 96]));
    let set = ["optim.name=sgd".to_owned()];
    assert_eq!(Recipe::parse(SMALL, &set).unwrap().optim.name, OptimizerName::Sgd);

    for (bad, says) in [
        ("nonsense", "key=value"),
        ("phase.third.epochs=1", "no phase called \"third\""),
        ("optim.lr.x=1", "unknown"),
        ("optim.rate=1", "unknown field `rate`"),
    ] {
        let message = Recipe::parse(SMALL, &[bad.to_owned()]).unwrap_err().to_string();
        assert!(message.contains(says) || bad.contains("lr.x"), "{bad}: {message}");
    }
}

#[test]
fn impossible_values_are_named_with_their_range() {
    for (set, says) in [
        ("optim.lr=0", "optim.lr"),
        ("split.test=0.95", "below 1"),
        ("split.folds=1", "at least 2"),
        ("data.batch=0", "data.batch"),
        ("data.channels=2", "1 (grey) or 3"),
        ("ema={ decay = 1.0 }", "ema.decay"),
        ("phase.warm-up.loss={ dice = 0.0 }", "weight is 0"),
        ("phase.0.epochs=0", "phase.0.epochs"),
        ("data.novel_fraction=1.1", "data.novel_fraction = 1.1"),
        ("data.novel_fraction=nan", "from 0 to 1"),
        ("data.novel_per_batch=4", "below data.batch = 4"),
        ("phase.1.novel_per_batch=9", "phase.1.novel_per_batch = 9"),
        ("data.noise_sigma=1.5", "data.noise_sigma = 1.5"),
        ("data.harmonise={ method = \"macenco\" }", "did you mean `macenko`"),
        ("data.train_on=novell", "did you mean `novel`"),
    ] {
        let message = Recipe::parse(SMALL, &[set.to_owned()]).unwrap_err().to_string();
        assert!(message.contains(says), "{set}: {message}");
    }
}

#[test]
fn a_phase_overrides_what_is_drawn() {
    let set = |more: &[&str]| {
        let set: Vec<String> = more.iter().map(|s| (*s).to_owned()).collect();
        Recipe::parse(SMALL, &set)
    };
    let recipe = set(&["data.train_on=base", "phase.1.train_on=novel", "seed=5"]).unwrap();
    let of = |i: usize| recipe.supply(i);
    assert_eq!(of(0).selection.train_on, Roles::Base);
    assert_eq!(of(1).selection.train_on, Roles::Novel);
    assert_eq!((of(0).selection.seed, of(0).novel_per_batch), (5, 0));
    assert_eq!(Recipe::parse(&recipe.to_toml(), &[]).unwrap(), recipe);
    let recipe = set(&["split.seed=7", "seed=5", "phase.1.novel_per_batch=2"]).unwrap();
    assert_eq!((recipe.supply(0).selection.seed, recipe.supply(0).novel_per_batch), (7, 0));
    assert_eq!(recipe.supply(1).novel_per_batch, 2);

    let one_role = ["data.novel_per_batch=1", "phase.0.train_on=base"];
    let message = set(&one_role).unwrap_err().to_string();
    assert!(
        message.contains("data.novel_per_batch = 1")
            && message.contains("phase.0.train_on = \"base\" leaves one role"),
        "{message}"
    );
    assert!(set(&[&one_role[..], &["phase.0.novel_per_batch=0"]].concat()).is_ok());
    let message = set(&["data.novel_per_batch=1", "data.balance_sources=true"]).unwrap_err();
    assert!(message.to_string().contains("choose one"), "{message}");
}

#[test]
fn what_asks_for_nothing_is_not_written_and_colours_need_three_channels() {
    let text = Recipe::parse(SMALL, &[]).unwrap().to_toml();
    for key in
        ["train_on", "validate_on", "novel_fraction", "novel_per_batch", "noise_sigma", "harmonise"]
    {
        assert!(!text.contains(key), "{text}");
    }
    let set =
        |more: &str| Recipe::parse(SMALL, &[more.to_owned(), "data.noise_sigma=0.1".to_owned()]);
    let recipe = set("data.harmonise={ method = \"vahadane\" }").unwrap();
    assert_eq!(Recipe::parse(&recipe.to_toml(), &[]).unwrap(), recipe);
    let grey = Recipe::parse(&recipe.to_toml(), &["data.channels=1".to_owned()]).unwrap_err();
    assert!(grey.to_string().contains("data.harmonise.method = \"vahadane\""), "{grey}");
    let both = ["data.channels=1".to_owned(), "data.harmonise.method=histogram".to_owned()];
    assert!(Recipe::parse(&recipe.to_toml(), &both).is_ok());
}
