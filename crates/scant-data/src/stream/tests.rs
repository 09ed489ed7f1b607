use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use ndarray::{Array2, Axis};
use proptest::prelude::*;
use scant_core::{Image, LabelMap, PixelType};

use super::*;
use crate::augment::AugmentConfig;
use crate::preprocess::harmonise::HarmoniseMethod;
use crate::preprocess::{Normalise, PreprocessConfig};

/// Generated cases: the first `big` belong to source "a", the rest to "b".
struct Fake {
    ids: Vec<SampleId>,
    loads: AtomicUsize,
    panics_at: Option<usize>,
    fails_at: Option<usize>,
    odd_at: Option<usize>,
    /// Source "b" is novel, and every case has a label.
    novel: bool,
    delay: Duration,
}

impl Fake {
    fn new(big: usize, small: usize) -> Self {
        let id = |i: usize| SampleId {
            source: if i < big { "a" } else { "b" }.into(),
            group: format!("p{}", i / 2),
            stem: format!("case{i:02}"),
        };
        Self {
            ids: (0..big + small).map(id).collect(),
            loads: AtomicUsize::new(0),
            panics_at: None,
            fails_at: None,
            odd_at: None,
            novel: false,
            delay: Duration::ZERO,
        }
    }

    fn with_novel(base: usize, novel: usize) -> Self {
        Self { novel: true, ..Self::new(base, novel) }
    }
}

impl CaseSource for Fake {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn id(&self, case: usize) -> &SampleId {
        &self.ids[case]
    }

    fn role(&self, case: usize) -> Role {
        match (self.novel, case) {
            (true, _) if self.ids[case].source == "b" => Role::Novel,
            (false, 0) => Role::Unlabelled,
            _ => Role::Base,
        }
    }

    fn load(&self, case: usize) -> Result<Sample, LoadError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        // Uneven work, so that workers finish out of order.
        std::thread::sleep(self.delay * ((case % 3) as u32));
        assert!(self.panics_at != Some(case), "bug in a decoder");
        if self.fails_at == Some(case) {
            return Err(LoadError::new("images/case.png", "the file ends after 12 bytes"));
        }
        let side = if self.odd_at == Some(case) { 9 } else { 12 };
        let pixels =
            Array3::from_shape_fn((1, side, side), |(_, r, c)| (case * 1000 + r * side + c) as f32);
        let label = Array2::from_shape_fn((side, side), |(r, c)| u8::from(r + c < case % 12));
        let unlabelled = self.role(case) == Role::Unlabelled;
        Ok(Sample {
            id: self.ids[case].clone(),
            source: usize::from(self.ids[case].source == "b"),
            role: self.role(case),
            image: Image::planar(pixels, PixelType::U8),
            label: (!unlabelled).then(|| LabelMap::planar(label)),
            annotated: if unlabelled { Annotated::none(2) } else { Annotated::all(2) },
        })
    }
}

fn config(batch: usize, workers: usize) -> StreamConfig {
    StreamConfig {
        batch,
        workers,
        seed: 11,
        preprocess: PreprocessConfig { channels: 1, ..Default::default() },
        augment: AugmentConfig::from_names(&["flip", "rot90", "noise", "elastic"]).unwrap(),
        ..Default::default()
    }
}

fn stream(source: Fake, config: StreamConfig) -> BatchStream {
    BatchStream::new(Arc::new(source), config).unwrap()
}

fn all(stream: &BatchStream, epoch: u64) -> Vec<Batch> {
    stream.epoch(epoch).map(Result::unwrap).collect()
}

/// Fails the test when `work` takes longer than a generous minute.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(work()));
    told.recv_timeout(Duration::from_secs(60)).expect("the stream hangs or failed")
}

#[test]
fn an_epoch_brings_every_case_once_with_all_that_is_known() {
    let batches = all(&stream(Fake::new(7, 4), config(4, 2)), 0);
    assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [4, 4, 3]);
    let mut seen = BTreeSet::new();
    for batch in &batches {
        assert_eq!(batch.images.dim(), (batch.len(), 1, 12, 12));
        assert_eq!(batch.labels.dim(), (batch.len(), 12, 12));
        for i in 0..batch.len() {
            assert!(seen.insert(batch.ids[i].clone()));
            assert_eq!(batch.sources[i], usize::from(batch.ids[i].source == "b"));
            let unlabelled = batch.ids[i].stem == "case00";
            assert_eq!(batch.roles[i] == Role::Unlabelled, unlabelled);
            assert_eq!(batch.annotated[i].is_complete(), !unlabelled);
        }
    }
    assert_eq!(seen.len(), 11);
}

#[test]
fn batches_do_not_depend_on_workers_or_cache() {
    let slow = || Fake { delay: Duration::from_millis(2), ..Fake::new(9, 4) };
    let reference: Vec<_> = (0..3).map(|e| all(&stream(slow(), config(3, 0)), e)).collect();
    for workers in [1, 2, 5] {
        for cache in [false, true] {
            let stream = stream(slow(), StreamConfig { cache, ..config(3, workers) });
            for (epoch, expected) in reference.iter().enumerate() {
                assert_eq!(&all(&stream, epoch as u64), expected, "{workers} {cache} {epoch}");
            }
        }
    }
    assert_ne!(reference[0][0].ids, reference[1][0].ids, "epochs differ in order");
}

#[test]
fn the_same_case_is_varied_anew_every_epoch() {
    let noise = StreamConfig {
        augment: toml::from_str("noise = { sigma = [0.1, 0.1], p = 1.0 }").unwrap(),
        ..config(1, 1)
    };
    let stream = stream(Fake::new(1, 0), noise);
    assert_ne!(all(&stream, 0)[0].images, all(&stream, 1)[0].images);
    assert_eq!(all(&stream, 0), all(&stream, 0));
}

#[test]
fn a_resumed_epoch_goes_on_with_the_same_batches() {
    let stream = stream(Fake::new(10, 3), config(3, 2));
    let whole = all(&stream, 4);
    for first in 0..=whole.len() + 1 {
        let rest: Vec<Batch> = stream.epoch_from(4, first).map(Result::unwrap).collect();
        assert_eq!(rest, whole[first.min(whole.len())..], "from {first}");
    }
}

#[test]
fn balancing_repeats_the_smaller_source_with_other_variations() {
    let balanced = StreamConfig { balance_sources: true, ..config(2, 2) };
    let stream = stream(Fake::new(9, 2), balanced);
    assert_eq!(stream.batches_per_epoch(), 9);
    let mut copies: BTreeMap<SampleId, Vec<Array3<f32>>> = BTreeMap::new();
    for batch in all(&stream, 0) {
        assert_eq!(batch.sources.iter().sum::<usize>(), 1, "one of each source per batch");
        for (id, image) in batch.ids.iter().zip(batch.images.outer_iter()) {
            copies.entry(id.clone()).or_default().push(image.to_owned());
        }
    }
    assert_eq!(copies.len(), 11);
    let repeated: Vec<_> = copies.values().filter(|c| c.len() > 1).collect();
    assert_eq!(repeated.iter().map(|c| c.len()).sum::<usize>(), 9);
    for images in repeated {
        assert!(images.iter().any(|image| *image != images[0]));
    }
}

#[test]
fn the_cache_loads_once_and_keeps_its_budget() {
    let source = Arc::new(Fake::new(8, 0));
    let budget = 3 * (144 * 4 + 144) + 10;
    let limited = StreamConfig { cache_bytes: budget, ..config(4, 2) };
    let stream = BatchStream::new(Arc::clone(&source) as Arc<dyn CaseSource>, limited).unwrap();
    for epoch in 0..3 {
        all(&stream, epoch);
    }
    assert!(stream.preparer.kept_bytes() <= budget);
    let loads = source.loads.load(Ordering::Relaxed);
    assert!((8 + 2 * 4..=8 + 2 * 5).contains(&loads), "{loads}");

    let source = Arc::new(Fake::new(8, 0));
    let stream =
        BatchStream::new(Arc::clone(&source) as Arc<dyn CaseSource>, config(4, 2)).unwrap();
    for epoch in 0..3 {
        all(&stream, epoch);
    }
    assert_eq!(source.loads.load(Ordering::Relaxed), 8);
}

#[test]
fn failures_arrive_as_errors_that_name_the_case() {
    for workers in [0, 1, 3] {
        let run = move |source: Fake| {
            in_time(move || {
                let results: Vec<_> = stream(source, config(2, workers)).epoch(0).collect();
                let error = results.last().unwrap().as_ref().unwrap_err().to_string();
                assert_eq!(results.iter().filter(|r| r.is_err()).count(), 1, "ends after it");
                error
            })
        };
        let error = run(Fake { fails_at: Some(3), ..Fake::new(8, 0) });
        assert_eq!(error, "images/case.png: the file ends after 12 bytes");
        let error = run(Fake { panics_at: Some(5), ..Fake::new(8, 0) });
        assert!(error.starts_with("a/case05: ") && error.contains("bug in a decoder"), "{error}");
        let error = run(Fake { odd_at: Some(2), ..Fake::new(8, 0) });
        assert!(error.contains("a/case02") && error.contains("cannot share a batch"), "{error}");
    }
}

#[test]
fn leaving_early_does_not_hang_and_little_was_loaded() {
    in_time(|| {
        for taken in 0..4 {
            let source = Arc::new(Fake { delay: Duration::from_millis(1), ..Fake::new(200, 0) });
            let stream =
                BatchStream::new(Arc::clone(&source) as Arc<dyn CaseSource>, config(4, 3)).unwrap();
            let batches: Vec<_> = stream.epoch(0).take(taken).collect();
            assert_eq!(batches.len(), taken);
            let loads = source.loads.load(Ordering::Relaxed);
            assert!(loads <= 4 * taken + 8 + 3, "{loads} cases for {taken} batches");
        }
    });
}

#[test]
fn pieces_have_their_size_and_follow_the_structure() {
    let patches = Some(PatchConfig { size: [5, 6], foreground: 1.0 });
    let augment = AugmentConfig::from_names(&["flip", "rot90"]).unwrap();
    let pieces = StreamConfig { patches, augment, ..config(3, 2) };
    for batch in all(&stream(Fake { odd_at: Some(4), ..Fake::new(12, 0) }, pieces), 0) {
        assert_eq!(batch.images.dim(), (3, 1, 5, 6));
        for (id, label) in batch.ids.iter().zip(batch.labels.outer_iter()) {
            let drawn = id.stem != "case00";
            assert_eq!(label.iter().any(|&v| v == 1), drawn, "{id}");
        }
    }
}

#[test]
fn what_cannot_work_is_refused_at_once() {
    let refused = |source: Fake, config: StreamConfig| {
        BatchStream::new(Arc::new(source), config).unwrap_err().to_string()
    };
    assert!(refused(Fake::new(0, 0), config(2, 0)).contains("no cases"));
    assert!(refused(Fake::new(3, 0), config(0, 0)).contains("batch = 0"));
    let drop_last = StreamConfig { drop_last: true, ..config(4, 0) };
    assert!(refused(Fake::new(3, 0), drop_last).contains("3 case(s)"));
    let patches = Some(PatchConfig { size: [4, 4], foreground: 1.5 });
    let pieces = StreamConfig { patches, ..config(1, 0) };
    assert!(refused(Fake::new(3, 0), pieces).contains("foreground = 1.5"));
    let augment = toml::from_str("flips = { p = 2 }").unwrap();
    let flips = StreamConfig { augment, ..config(1, 0) };
    assert!(refused(Fake::new(3, 0), flips).contains("flips.p = 2"));
    let full: StreamConfig = toml::from_str(
        "batch = 2\naugment = [\"flip\"]\npatches = { size = [8, 8] }\npreprocess = { channels = 1 }",
    )
    .unwrap();
    assert_eq!(toml::from_str::<StreamConfig>(&toml::to_string(&full).unwrap()).unwrap(), full);
    assert!(toml::from_str::<StreamConfig>("bacth = 2").is_err());
}

fn chosen(source: &Fake, train_on: Roles, novel_fraction: f64, seed: u64) -> Vec<usize> {
    Selection { train_on, novel_fraction, seed }.of(source)
}

#[test]
fn a_selection_is_by_role_and_by_share_of_every_novel_source() {
    let source = Fake::with_novel(5, 10);
    assert_eq!(chosen(&source, Roles::All, 1.0, 3), (0..15).collect::<Vec<_>>());
    assert_eq!(chosen(&source, Roles::Base, 1.0, 3), [0, 1, 2, 3, 4]);
    assert_eq!(chosen(&source, Roles::Base, 0.5, 3), [0, 1, 2, 3, 4]);
    assert_eq!(chosen(&source, Roles::Novel, 1.0, 3), (5..15).collect::<Vec<_>>());
    assert_eq!(chosen(&source, Roles::All, 0.0, 3), [0, 1, 2, 3, 4]);
    // 0.1 x 30 is a little more than 3 in binary.
    let many = Fake::with_novel(0, 30);
    for (fraction, kept) in [(1.0 / 16.0, 2), (0.1, 3), (0.11, 4), (0.5, 15), (1e-4, 1)] {
        assert_eq!(chosen(&many, Roles::Novel, fraction, 3).len(), kept, "{fraction}");
    }
    assert_ne!(chosen(&many, Roles::All, 0.5, 1), chosen(&many, Roles::All, 0.5, 2));
}

#[test]
fn each_novel_source_gives_its_share_whoever_is_beside_it() {
    let mut source = Fake::with_novel(4, 12);
    let alone = chosen(&source, Roles::Novel, 0.25, 9);
    assert_eq!(alone.len(), 3);
    // A third source, which is base in the fake; its cases come after.
    let other = SampleId { source: "c".into(), group: "g".into(), stem: "x".into() };
    source.ids.push(other);
    assert_eq!(chosen(&source, Roles::Novel, 0.25, 9), alone);
}

#[test]
fn a_stream_of_a_subset_brings_the_subset_and_an_empty_one_is_refused() {
    let source: Arc<dyn CaseSource> = Arc::new(Fake::with_novel(4, 6));
    let selection = Selection { train_on: Roles::Novel, novel_fraction: 0.5, seed: 2 };
    let subset = Subset::new(Arc::clone(&source), &selection).unwrap();
    let wanted: BTreeSet<SampleId> =
        selection.of(&*source).into_iter().map(|case| source.id(case).clone()).collect();
    let stream = BatchStream::new(Arc::new(subset), config(2, 1)).unwrap();
    let batches = all(&stream, 0);
    assert!(batches.iter().flat_map(|b| &b.roles).all(|&role| role == Role::Novel));
    assert_eq!(batches.into_iter().flat_map(|b| b.ids).collect::<BTreeSet<_>>(), wanted);
    let none = Selection { novel_fraction: 0.0, ..selection };
    let error = Subset::new(source, &none).unwrap_err().to_string();
    assert!(error.contains("4 base and 6 novel") && error.contains("= 0 takes part"), "{error}");
}

fn two_streams(batch: usize, novel_per_batch: usize) -> StreamConfig {
    StreamConfig { novel_per_batch, ..config(batch, 2) }
}

#[test]
fn every_batch_of_two_streams_holds_both_roles_and_novel_cases_come_equally_often() {
    let stream = stream(Fake::with_novel(7, 5), two_streams(4, 1));
    assert_eq!(stream.batches_per_epoch(), 3);
    let mut novel: BTreeMap<SampleId, usize> = BTreeMap::new();
    for epoch in 0..10 {
        let mut base = BTreeSet::new();
        let batches = all(&stream, epoch);
        assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [4, 4, 2]);
        for batch in batches {
            let roles: Vec<bool> = batch.roles.iter().map(|&r| r == Role::Novel).collect();
            assert_eq!(roles.iter().filter(|&&novel| novel).count(), 1);
            for (id, is_novel) in batch.ids.into_iter().zip(roles) {
                if is_novel {
                    *novel.entry(id).or_default() += 1;
                } else {
                    assert!(base.insert(id), "a base case twice in an epoch");
                }
            }
        }
        assert_eq!(base.len(), 7);
    }
    // 10 epochs of 3 batches of 1 are 6 rounds over 5 novel cases.
    assert_eq!(novel.into_values().collect::<Vec<_>>(), [6; 5]);
    assert_eq!(stream.order(4), stream.order(4));
    assert_ne!(stream.order(4), stream.order(5));
}

#[test]
fn a_novel_case_that_comes_again_is_varied_anew_and_resuming_changes_nothing() {
    let noise = StreamConfig {
        augment: toml::from_str("noise = { sigma = [0.1, 0.1], p = 1.0 }").unwrap(),
        ..two_streams(4, 2)
    };
    let stream = stream(Fake::with_novel(8, 2), noise);
    let whole = all(&stream, 3);
    assert_eq!(whole.len(), 4);
    let mut copies: BTreeMap<SampleId, Vec<Array3<f32>>> = BTreeMap::new();
    for batch in &whole {
        for i in (0..4).filter(|&i| batch.roles[i] == Role::Novel) {
            let image = batch.images.slice(s![i, .., .., ..]).to_owned();
            copies.entry(batch.ids[i].clone()).or_default().push(image);
        }
    }
    assert_eq!(copies.len(), 2);
    for images in copies.values() {
        assert_eq!(images.len(), 4);
        assert!(images[1..].iter().all(|image| *image != images[0]));
    }
    for first in 0..=whole.len() {
        let rest: Vec<Batch> = stream.epoch_from(3, first).map(Result::unwrap).collect();
        assert_eq!(rest, whole[first..], "from {first}");
    }
}

#[test]
fn two_streams_that_cannot_be_are_refused() {
    let refused = |source: Fake, config: StreamConfig| {
        BatchStream::new(Arc::new(source), config).unwrap_err().to_string()
    };
    let error = refused(Fake::with_novel(3, 0), two_streams(4, 1));
    assert!(error.contains("3 base and 0 novel") && error.contains("novel_per_batch"), "{error}");
    assert!(refused(Fake::with_novel(0, 3), two_streams(4, 1)).contains("0 base and 3 novel"));
    assert!(refused(Fake::with_novel(3, 3), two_streams(4, 4)).contains("in a batch of 4"));
    let both = StreamConfig { balance_sources: true, ..two_streams(4, 1) };
    assert!(refused(Fake::with_novel(3, 3), both).contains("choose one"));
}

/// The generated cases with intensities from 0.3 to 0.7.
struct Mid(Fake);

impl CaseSource for Mid {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn id(&self, case: usize) -> &SampleId {
        self.0.id(case)
    }

    fn role(&self, case: usize) -> Role {
        self.0.role(case)
    }

    fn load(&self, case: usize) -> Result<Sample, LoadError> {
        let mut sample = self.0.load(case)?;
        let most = sample.image.pixels.iter().copied().fold(1.0, f32::max);
        sample.image.pixels.mapv_inplace(|v| 0.3 + 0.4 * v / most);
        Ok(sample)
    }
}

#[test]
fn noise_is_anew_each_time_has_its_strength_and_comes_before_normalisation() {
    let plain = |noise_sigma: f64| StreamConfig {
        noise_sigma,
        preprocess: PreprocessConfig { normalise: Normalise::None, ..PreprocessConfig::default() },
        augment: AugmentConfig::default(),
        ..two_streams(3, 2)
    };
    let stream = |config| BatchStream::new(Arc::new(Mid(Fake::with_novel(6, 2))), config).unwrap();
    let (clean, noisy) = (stream(plain(0.0)), stream(plain(0.05)));
    let (before, after) = (all(&clean, 1), all(&noisy, 1));
    assert_eq!(after, all(&noisy, 1));
    let mut copies: BTreeMap<SampleId, Array3<f32>> = BTreeMap::new();
    for (clean, noisy) in before.iter().zip(&after) {
        assert_eq!((&clean.ids, &clean.labels), (&noisy.ids, &noisy.labels));
        let added = &noisy.images - &clean.images;
        assert!((added.std(0.0) - 0.05).abs() < 0.01 && added.mean().unwrap().abs() < 0.01);
        for (i, image) in added.outer_iter().enumerate() {
            let (grey, rest) = (image.index_axis(Axis(0), 0), image.index_axis(Axis(0), 2));
            assert!((&grey - &rest).iter().all(|v| v.abs() < 1e-6), "grey stays grey");
            let image = image.to_owned();
            if let Some(other) = copies.insert(noisy.ids[i].clone(), image.clone()) {
                assert!((other - image).std(0.0) > 0.03, "every copy has its own noise");
            }
        }
    }
    let scaled = StreamConfig {
        preprocess: PreprocessConfig { channels: 1, ..PreprocessConfig::default() },
        ..plain(0.2)
    };
    for batch in all(&stream(scaled), 0) {
        for image in batch.images.outer_iter() {
            assert!((image.std(0.0) - 1.0).abs() < 1e-3 && image.mean().unwrap().abs() < 1e-3);
        }
    }
    let wild = BatchStream::new(Arc::new(Fake::with_novel(6, 2)), plain(0.1)).unwrap();
    let error = wild.epoch(0).find_map(Result::err).unwrap().to_string();
    assert!(error.contains("noise_sigma works on intensities from 0 to 1"), "{error}");
    assert!(BatchStream::new(Arc::new(Fake::new(4, 0)), plain(1.1)).is_err());
}

#[test]
fn harmonising_is_fitted_on_base_cases_alone_and_moves_the_others() {
    let preprocess =
        PreprocessConfig { channels: 1, normalise: Normalise::None, ..PreprocessConfig::default() };
    let fit = |novel| {
        let source = Mid(Fake::with_novel(5, novel));
        fit_harmonise(HarmoniseMethod::Histogram, &source, &preprocess).unwrap()
    };
    let fitted = fit(4);
    assert_eq!((fitted.images, fitted.passed_over.len()), (5, 0));
    assert_eq!(fitted, fit(0), "novel images take no part in the fit");
    let harmonise = Some(fitted.harmonise);
    let config = StreamConfig {
        preprocess: PreprocessConfig { harmonise, ..preprocess.clone() },
        augment: AugmentConfig::default(),
        ..config(3, 1)
    };
    let stream = BatchStream::new(Arc::new(Mid(Fake::with_novel(5, 4))), config).unwrap();
    let means: Vec<f32> = all(&stream, 0)
        .iter()
        .flat_map(|b| b.images.outer_iter().map(|i| i.mean().unwrap()).collect::<Vec<_>>())
        .collect();
    assert!(means.iter().all(|m| (m - means[0]).abs() < 2e-3), "{means:?}");
    let none = Mid(Fake::with_novel(0, 3));
    let error = fit_harmonise(HarmoniseMethod::Histogram, &none, &preprocess).unwrap_err();
    assert!(error.to_string().contains("base training images"), "{error}");
    let grey = Mid(Fake::with_novel(3, 0));
    let colour = PreprocessConfig { channels: 3, ..preprocess };
    let error = fit_harmonise(HarmoniseMethod::Macenko, &grey, &colour).unwrap_err().to_string();
    assert!(error.contains("a/case00") && error.contains("grey"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_larger_fraction_holds_the_smaller_one(
        base in 0_usize..6, novel in 0_usize..40, seed in any::<u64>(),
        one in 0.0_f64..=1.0, two in 0.0_f64..=1.0,
    ) {
        let source = Fake::with_novel(base, novel);
        let small = chosen(&source, Roles::All, one.min(two), seed);
        let large: BTreeSet<usize> =
            chosen(&source, Roles::All, one.max(two), seed).into_iter().collect();
        prop_assert!(small.iter().all(|case| large.contains(case)));
    }

    #[test]
    fn two_streams_keep_their_promise_for_any_numbers(
        base in 1_usize..20, novel in 1_usize..20, batch in 2_usize..7, share in 1_usize..6,
        epoch in 0_u64..1000, drop_last in any::<bool>(),
    ) {
        let share = share.min(batch - 1);
        let config = StreamConfig {
            drop_last, augment: AugmentConfig::default(), ..two_streams(batch, share)
        };
        if let Ok(stream) = BatchStream::new(Arc::new(Fake::with_novel(base, novel)), config) {
            let batches = all(&stream, epoch);
            prop_assert_eq!(batches.len(), stream.batches_per_epoch());
            let full = base / (batch - share);
            for (i, found) in batches.iter().enumerate() {
                let count = found.roles.iter().filter(|&&role| role == Role::Novel).count();
                prop_assert_eq!(count, share);
                let bases = if i < full { batch - share } else { base % (batch - share) };
                prop_assert_eq!(found.len() - count, bases);
            }
        }
    }

    #[test]
    fn an_epoch_has_the_promised_length(
        big in 1_usize..20, small in 0_usize..10, batch in 1_usize..6,
        drop_last in any::<bool>(), balance_sources in any::<bool>(), epoch in any::<u64>(),
    ) {
        let config = StreamConfig {
            drop_last, balance_sources, augment: AugmentConfig::default(), ..config(batch, 1)
        };
        if let Ok(stream) = BatchStream::new(Arc::new(Fake::new(big, small)), config) {
            let batches = all(&stream, epoch);
            prop_assert_eq!(batches.len(), stream.batches_per_epoch());
            let order: Vec<SampleId> = stream
                .order(epoch)
                .iter()
                .map(|d| stream.preparer.source.id(d.case).clone())
                .collect();
            let seen: Vec<SampleId> = batches.into_iter().flat_map(|b| b.ids).collect();
            prop_assert_eq!(&order[..seen.len()], &seen[..]);
            let distinct: BTreeSet<_> = order.iter().collect();
            prop_assert_eq!(distinct.len(), big + small);
        }
    }
}
