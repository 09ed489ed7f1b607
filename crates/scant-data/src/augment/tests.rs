//! The same six questions for every transform: does it change the image, is it the identity at
//! strength zero, does the label stay untouched (or follow), does nothing happen at p = 0, is what
//! happened recorded, does the same seed give the same result.

use ndarray::{Array2, Array3, Axis};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

/// One transform: always and strong, at strength zero, and strong but never.
struct Case {
    name: &'static str,
    spatial: bool,
    strong: &'static str,
    zero: &'static str,
    never: &'static str,
}

const CASES: [Case; 7] = [
    Case {
        name: "flips",
        spatial: true,
        strong: "flips = { p = 1.0 }",
        zero: "flips = { horizontal = false, vertical = false, p = 1.0 }",
        never: "flips = { p = 0.0 }",
    },
    Case {
        name: "rot90",
        spatial: true,
        strong: "rot90 = { p = 1.0 }",
        // Four quarter turns are the only turn of strength zero; see the test of `orient`.
        zero: "rot90 = { p = 0.0 }",
        never: "rot90 = { p = 0.0 }",
    },
    Case {
        name: "affine",
        spatial: true,
        strong: "affine = { rotate_deg = 30, scale = [0.7, 0.8], shift = 0.1, shear_deg = 10, p = 1.0 }",
        zero: "affine = { rotate_deg = 0, scale = [1.0, 1.0], shift = 0, shear_deg = 0, p = 1.0 }",
        never: "affine = { rotate_deg = 30, p = 0.0 }",
    },
    Case {
        name: "elastic",
        spatial: true,
        strong: "elastic = { alpha = 12.0, sigma = 8.0, p = 1.0 }",
        zero: "elastic = { alpha = 0.0, sigma = 6.0, p = 1.0 }",
        never: "elastic = { alpha = 6.0, sigma = 6.0, p = 0.0 }",
    },
    Case {
        name: "intensity",
        spatial: false,
        strong: "intensity = { brightness = 1.0, contrast = 0.5, gamma = 1.0, p = 1.0 }",
        zero: "intensity = { brightness = 0.0, contrast = 0.0, gamma = 0.0, p = 1.0 }",
        never: "intensity = { p = 0.0 }",
    },
    Case {
        name: "noise",
        spatial: false,
        strong: "noise = { sigma = [0.2, 0.4], p = 1.0 }",
        zero: "noise = { sigma = [0.0, 0.0], p = 1.0 }",
        never: "noise = { p = 0.0 }",
    },
    Case {
        name: "blur",
        spatial: false,
        strong: "blur = { sigma = [1.0, 2.0], p = 1.0 }",
        zero: "blur = { sigma = [0.0, 0.0], p = 1.0 }",
        never: "blur = { p = 0.0 }",
    },
];

fn config(text: &str) -> AugmentConfig {
    let config: AugmentConfig = toml::from_str(text).unwrap();
    config.validate().unwrap();
    config
}

/// A blob off the centre on a slope, and the blob as label.
fn pair() -> (Array3<f32>, Array2<u8>) {
    let label = Array2::from_shape_fn((48, 48), |(r, c)| {
        u8::from((r as f64 - 18.0).hypot((c as f64 - 28.0) / 1.4) < 9.0)
    });
    let image = Array3::from_shape_fn((2, 48, 48), |(k, r, c)| {
        f32::from(label[[r, c]]) + 0.002 * (r + c + k) as f32
    });
    (image, label)
}

fn run(config: &AugmentConfig, seed: u64) -> (Array3<f32>, Array2<u8>, Params) {
    let (mut image, mut label) = pair();
    let params = config.draw(&mut ChaCha8Rng::seed_from_u64(seed), label.dim());
    params.apply(&mut image, Some(&mut label));
    (image, label, params)
}

#[test]
fn each_changes_the_image() {
    for case in &CASES {
        for seed in 0..8 {
            let (image, ..) = run(&config(case.strong), seed);
            assert_ne!(image, pair().0, "{}", case.name);
            assert!(image.iter().all(|v| v.is_finite()), "{}", case.name);
        }
    }
}

#[test]
fn each_is_the_identity_at_strength_zero() {
    for case in &CASES {
        let (image, label, _) = run(&config(case.zero), 3);
        assert_eq!((image, label), pair(), "{}", case.name);
    }
}

#[test]
fn labels_follow_space_and_ignore_intensity() {
    for case in &CASES {
        let mut moved = 0;
        for seed in 0..8 {
            let (image, label, _) = run(&config(case.strong), seed);
            if !case.spatial {
                assert_eq!(label, pair().1, "{}", case.name);
                continue;
            }
            moved += usize::from(label != pair().1);
            let bright = image.index_axis(Axis(0), 0).mapv(|v| u8::from(v > 0.58));
            let wrong = bright.iter().zip(&label).filter(|(a, b)| a != b).count();
            let drawn = label.iter().filter(|&&v| v == 1).count();
            assert!(drawn > 50 && wrong * 20 < drawn, "{} {wrong} of {drawn}", case.name);
        }
        // A drawn displacement may be shorter than half a pixel.
        assert!(!case.spatial || moved >= 6, "{} moved {moved} of 8 labels", case.name);
    }
}

#[test]
fn nothing_happens_at_probability_zero() {
    for case in &CASES {
        for seed in 0..20 {
            let (image, label, params) = run(&config(case.never), seed);
            assert_eq!(params, Params::identity((48, 48)), "{}", case.name);
            assert_eq!((image, label), pair(), "{}", case.name);
        }
    }
}

#[test]
fn what_happened_is_recorded_and_can_be_replayed() {
    for case in &CASES {
        let (image, label, params) = run(&config(case.strong), 5);
        let text = serde_json::to_string(&params).unwrap();
        assert!(text.len() < 500, "{text}");
        let replayed: Params = serde_json::from_str(&text).unwrap();
        assert_eq!(replayed, params);
        let (mut again, mut ids) = pair();
        replayed.apply(&mut again, Some(&mut ids));
        assert_eq!((again, ids), (image, label), "{}", case.name);
    }
}

#[test]
fn the_same_seed_gives_the_same_and_another_gives_another() {
    for case in &CASES {
        let strong = config(case.strong);
        assert_eq!(run(&strong, 9).0, run(&strong, 9).0, "{}", case.name);
        // Strong flips always flip both ways; every other transform varies.
        if case.name != "flips" {
            let first = run(&strong, 0).0;
            assert!((1..8).any(|seed| run(&strong, seed).0 != first), "{}", case.name);
        }
    }
}

#[test]
fn images_need_no_label_and_do_not_depend_on_it() {
    let all = config("flips = {}\nrot90 = {}\naffine = {}\nelastic = {}\nnoise = {}\nblur = {}");
    for seed in 0..10 {
        let (with, _, params) = run(&all, seed);
        let mut without = pair().0;
        params.apply(&mut without, None);
        assert_eq!(with, without);
    }
}

#[test]
fn probabilities_are_kept() {
    let both = config("flips = { p = 0.3 }\nrot90 = { p = 0.75 }");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let drawn: Vec<Params> = (0..8000).map(|_| both.draw(&mut rng, (8, 8))).collect();
    let share =
        |hit: &dyn Fn(&Params) -> bool| drawn.iter().filter(|p| hit(p)).count() as f64 / 8000.0;
    assert!((share(&|p| p.flip_horizontal) - 0.3).abs() < 0.02);
    assert!((share(&|p| p.flip_horizontal && p.flip_vertical) - 0.09).abs() < 0.015);
    for turns in 0..4 {
        assert!((share(&|p| p.quarter_turns == turns) - 0.25).abs() < 0.02);
    }
}

#[test]
fn names_are_understood_and_typos_answered() {
    let named = AugmentConfig::from_names(&["flip", "rot90"]).unwrap();
    assert_eq!(named, config("flips = {}\nrot90 = {}"));
    let one = AugmentConfig::from_names(&["flip-horizontal"]).unwrap();
    assert_eq!(one, config("flips = { vertical = false }"));
    let both = AugmentConfig::from_names(&["flip-horizontal", "flip-vertical"]).unwrap();
    assert_eq!(both, config("flips = {}"));
    let error = AugmentConfig::from_names(&["flip", "elastics"]).unwrap_err().to_string();
    assert!(
        error.contains("\"elastics\"") && error.contains("did you mean \"elastic\""),
        "{error}"
    );
    assert!(AugmentConfig::from_names::<&str>(&[]).unwrap().is_empty());
}

#[test]
fn a_list_or_a_table_and_no_typos() {
    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Data {
        augment: AugmentConfig,
    }
    let read = |text: &str| toml::from_str::<Data>(text);
    let list = read("augment = [\"flip\", \"noise\"]").unwrap();
    assert_eq!(list, read("[augment]\nflips = {}\nnoise = {}").unwrap());
    assert_eq!(read(&toml::to_string(&list).unwrap()).unwrap(), list);
    let json = serde_json::to_string(&list).unwrap();
    assert_eq!(serde_json::from_str::<Data>(&json).unwrap(), list);
    assert!(read("augment = [\"flop\"]").unwrap_err().to_string().contains("\"flip\""));
    assert!(read("augment = { flip = {} }").unwrap_err().to_string().contains("flips"));
    assert!(read("augment = { noise = { sgima = [0, 1] } }").is_err());
    assert!(read("augment = 3").unwrap_err().to_string().contains("list of augmentation names"));
}

#[test]
fn numbers_out_of_range_are_named() {
    for (text, field) in [
        ("flips = { p = 1.5 }", "flips.p = 1.5"),
        ("rot90 = { p = nan }", "rot90.p = NaN"),
        ("affine = { scale = [1.2, 0.8] }", "affine.scale = [1.2, 0.8]"),
        ("affine = { scale = [0.0, 1.0] }", "affine.scale"),
        ("affine = { rotate_deg = -5 }", "affine.rotate_deg = -5"),
        ("elastic = { sigma = 0.0 }", "elastic.sigma"),
        ("intensity = { contrast = 2.0 }", "intensity.contrast = 2"),
        ("noise = { sigma = [-0.1, 0.1] }", "noise.sigma"),
        ("blur = { sigma = [0.0, inf] }", "blur.sigma"),
    ] {
        let config: AugmentConfig = toml::from_str(text).unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

proptest! {
    #[test]
    fn shapes_and_classes_survive_everything(
        rows in 1_usize..40, columns in 1_usize..40, seed in any::<u64>(),
    ) {
        let all = config(
            "flips = {}\nrot90 = {}\naffine = { p = 1.0 }\nelastic = { p = 1.0 }\n\
             intensity = { p = 1.0 }\nnoise = { p = 1.0 }\nblur = { p = 1.0 }",
        );
        let params = all.draw(&mut ChaCha8Rng::seed_from_u64(seed), (rows, columns));
        prop_assert!(rows == columns || params.quarter_turns.is_multiple_of(2));
        let mut image = Array3::from_shape_fn((1, rows, columns), |(_, r, c)| (r * c) as f32);
        let mut label = Array2::from_shape_fn((rows, columns), |(r, c)| [0, 2, 5][(r + c) % 3]);
        params.apply(&mut image, Some(&mut label));
        prop_assert_eq!(image.dim(), (1, rows, columns));
        prop_assert_eq!(label.dim(), (rows, columns));
        prop_assert!(label.iter().all(|id| [0, 2, 5].contains(id)));
        prop_assert!(image.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn orientations_are_undone_by_their_inverse(
        horizontal in any::<bool>(), vertical in any::<bool>(), turns in 0_u8..4,
    ) {
        let shape = (48, 48);
        let (mut image, mut label) = pair();
        let there = Params {
            flip_horizontal: horizontal,
            flip_vertical: vertical,
            quarter_turns: turns,
            ..Params::identity(shape)
        };
        let unturn = Params { quarter_turns: (4 - turns) % 4, ..Params::identity(shape) };
        let unflip = Params { quarter_turns: 0, ..there.clone() };
        for params in [there, unturn, unflip] {
            params.apply(&mut image, Some(&mut label));
        }
        prop_assert_eq!((image, label), pair());
    }
}
