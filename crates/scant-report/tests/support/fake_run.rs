//! A seeded, plausible run folder: a record with its pictures, without any network.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scant_core::{
    CaseClassResult, CaseRecord, EmptySituation, EpochRecord, Evaluation, EvaluationProtocol,
    GalleryItem, GalleryKind, LabelSpace, ModelSummary, PhaseRecord, PoolSummary, Role, RunRecord,
    SampleId, SourceSummary, SplitSummary, Timing,
};

/// Side of the pictures, pixels.
const SIDE: usize = 160;
/// Taps of the pretended network.
const TAPS: [&str; 9] =
    ["enc1", "enc2", "enc3", "enc4", "bottleneck", "dec4", "dec3", "dec2", "dec1"];

/// What differs between fake runs.
#[derive(Debug, Clone)]
#[allow(unreachable_pub)]
pub struct Fake {
    pub seed: u64,
    pub name: String,
    /// Names of the base and the novel source.
    pub sources: [String; 2],
    /// Names of the two foreground classes.
    pub classes: [String; 2],
    /// Cases of the base source in the test part; the novel one has half as many.
    pub cases: usize,
    /// How wrong predictions are; 1 is usual.
    pub error: f64,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            seed: 7,
            name: "cyst-discrepancy".into(),
            sources: ["clinic-a".into(), "clinic-b".into()],
            classes: ["cyst".into(), "wall".into()],
            cases: 36,
            error: 1.0,
        }
    }
}

/// Writes `folder/record.json` and its pictures.
#[allow(unreachable_pub)]
pub fn write(folder: &Path, fake: &Fake) -> RunRecord {
    fs::create_dir_all(folder.join("gallery")).unwrap();
    let record = record(folder, fake);
    fs::write(folder.join("record.json"), serde_json::to_vec_pretty(&record).unwrap()).unwrap();
    record
}

fn record(folder: &Path, fake: &Fake) -> RunRecord {
    let mut rng = ChaCha8Rng::seed_from_u64(fake.seed);
    let phases = vec![
        phase("warm-up", 60, 0.0, fake, &mut rng),
        phase("discrepancy", 40, 1.0, fake, &mut rng),
    ];
    // The same cases in every fake run of one size, so that runs can be paired.
    let mut case_rng = ChaCha8Rng::seed_from_u64(99);
    let (mut cases, mut pictures) = (Vec::new(), Vec::new());
    for (s, source) in fake.sources.iter().enumerate() {
        for i in 0..(fake.cases / (s + 1)) {
            let id = SampleId {
                source: source.clone(),
                group: format!("p{:02}", i / 3),
                stem: format!("p{:02}_{i:03}", i / 3),
            };
            let (record, picture) = case(id, s, i, fake, &mut case_rng, &mut rng);
            cases.push(record);
            pictures.push(picture);
        }
    }
    cases.push(CaseRecord {
        id: SampleId {
            source: fake.sources[1].clone(),
            group: "p99".into(),
            stem: "p99_000".into(),
        },
        distance_unit: "mm".into(),
        classes: vec![],
        discrepancy: BTreeMap::new(),
        failure: Some("image/p99_000.png: the file ends in the middle of a row".into()),
    });
    let gallery = gallery(folder, &cases, &pictures, &mut rng);
    for (case, [_, _, prediction]) in cases.iter().zip(&pictures) {
        let below = folder.join("predictions/test").join(&case.id.source);
        fs::create_dir_all(&below).unwrap();
        png(&below.join(format!("{}.png", case.id.stem)), SIDE, prediction);
    }
    let per_source = |a: usize, b: usize| {
        BTreeMap::from([(fake.sources[0].clone(), a), (fake.sources[1].clone(), b)])
    };
    let parts = |train: (usize, usize), validation: (usize, usize), test: (usize, usize)| {
        BTreeMap::from([
            ("train".to_string(), per_source(train.0, train.1)),
            ("validation".to_string(), per_source(validation.0, validation.1)),
            ("test".to_string(), per_source(test.0, test.1)),
        ])
    };
    let protocol = EvaluationProtocol {
        empty_policy: "scant".into(),
        nsd_tolerance: 2.0,
        threshold: 0.5,
        tta: "none".into(),
    };
    RunRecord {
        schema: RunRecord::SCHEMA,
        scant_version: "0.1.0".into(),
        name: fake.name.clone(),
        recipe: "[model]\nname = \"attention-unet\"\nwidth = 32\ndepth = 4\n\n[data]\nsize = [160, 160]\nbatch = 4\n\n[optim]\nname = \"adamw\"\nlr = 1e-4\n\n[[phase]]\nname = \"warm-up\"\nepochs = 60\n\n[[phase]]\nname = \"discrepancy\"\nepochs = 40\nfrom = \"best\"\n".into(),
        seed: fake.seed,
        device: "cpu (flex, AVX-512)".into(),
        threads: 2,
        model: ModelSummary {
            name: "attention-unet".into(),
            parameters: 8_726_077,
            config: serde_json::json!({"width": 32, "depth": 4, "in_channels": 1, "norm": "batch"}),
            taps: TAPS.map(String::from).to_vec(),
        },
        pool: PoolSummary {
            name: "cysts".into(),
            classes: LabelSpace::new(vec!["background".into(), fake.classes[0].clone(), fake.classes[1].clone()]).unwrap(),
            sources: vec![
                SourceSummary { name: fake.sources[0].clone(), role: Role::Base, images: 180, groups: 60, annotated: fake.classes.to_vec() },
                SourceSummary { name: fake.sources[1].clone(), role: Role::Novel, images: 91, groups: 31, annotated: fake.classes.to_vec() },
            ],
        },
        split: SplitSummary {
            hash: "9f2c4c1be7a2d0b5538f6ad5b1f3a0c77e0d4b4e51a9b1f6f2c8e0a7d3b59c61".into(),
            images: parts((126, 63), (18, 9), (fake.cases, fake.cases / 2 + 1)),
            groups: parts((42, 21), (6, 3), (fake.cases.div_ceil(3), fake.cases / 6 + 1)),
            how: "70 / 10 / 20 drawn by group within each source, seed 7".into(),
        },
        phases,
        evaluations: vec![Evaluation { part: "test".into(), protocol, cases }],
        gallery,
        warnings: vec![format!("validation of {} has only 3 groups: its curve is rough", fake.sources[1])],
        timing: Timing { train_secs: 5421.0, evaluate_secs: 38.2, data_wait_secs: 61.0, images: 18_900, peak_memory_mib: Some(1340.0) },
    }
}

fn phase(name: &str, n: usize, alpha: f64, fake: &Fake, rng: &mut ChaCha8Rng) -> PhaseRecord {
    let start = if alpha > 0.0 { 0.35 } else { 1.4 };
    let mut epochs = Vec::new();
    for epoch in 1..=n {
        let t = epoch as f64 / n as f64;
        let noise = |rng: &mut ChaCha8Rng, s: f64| rng.random_range(-s..s);
        let seg = start * (-2.2 * t).exp() * fake.error + 0.12 + noise(rng, 0.02);
        let dice =
            0.86 - 0.5 * (start / 1.4) * (-5.0 * t).exp() - 0.04 * fake.error + noise(rng, 0.015);
        let taps = |f: &mut dyn FnMut(usize) -> f64| {
            TAPS.iter()
                .enumerate()
                .map(|(i, n)| ((*n).to_string(), f(i)))
                .collect::<BTreeMap<_, _>>()
        };
        let discrepancy = if alpha > 0.0 {
            taps(&mut |i| 2.2 - 0.18 * i as f64 - 0.7 * t + noise(rng, 0.05))
        } else {
            BTreeMap::new()
        };
        let alphas = if alpha > 0.0 {
            taps(&mut |i| alpha * t * (0.5 - 0.045 * i as f64))
        } else {
            BTreeMap::new()
        };
        let mut loss =
            BTreeMap::from([("dice".to_string(), seg * 0.55), ("bce".to_string(), seg * 0.45)]);
        let fd: f64 = alphas.iter().map(|(k, a)| a * discrepancy[k]).sum();
        if alpha > 0.0 {
            loss.insert("feature_discrepancy".into(), fd);
        }
        loss.insert("total".into(), seg + fd);
        epochs.push(EpochRecord {
            epoch,
            step: (epoch * 47) as u64,
            lr: 1e-4 * (1.0 - 0.97 * t),
            loss,
            alpha: alphas,
            discrepancy,
            grad_norm: 3.0 * (-3.0 * t).exp() + 0.05 + noise(rng, 0.02).abs(),
            val_dice: Some(dice),
            val_dice_by_source: BTreeMap::from([
                (fake.sources[0].clone(), dice + 0.04 + noise(rng, 0.01)),
                (fake.sources[1].clone(), dice - 0.09 + noise(rng, 0.03)),
            ]),
            seconds: 54.0 + noise(rng, 3.0),
        });
    }
    let best =
        epochs.iter().max_by(|a, b| a.val_dice.unwrap().total_cmp(&b.val_dice.unwrap())).unwrap();
    PhaseRecord {
        name: name.into(),
        images: BTreeMap::new(),
        best_epoch: Some(best.epoch),
        best_val_dice: best.val_dice,
        ended: Some("finished".into()),
        epochs,
    }
}

/// Image, truth and prediction of one case.
type Picture = [Vec<u8>; 3];

fn ellipse(cx: f64, cy: f64, rx: f64, ry: f64, wall: f64) -> Vec<u8> {
    (0..SIDE * SIDE)
        .map(|i| {
            let (x, y) = ((i % SIDE) as f64 - cx, (i / SIDE) as f64 - cy);
            let r = ((x / rx).powi(2) + (y / ry).powi(2)).sqrt();
            if r < 1.0 {
                1
            } else if r < 1.0 + wall {
                2
            } else {
                0
            }
        })
        .collect()
}

fn case(
    id: SampleId,
    source: usize,
    i: usize,
    fake: &Fake,
    shape: &mut ChaCha8Rng,
    rng: &mut ChaCha8Rng,
) -> (CaseRecord, Picture) {
    let size = shape.random_range(9.0..34.0);
    let (cx, cy) = (shape.random_range(45.0..115.0), shape.random_range(45.0..115.0));
    let (rx, ry) = (size, size * shape.random_range(0.6..1.0));
    let empty = i % 11 == 10;
    let truth = if empty { vec![0; SIDE * SIDE] } else { ellipse(cx, cy, rx, ry, 0.25) };
    let off = fake.error * (1.6 + 2.2 * source as f64);
    let mut shift = |s: f64| rng.random_range(-s..s);
    let prediction = if (empty && i.is_multiple_of(2)) || (i % 17 == 5 && source == 1) {
        vec![0; SIDE * SIDE]
    } else {
        let grow = (1.0 + shift(0.12 * off)).max(0.2);
        ellipse(cx + shift(off * 1.5), cy + shift(off * 1.5), rx * grow, ry * grow, 0.22)
    };
    let mut image = Vec::with_capacity(SIDE * SIDE);
    for (p, t) in truth.iter().enumerate() {
        let depth = 1.0 - (p / SIDE) as f64 / SIDE as f64 * 0.5;
        let level = [95.0, 28.0, 150.0][usize::from(*t)] * depth;
        let speckle: f64 = (0..3).map(|_| shape.random_range(0.0..1.0)).sum::<f64>() / 1.5;
        image.push((level * speckle).clamp(0.0, 255.0) as u8);
    }
    let classes = (1..=2u8)
        .map(|c| class(c, &fake.classes[usize::from(c) - 1], &truth, &prediction, rng))
        .collect::<Vec<_>>();
    let dice: Vec<f64> = classes.iter().filter_map(|c| c.metrics["dice"]).collect();
    let mean = dice.iter().sum::<f64>() / dice.len().max(1) as f64;
    let fraction = truth.iter().filter(|t| **t > 0).count() as f64 / (SIDE * SIDE) as f64;
    let discrepancy = TAPS
        .iter()
        .enumerate()
        .map(|(t, n)| {
            let v = 0.9 - 0.25 * (fraction + 0.003).ln() - mean * (0.3 + 0.1 * t as f64)
                + rng.random_range(-0.25..0.25);
            ((*n).to_string(), v)
        })
        .collect();
    let record = CaseRecord { id, distance_unit: "mm".into(), classes, discrepancy, failure: None };
    (record, [image, truth, prediction])
}

fn class(
    id: u8,
    name: &str,
    truth: &[u8],
    prediction: &[u8],
    rng: &mut ChaCha8Rng,
) -> CaseClassResult {
    let (mut tp, mut fp, mut fn_, mut tn) = (0u64, 0u64, 0u64, 0u64);
    for (t, p) in truth.iter().zip(prediction) {
        match (*t == id, *p == id) {
            (true, true) => tp += 1,
            (false, true) => fp += 1,
            (true, false) => fn_ += 1,
            (false, false) => tn += 1,
        }
    }
    let situation = match (tp + fn_ > 0, tp + fp > 0) {
        (true, true) => EmptySituation::BothPresent,
        (false, false) => EmptySituation::BothEmpty,
        (false, true) => EmptySituation::FalseAlarm,
        (true, false) => EmptySituation::Missed,
    };
    let undefined = situation == EmptySituation::BothEmpty;
    let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
    let dice = ratio(2 * tp, 2 * tp + fp + fn_);
    let far = if situation == EmptySituation::BothPresent {
        (1.0 - dice) * 14.0 + rng.random_range(0.2..1.0)
    } else {
        SIDE as f64 * 2f64.sqrt() * 0.3
    };
    let values = [
        ("dice", dice),
        ("iou", ratio(tp, tp + fp + fn_)),
        ("precision", ratio(tp, tp + fp)),
        ("recall", ratio(tp, tp + fn_)),
        ("hd", far * 1.4),
        ("hd95", far),
        ("hd95_pooled", far * 0.93),
        ("assd", far * 0.32),
        ("nsd", (dice * 1.08).min(1.0)),
    ];
    let metrics = values.into_iter().map(|(n, v)| (n.to_string(), (!undefined).then_some(v)));
    CaseClassResult { class: name.into(), tp, fp, fn_, tn, situation, metrics: metrics.collect() }
}

fn gallery(
    folder: &Path,
    cases: &[CaseRecord],
    pictures: &[Picture],
    rng: &mut ChaCha8Rng,
) -> Vec<GalleryItem> {
    let score = |c: &CaseRecord| {
        let d: Vec<f64> = c.classes.iter().filter_map(|k| k.metrics["dice"]).collect();
        (!d.is_empty()).then(|| d.iter().sum::<f64>() / d.len() as f64)
    };
    let mut order: Vec<usize> =
        (0..pictures.len()).filter(|i| score(&cases[*i]).is_some()).collect();
    order.sort_by(|a, b| score(&cases[*a]).unwrap().total_cmp(&score(&cases[*b]).unwrap()));
    let worst = order.iter().take(4).map(|i| (*i, GalleryKind::Worst));
    let best = order.iter().rev().take(2).map(|i| (*i, GalleryKind::Best));
    let mut items = Vec::new();
    for (i, kind) in worst.chain(best).collect::<Vec<_>>() {
        let name = |what: &str| format!("gallery/{i:03}_{what}.png");
        let [image, truth, prediction] = &pictures[i];
        png(&folder.join(name("image")), SIDE, image);
        png(&folder.join(name("truth")), SIDE, truth);
        png(&folder.join(name("prediction")), SIDE, prediction);
        let mut heatmaps = BTreeMap::new();
        for (tap, side) in [("bottleneck", 10usize), ("dec1", SIDE)] {
            let map: Vec<u8> = (0..side * side)
                .map(|p| {
                    let at = (p / side * SIDE / side) * SIDE + p % side * SIDE / side;
                    let hot = [40.0, 220.0, 150.0][usize::from(prediction[at])];
                    (hot + rng.random_range(-30.0..30.0)) as u8
                })
                .collect();
            png(&folder.join(name(tap)), side, &map);
            heatmaps.insert(tap.to_string(), name(tap));
        }
        items.push(GalleryItem {
            id: cases[i].id.clone(),
            part: "test".into(),
            kind,
            dice: score(&cases[i]),
            image: name("image"),
            truth: name("truth"),
            prediction: name("prediction"),
            heatmaps,
        });
    }
    items
}

fn png(path: &Path, side: usize, data: &[u8]) {
    let mut e = png::Encoder::new(fs::File::create(path).unwrap(), side as u32, side as u32);
    e.set_color(png::ColorType::Grayscale);
    e.set_depth(png::BitDepth::Eight);
    e.write_header().unwrap().write_image_data(data).unwrap();
}
