use burn::tensor::{Device, Int, TensorData};
use proptest::prelude::*;

use super::*;
use crate::loss::slow_formulas::{assert_close, central_differences, value_and_gradient};

const SMOOTH: f64 = 1e-6;
const ONLY: SegmentationLossConfig = SegmentationLossConfig {
    dice: 0.0,
    bce: 0.0,
    ce: 0.0,
    iou: 0.0,
    dice_over: DiceOver::Batch,
    include_background: false,
    smooth: SMOOTH,
};
const DICE: SegmentationLossConfig = SegmentationLossConfig { dice: 1.0, ..ONLY };
const BCE: SegmentationLossConfig = SegmentationLossConfig { bce: 1.0, ..ONLY };
const CE: SegmentationLossConfig = SegmentationLossConfig { ce: 1.0, ..ONLY };
const IOU: SegmentationLossConfig = SegmentationLossConfig { iou: 1.0, ..ONLY };

/// Logits `[B, K, N]`, ids `[B, N]`, annotated `[B, classes]`, on a map of `size`.
#[derive(Debug, Clone)]
struct Batch {
    b: usize,
    k: usize,
    size: [usize; 2],
    logits: Vec<f64>,
    ids: Vec<usize>,
    annotated: Vec<f64>,
}

impl Batch {
    fn classes(&self) -> usize {
        self.k.max(2)
    }

    fn binary() -> Self {
        Self {
            b: 2,
            k: 1,
            size: [2, 2],
            logits: vec![0.2, -1.0, 2.0, 0.0, -0.5, 1.5, 0.3, -2.0],
            ids: vec![1, 0, 1, 1, 0, 1, 0, 0],
            annotated: vec![1.0; 4],
        }
    }

    fn three_classes() -> Self {
        Self {
            b: 1,
            k: 3,
            size: [2, 2],
            logits: vec![0.5, -1.0, 0.0, 2.0, 1.0, 0.25, -0.5, 0.0, -0.2, 0.1, 0.7, -1.0],
            ids: vec![0, 1, 2, 1],
            annotated: vec![1.0; 3],
        }
    }

    fn random(b: usize, k: usize, size: [usize; 2], seed: u64) -> Self {
        let mut state = seed.wrapping_mul(2).wrapping_add(1);
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (state >> 33) as usize % below
        };
        let (n, classes) = (size[0] * size[1], k.max(2));
        let logits = (0..b * k * n).map(|_| draw(512) as f64 / 64.0 - 4.0).collect();
        let ids = (0..b * n).map(|_| draw(classes)).collect();
        let mut annotated = Vec::new();
        for _ in 0..b {
            let drawn: Vec<bool> = (1..classes).map(|_| draw(4) > 0).collect();
            annotated.push(f64::from(u8::from(drawn.iter().all(|&d| d))));
            annotated.extend(drawn.iter().map(|&d| f64::from(u8::from(d))));
        }
        Self { b, k, size, logits, ids, annotated }
    }

    fn tensors(&self) -> (Logits, Target) {
        let device = Device::flex().autodiff();
        let [h, w] = self.size;
        let float = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let logits = TensorData::new(float(&self.logits), [self.b, self.k, h, w]);
        let ids = self.ids.iter().map(|&i| i as i32).collect::<Vec<_>>();
        let annotated = TensorData::new(float(&self.annotated), [self.b, self.classes()]);
        let target = Target {
            classes: Tensor::<3, Int>::from_data(TensorData::new(ids, [self.b, h, w]), &device),
            annotated: Tensor::from_data(annotated, &device),
        };
        (Logits(Tensor::from_data(logits, &device).require_grad()), target)
    }

    fn run(&self, config: &SegmentationLossConfig) -> (f64, Vec<f64>) {
        let (logits, target) = self.tensors();
        let terms = segmentation_loss(&logits, &target, config);
        assert_eq!(terms.total.dims(), [1]);
        value_and_gradient(&terms.total, &logits.0)
    }

    /// The loss a second time, pixel by pixel in `f64`.
    fn slow(&self, logits: &[f64], config: &SegmentationLossConfig) -> f64 {
        let n = self.size[0] * self.size[1];
        let x = |i: usize, c: usize, p: usize| logits[(i * self.k + c) * n + p];
        let class = |c: usize| if self.k == 1 { 1 } else { c };
        let y = |i: usize, c: usize, p: usize| f64::from(u8::from(self.ids[i * n + p] == class(c)));
        let drawn = |i: usize, class: usize| self.annotated[i * self.classes() + class] == 1.0;
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let softmax = |i: usize, c: usize, p: usize| {
            x(i, c, p).exp() / (0..self.k).map(|j| x(i, j, p).exp()).sum::<f64>()
        };
        let probability = |i: usize, c: usize, p: usize| {
            if self.k == 1 { sigmoid(x(i, c, p)) } else { softmax(i, c, p) }
        };
        let first = usize::from(self.k > 1 && !config.include_background);
        let overlap = |score: &dyn Fn(f64, f64, f64) -> f64| {
            let mut scores = Vec::new();
            for c in first..self.k {
                let mut pooled: Option<[f64; 3]> = None;
                for i in (0..self.b).filter(|&i| drawn(i, class(c))) {
                    let mut sums = [0.0; 3];
                    for p in 0..n {
                        let (y, q) = (y(i, c, p), probability(i, c, p));
                        sums = [sums[0] + y * q, sums[1] + y, sums[2] + q];
                    }
                    if config.dice_over == DiceOver::Image {
                        scores.push(1.0 - score(sums[0], sums[1], sums[2]));
                    } else {
                        let [a, b, c] = pooled.unwrap_or_default();
                        pooled = Some([a + sums[0], b + sums[1], c + sums[2]]);
                    }
                }
                scores.extend(pooled.map(|[both, y, q]| 1.0 - score(both, y, q)));
            }
            mean(&scores)
        };
        let e = config.smooth;
        let dice = overlap(&|both, y, q| (2.0 * both + e) / (y + q + e));
        let iou = overlap(&|both, y, q| (both + e) / (y + q - both + e));
        let (mut yes_no, mut nll) = (Vec::new(), Vec::new());
        for i in 0..self.b {
            for c in (0..self.k).filter(|&c| drawn(i, class(c))) {
                for p in 0..n {
                    let q = sigmoid(x(i, c, p));
                    let y = y(i, c, p);
                    yes_no.push(-(y * q.ln() + (1.0 - y) * (1.0 - q).ln()));
                }
            }
            for p in 0..n {
                let id = self.ids[i * n + p];
                if self.k > 1 && drawn(i, id) {
                    nll.push(-softmax(i, id, p).ln());
                }
            }
        }
        let bce = mean(&yes_no);
        let ce = if self.k == 1 { bce } else { mean(&nll) };
        config.dice * dice + config.bce * bce + config.ce * ce + config.iou * iou
    }
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

#[test]
fn binary_values_and_gradients() {
    let per_image = SegmentationLossConfig { dice_over: DiceOver::Image, ..DICE };
    let cases: [(SegmentationLossConfig, f64, [f64; 8]); 4] = [
        (
            DICE,
            0.320_451_89,
            [
                -0.040_408_04,
                0.016_518_51,
                -0.017_140_61,
                -0.040_813_47,
                0.019_744_03,
                -0.024_348_74,
                0.020_538_37,
                0.008_821_12,
            ],
        ),
        (
            per_image,
            0.345_675_05,
            [
                -0.029_927_89,
                0.014_040_22,
                -0.012_695_05,
                -0.030_228_16,
                0.023_023_9,
                -0.037_017_64,
                0.023_950_19,
                0.010_286_48,
            ],
        ),
        (
            IOU,
            0.485_366_97,
            [
                -0.046_350_3,
                0.018_947_67,
                -0.019_661_25,
                -0.046_815_35,
                0.022_647_52,
                -0.027_929_37,
                0.023_558_67,
                0.010_118_33,
            ],
        ),
        (
            BCE,
            0.423_531_16,
            [
                -0.056_270_75,
                0.033_617_68,
                -0.014_900_37,
                -0.062_5,
                0.047_192_58,
                -0.022_803_19,
                0.071_805_31,
                0.014_900_37,
            ],
        ),
    ];
    for (config, value, gradient) in cases {
        let (got, got_gradient) = Batch::binary().run(&config);
        assert_close(&[got], &[value], 1e-6);
        assert_close(&got_gradient, &gradient, 1e-6);
    }
}

#[test]
fn several_class_values_and_gradients() {
    let cases: [(SegmentationLossConfig, f64, [f64; 12]); 3] = [
        (
            CE,
            1.166_620_08,
            [
                -0.170_516_49,
                0.033_357_76,
                0.069_055_37,
                0.210_948_68,
                0.131_046_15,
                -0.133_569_99,
                0.041_884_2,
                -0.221_451_2,
                0.039_470_34,
                0.100_212_24,
                -0.110_939_57,
                0.010_502_52,
            ],
        ),
        (
            DICE,
            0.564_864_77,
            [
                -0.015_030_54,
                0.009_232_69,
                0.050_355_33,
                0.019_993_73,
                0.003_618_86,
                -0.084_893_03,
                0.039_619_1,
                -0.026_011_71,
                0.011_411_68,
                0.075_660_34,
                -0.089_974_43,
                0.006_017_97,
            ],
        ),
        (
            BCE,
            0.726_901_87,
            [
                -0.031_461_72,
                0.022_411_79,
                0.041_666_67,
                0.073_399_76,
                0.060_921_55,
                -0.036_485_29,
                0.031_461_72,
                -0.041_666_67,
                0.037_513_83,
                0.043_748_27,
                -0.027_651_02,
                0.022_411_79,
            ],
        ),
    ];
    for (config, value, gradient) in cases {
        let (got, got_gradient) = Batch::three_classes().run(&config);
        assert_close(&[got], &[value], 1e-6);
        assert_close(&got_gradient, &gradient, 1e-6);
    }
}

#[test]
fn total_is_the_weighted_sum_of_the_terms_that_were_asked_for() {
    let config = SegmentationLossConfig { dice: 0.5, iou: 2.0, ce: 3.0, ..ONLY };
    let (logits, target) = Batch::three_classes().tensors();
    let result = segmentation_loss(&logits, &target, &config);
    let names: Vec<_> = result.terms.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["dice", "ce", "iou"]);
    let values: Vec<f64> =
        result.terms.iter().map(|(_, v)| f64::from(v.clone().into_scalar::<f32>())).collect();
    let total = f64::from(result.total.into_scalar::<f32>());
    assert_close(&[total], &[0.5 * values[0] + 3.0 * values[1] + 2.0 * values[2]], 1e-6);
}

#[test]
fn with_one_channel_ce_is_bce() {
    assert_eq!(Batch::binary().run(&CE), Batch::binary().run(&BCE));
}

#[test]
fn saturated_logits_give_the_exact_limits() {
    for (x, id, expected) in [(100.0, 0, 100.0), (-100.0, 1, 100.0), (100.0, 1, 0.0)] {
        let batch = Batch { logits: vec![x; 8], ids: vec![id; 8], ..Batch::binary() };
        let (value, gradient) = batch.run(&BCE);
        assert_close(&[value], &[expected], 1e-6);
        let slope = if expected == 0.0 { 0.0 } else { x.signum() / 8.0 };
        assert_close(&gradient, &[slope; 8], 1e-6);
    }
    let apart = [-100.0, 100.0, 0.0].map(|x| [x; 4]).concat();
    let batch = Batch { logits: apart, ids: vec![0; 4], ..Batch::three_classes() };
    let (value, gradient) = batch.run(&CE);
    assert_close(&[value], &[200.0], 1e-6);
    assert_close(&gradient, &[[-0.25; 4], [0.25; 4], [0.0; 4]].concat(), 1e-6);
}

/// Every term at once, under both poolings and with the background.
fn everything() -> Vec<SegmentationLossConfig> {
    let all = SegmentationLossConfig { dice: 1.0, bce: 1.0, ce: 1.0, iou: 1.0, ..ONLY };
    [DiceOver::Batch, DiceOver::Image]
        .into_iter()
        .flat_map(|dice_over| {
            [false, true].map(|include_background| SegmentationLossConfig {
                dice_over,
                include_background,
                ..all
            })
        })
        .collect()
}

#[test]
fn extremes_are_finite_in_value_and_gradient() {
    for config in everything() {
        for x in [-100.0, 0.0, 100.0] {
            for (k, annotated) in [(1, vec![1.0, 1.0]), (3, vec![1.0, 1.0, 1.0])] {
                for id in 0..k.max(2) {
                    let batch = Batch {
                        b: 1,
                        k,
                        size: [2, 2],
                        logits: (0..k * 4).map(|i| if i < 4 { x } else { -x }).collect(),
                        ids: vec![id; 4],
                        annotated: annotated.clone(),
                    };
                    let (value, gradient) = batch.run(&config);
                    assert!(value.is_finite(), "{batch:?}");
                    assert!(gradient.iter().all(|g| g.is_finite()), "{batch:?} {gradient:?}");
                }
            }
        }
    }
}

#[test]
fn an_empty_class_asks_for_less_foreground_and_reaches_zero() {
    let at = |x: f64| {
        let batch = Batch { logits: vec![x; 8], ids: vec![0; 8], ..Batch::binary() };
        batch.run(&DICE)
    };
    let (value, gradient) = at(0.0);
    assert!(value > 0.999 && gradient.iter().all(|&g| g > 0.0), "{value} {gradient:?}");
    assert!(at(-100.0).0 < 1e-30);
}

#[test]
fn a_perfect_prediction_costs_nothing() {
    let batch = Batch::binary();
    let logits: Vec<f64> =
        batch.ids.iter().map(|&id| if id == 1 { 100.0 } else { -100.0 }).collect();
    for config in everything() {
        let (value, _) = Batch { logits: logits.clone(), ..batch.clone() }.run(&config);
        assert!(value.abs() < 1e-6, "{value}");
    }
}

#[test]
fn an_image_nobody_drew_changes_nothing() {
    for config in everything() {
        let one = Batch::random(1, 3, [3, 4], 5);
        let one = Batch { annotated: vec![1.0; 3], ..one };
        let mut two = Batch::random(2, 3, [3, 4], 77);
        two.logits[..36].copy_from_slice(&one.logits);
        two.ids[..12].copy_from_slice(&one.ids);
        two.annotated = vec![1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
        let (alone, with) = (one.run(&config), two.run(&config));
        assert_close(&[with.0], &[alone.0], 1e-6);
        assert_close(&with.1[..36], &alone.1, 1e-6);
        assert!(with.1[36..].iter().all(|&g| g == 0.0));
    }
}

#[test]
fn nothing_drawn_at_all_is_exactly_zero() {
    for config in everything() {
        for batch in [Batch::binary(), Batch::three_classes()] {
            let annotated = vec![0.0; batch.annotated.len()];
            let (value, gradient) = Batch { annotated, ..batch }.run(&config);
            assert_eq!(value, 0.0);
            assert!(gradient.iter().all(|&g| g == 0.0));
        }
    }
}

#[test]
#[should_panic(expected = "must have classes [B, H, W]")]
fn a_target_of_another_size_is_refused() {
    let (logits, _) = Batch::binary().tensors();
    let (_, target) = Batch { size: [1, 4], ..Batch::binary() }.tensors();
    let _ = segmentation_loss(&logits, &target, &DICE);
}

#[test]
#[should_panic(expected = "logit channels must be one per class")]
fn a_target_with_other_classes_is_refused() {
    let (logits, _) = Batch::three_classes().tensors();
    let (_, target) =
        Batch { k: 2, logits: vec![0.0; 8], annotated: vec![1.0; 2], ..Batch::three_classes() }
            .tensors();
    let _ = segmentation_loss(&logits, &target, &DICE);
}

#[test]
fn configurations_are_read_strictly_and_checked() {
    let read = |text: &str| serde_json::from_str::<SegmentationLossConfig>(text);
    let config = read(r#"{"dice": 1.0, "ce": 0.5, "dice_over": "image"}"#).unwrap();
    let expected = SegmentationLossConfig { ce: 0.5, dice_over: DiceOver::Image, ..DICE };
    assert_eq!(config, expected);
    assert_eq!(SegmentationLossConfig::default(), SegmentationLossConfig { bce: 1.0, ..DICE });
    assert!(read(r#"{"dise": 1.0}"#).unwrap_err().to_string().contains("`dise`"));
    assert_eq!(read("{}").unwrap().validate(), Err(SegmentationLossError::NoTerm));
    let negative = read(r#"{"dice": 1.0, "iou": -1.0}"#).unwrap().validate().unwrap_err();
    assert!(negative.to_string().contains("`iou`") && negative.to_string().contains("-1"));
    let smooth = read(r#"{"dice": 1.0, "smooth": 0.0}"#).unwrap().validate();
    assert_eq!(smooth, Err(SegmentationLossError::Smooth(0.0)));
    assert_eq!(SegmentationLossConfig::default().validate(), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn value_and_gradient_equal_the_slow_formula(
        b in 1_usize..4, k in 1_usize..5, h in 1_usize..5, w in 1_usize..5,
        config in 0_usize..4, seed in any::<u64>(),
    ) {
        let batch = Batch::random(b, k, [h, w], seed);
        let all = everything()[config];
        for config in [
            SegmentationLossConfig { bce: 0.0, ce: 0.0, iou: 0.0, ..all },
            SegmentationLossConfig { bce: 0.0, ce: 0.0, dice: 0.0, ..all },
            SegmentationLossConfig { dice: 0.0, iou: 0.0, ce: 0.0, ..all },
            SegmentationLossConfig { dice: 0.0, iou: 0.0, bce: 0.0, ..all },
        ] {
            let (value, gradient) = batch.run(&config);
            let slow = |x: &[f64]| batch.slow(x, &config);
            assert_close(&[value], &[slow(&batch.logits)], 1e-5);
            assert_close(&gradient, &central_differences(slow, &batch.logits), 1e-4);
        }
    }
}
