//! How far apart the sources are, in intensities.
//!
//! Two figures per pair of sources, both on three channels (grey repeated, alpha dropped):
//!
//! - **`wasserstein`**: the 1-D Wasserstein-1 distance between the sources' mean intensity histograms
//!   (256 bins over `[0, 1]`), averaged over channels: the share of the full intensity range by
//!   which the grey values of one source have to be moved, on average, to become those of the other.
//!   Its `p_value` tells how often a random re-assignment of *groups* to the two sources gives
//!   a distance as large (permutation test with +1 correction, Phipson & Smyth 2010, 199 draws).
//! - **`auc`**: how well a nearest-centroid rule on six simple features of an image tells which of the two
//!   sources it comes from, every group judged by a rule learned from the other groups: 0.5 or less: not at
//!   all; 1: always. High values mean that a network can learn the site instead of the disease.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use scant_core::Image;
use serde::Serialize;

/// Bins of an intensity histogram.
const BINS: usize = 256;
/// Random re-assignments of groups.
const PERMUTATIONS: usize = 199;
/// Features of one image: mean, standard deviation, 5th, 50th and 95th percentile of the grey value,
/// and mean absolute difference of neighbouring pixels.
const FEATURES: usize = 6;

/// Intensities of one image.
#[derive(Debug, Clone)]
pub struct IntensityProfile {
    /// Cumulative share of pixels per bin, per channel (3).
    cumulative: Vec<f32>,
    features: [f64; FEATURES],
    /// Mean per channel as stored.
    pub mean: Vec<f64>,
    /// Standard deviation per channel.
    pub sd: Vec<f64>,
    /// Smallest and largest sample.
    pub range: (f32, f32),
    /// 0.5th and 99.5th percentile of the grey value.
    pub core_range: (f64, f64),
}

impl IntensityProfile {
    /// The profile of a planar image, or `None` for a volume.
    ///
    /// Samples outside `[0, 1]` (floating-point files) count as the nearest bound in histograms.
    #[must_use]
    pub fn of(image: &Image) -> Option<Self> {
        let pixels = image.as_planar()?;
        let (stored, rows, columns) = pixels.dim();
        let colour = if matches!(stored, 2 | 4) { stored - 1 } else { stored };
        let plane = |c: usize| pixels.index_axis(ndarray::Axis(0), c);
        let count = (rows * columns) as f64;
        let (mut mean, mut sd) = (Vec::new(), Vec::new());
        let mut range = (f32::INFINITY, f32::NEG_INFINITY);
        for c in 0..colour {
            let (mut sum, mut squares) = (0.0, 0.0);
            for &v in plane(c) {
                sum += f64::from(v);
                squares += f64::from(v) * f64::from(v);
                range = (range.0.min(v), range.1.max(v));
            }
            mean.push(sum / count);
            sd.push((squares / count - (sum / count).powi(2)).max(0.0).sqrt());
        }
        let mut cumulative = Vec::with_capacity(3 * BINS);
        for c in 0..3 {
            let mut bins = [0u32; BINS];
            for &v in plane(c.min(colour - 1)) {
                bins[bin(v)] += 1;
            }
            let mut below = 0u64;
            for n in bins {
                below += u64::from(n);
                cumulative.push((below as f64 / count) as f32);
            }
        }
        let grey = match colour {
            1 => plane(0).to_owned(),
            n => pixels.slice(ndarray::s![..n, .., ..]).mean_axis(ndarray::Axis(0))?,
        };
        let mut bins = [0u64; BINS];
        let (mut sum, mut squares, mut steps, mut pairs) = (0.0, 0.0, 0.0, 0u64);
        for row in grey.rows() {
            let mut last = None;
            for &v in row {
                bins[bin(v)] += 1;
                sum += f64::from(v);
                squares += f64::from(v) * f64::from(v);
                if let Some(last) = last {
                    steps += f64::from(v - last).abs();
                    pairs += 1;
                }
                last = Some(v);
            }
        }
        let percentile = |q: f64| {
            let target = (q * count).max(1.0);
            let mut below = 0.0;
            let at = bins.iter().position(|n| {
                below += *n as f64;
                below >= target
            });
            at.unwrap_or(BINS - 1) as f64 / (BINS - 1) as f64
        };
        let grey_mean = sum / count;
        let features = [
            grey_mean,
            (squares / count - grey_mean.powi(2)).max(0.0).sqrt(),
            percentile(0.05),
            percentile(0.5),
            percentile(0.95),
            steps / pairs.max(1) as f64,
        ];
        let core_range = (percentile(0.005), percentile(0.995));
        Some(Self { cumulative, features, mean, sd, range, core_range })
    }

    /// Mean, standard deviation, 5th, 50th and 95th percentile of the grey value, and mean absolute
    /// difference of neighbouring pixels.
    #[must_use]
    pub fn features(&self) -> &[f64] {
        &self.features
    }

    /// 5th, 50th and 95th percentile of the grey value.
    #[must_use]
    pub fn percentiles(&self) -> [f64; 3] {
        [self.features[2], self.features[3], self.features[4]]
    }
}

fn bin(value: f32) -> usize {
    // Not-a-number becomes 0 by the cast.
    (value.clamp(0.0, 1.0) * (BINS - 1) as f32).round() as usize
}

/// Distance between two sources.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceDistance {
    /// One source.
    pub a: String,
    /// The other.
    pub b: String,
    /// Share of the intensity range to be moved; see the module text.
    pub wasserstein: f64,
    /// Share of random re-assignments of groups with a distance as large.
    pub p_value: f64,
    /// How well simple features tell the sources apart; `None` with fewer than two groups on a side.
    pub auc: Option<f64>,
    /// The same in plain words.
    pub meaning: String,
}

/// Images of one source: group and profile.
pub type Profiles<'a> = Vec<(&'a str, &'a IntensityProfile)>;

/// Distances of all pairs of sources, in the order of their names.
#[must_use]
pub fn source_distances(sources: &BTreeMap<String, Profiles<'_>>) -> Vec<SourceDistance> {
    let all: Vec<_> = sources.iter().filter(|(_, p)| !p.is_empty()).collect();
    let mut out = Vec::new();
    for (i, (a, pa)) in all.iter().enumerate() {
        for (b, pb) in &all[i + 1..] {
            out.push(between(a, pa, b, pb));
        }
    }
    out
}

/// Sum of the cumulative histograms of a group, and its number of images.
type GroupSum = (Vec<f64>, usize);

fn group_sums(profiles: &Profiles<'_>) -> Vec<GroupSum> {
    let mut sums: BTreeMap<&str, GroupSum> = BTreeMap::new();
    for (group, profile) in profiles {
        let sum = sums.entry(group).or_insert_with(|| (vec![0.0; 3 * BINS], 0));
        for (s, v) in sum.0.iter_mut().zip(&profile.cumulative) {
            *s += f64::from(*v);
        }
        sum.1 += 1;
    }
    sums.into_values().collect()
}

fn wasserstein(a: &[&GroupSum], b: &[&GroupSum]) -> f64 {
    let mean = |groups: &[&GroupSum]| {
        let images: usize = groups.iter().map(|g| g.1).sum();
        let mut sum = vec![0.0; 3 * BINS];
        for group in groups {
            for (s, v) in sum.iter_mut().zip(&group.0) {
                *s += v / images as f64;
            }
        }
        sum
    };
    let moved: f64 = mean(a).iter().zip(mean(b)).map(|(x, y)| (x - y).abs()).sum();
    moved / (3 * (BINS - 1)) as f64
}

fn between(a: &str, pa: &Profiles<'_>, b: &str, pb: &Profiles<'_>) -> SourceDistance {
    let (sa, sb) = (group_sums(pa), group_sums(pb));
    let observed = wasserstein(&sa.iter().collect::<Vec<_>>(), &sb.iter().collect::<Vec<_>>());
    let mut all: Vec<&GroupSum> = sa.iter().chain(&sb).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let as_large = (0..PERMUTATIONS)
        .filter(|_| {
            all.shuffle(&mut rng);
            // Equal within rounding counts as large.
            wasserstein(&all[..sa.len()], &all[sa.len()..]) >= observed - 1e-12
        })
        .count();
    let p_value = (1 + as_large) as f64 / (1 + PERMUTATIONS) as f64;
    let auc = separability(pa, pb);
    let meaning = words(observed, p_value, auc);
    SourceDistance { a: a.into(), b: b.into(), wasserstein: observed, p_value, auc, meaning }
}

fn words(distance: f64, p_value: f64, auc: Option<f64>) -> String {
    let moved = format!("grey values differ by {:.1} % of the range on average", 100.0 * distance);
    let told = match auc {
        None => "too few groups to say how well the sources can be told apart".to_string(),
        Some(auc) if auc >= 0.95 => {
            format!("simple features tell the sources apart (AUC {auc:.2})")
        }
        Some(auc) if auc >= 0.75 => format!("the sources can often be told apart (AUC {auc:.2})"),
        Some(auc) => format!("simple features hardly tell them apart (AUC {auc:.2})"),
    };
    let sure = if p_value <= 0.05 { "" } else { ", which chance may explain" };
    format!("{moved}{sure}; {told}")
}

/// Area under the curve of the nearest-centroid score, each group left out in turn.
fn separability(pa: &Profiles<'_>, pb: &Profiles<'_>) -> Option<f64> {
    let cases: Vec<(bool, &str, &[f64; FEATURES])> = pa
        .iter()
        .map(|(g, p)| (false, *g, &p.features))
        .chain(pb.iter().map(|(g, p)| (true, *g, &p.features)))
        .collect();
    let groups: BTreeSet<(bool, &str)> = cases.iter().map(|c| (c.0, c.1)).collect();
    if [false, true].iter().any(|side| groups.iter().filter(|g| g.0 == *side).count() < 2) {
        return None;
    }
    let mut scores: Vec<(f64, bool)> = Vec::with_capacity(cases.len());
    for left_out in groups {
        let is_out = |c: &&(bool, &str, &[f64; FEATURES])| (c.0, c.1) == left_out;
        let rule = Centroids::learn(cases.iter().filter(|c| !is_out(c)).map(|c| (c.0, c.2)));
        scores.extend(cases.iter().filter(is_out).map(|c| (rule.score(c.2), c.0)));
    }
    let (mut wins, mut pairs) = (0.0, 0.0);
    for (high, _) in scores.iter().filter(|s| s.1) {
        for (low, _) in scores.iter().filter(|s| !s.1) {
            pairs += 1.0;
            wins += match high.total_cmp(low) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    Some(wins / pairs)
}

/// Class means of features scaled by their pooled within-class deviation.
struct Centroids {
    mean: [[f64; FEATURES]; 2],
    sd: [f64; FEATURES],
}

impl Centroids {
    fn learn<'a>(cases: impl Iterator<Item = (bool, &'a [f64; FEATURES])>) -> Self {
        let cases: Vec<_> = cases.collect();
        let mut mean = [[0.0; FEATURES]; 2];
        let mut sd = [0.0; FEATURES];
        let count = |side: bool| cases.iter().filter(|c| c.0 == side).count().max(1) as f64;
        let counts = [count(false), count(true)];
        for (side, features) in &cases {
            for f in 0..FEATURES {
                mean[usize::from(*side)][f] += features[f] / counts[usize::from(*side)];
            }
        }
        for f in 0..FEATURES {
            let squares: f64 =
                cases.iter().map(|(s, x)| (x[f] - mean[usize::from(*s)][f]).powi(2)).sum();
            sd[f] = (squares / cases.len().max(1) as f64).sqrt();
        }
        Self { mean, sd }
    }

    /// Nearer to the second class: larger.
    fn score(&self, features: &[f64; FEATURES]) -> f64 {
        (0..FEATURES)
            .map(|f| {
                let scale = self.sd[f].max(1e-6);
                let away = |side: usize| ((features[f] - self.mean[side][f]) / scale).powi(2);
                away(0) - away(1)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use rand::Rng;
    use scant_core::PixelType;

    use super::*;

    fn profile(seed: u64, level: f32) -> IntensityProfile {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pixels = Array3::from_shape_fn((1, 20, 20), |_| level + rng.random_range(-0.1f32..0.1));
        IntensityProfile::of(&Image::planar(pixels, PixelType::U8)).unwrap()
    }

    fn distance(a: f32, b: f32) -> SourceDistance {
        let groups: Vec<String> = (0..8).map(|g| g.to_string()).collect();
        let make = |seed: u64, level: f32| -> Vec<IntensityProfile> {
            // Images vary a little among themselves.
            (0..8).map(|i| profile(seed + i, level + 0.002 * (i * i % 7) as f32)).collect()
        };
        let (pa, pb) = (make(100, a), make(200, b));
        let named = |p: &'static str| p.to_string();
        let profiles = |p: &'_ [IntensityProfile]| -> Vec<IntensityProfile> { p.to_vec() };
        let (pa, pb) = (profiles(&pa), profiles(&pb));
        let mut sources = BTreeMap::new();
        sources.insert(named("a"), groups.iter().map(String::as_str).zip(&pa).collect());
        sources.insert(named("b"), groups.iter().map(String::as_str).zip(&pb).collect());
        source_distances(&sources).remove(0)
    }

    #[test]
    fn a_shift_of_intensity_is_the_wasserstein_distance() {
        let far = distance(0.3, 0.5);
        assert!((far.wasserstein - 0.2).abs() < 0.005, "{far:?}");
        assert!(far.p_value < 0.01 && far.auc == Some(1.0), "{far:?}");
    }

    #[test]
    fn two_draws_of_one_source_are_near() {
        let near = distance(0.4, 0.4);
        assert!(near.wasserstein < 0.01 && near.p_value > 0.05, "{near:?}");
        assert!(near.auc.is_some_and(|auc| auc < 0.85), "{near:?}");
        assert!(near.meaning.contains("chance may explain"), "{near:?}");
    }

    #[test]
    fn the_profile_knows_plain_numbers() {
        let pixels = Array3::from_shape_fn((3, 2, 2), |(c, _, x)| c as f32 * 0.1 + x as f32 * 0.4);
        let got = IntensityProfile::of(&Image::planar(pixels, PixelType::U8)).unwrap();
        assert!((got.mean[0] - 0.2).abs() < 1e-6 && (got.mean[2] - 0.4).abs() < 1e-6);
        assert!((got.sd[1] - 0.2).abs() < 1e-6);
        assert_eq!(got.range, (0.0, 0.6));
        // Grey: 0.1 and 0.5, half each; steps of 0.4.
        assert!((got.features[5] - 0.4).abs() < 1e-6);
        assert!((got.percentiles()[2] - 0.5).abs() < 0.003);
    }
}
