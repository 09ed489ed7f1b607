//! Images that are the same, or nearly the same, under different names.
//!
//! Exact: equal decoded pixels, whatever the file format. Near: resized, recompressed, cropped a
//! little, with other burnt-in marks, or neighbouring frames of one sweep. Candidates come from a
//! 64-bit difference hash (N. Krawetz, "Kind of like that", 2013: is a pixel of the 9 x 8 thumbnail brighter
//! than its left neighbour); each is then verified by *local agreement*: the high-pass filtered
//! 64 x 64 thumbnail is cut into 16 x 16 blocks, every textured block looks for its best normalised
//! correlation in the other image within 4 pixels, and the median over blocks is the similarity.
//! Different patients filling the field in the same way (cell in the centre, fan-shaped sector, same
//! organ) agree in outline but not block by block; a copy agrees in nearly every block.

mod thumbnail;

use std::collections::BTreeMap;

use rayon::prelude::*;
use scant_core::{Image, SampleId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use thumbnail::Thumbnail;

/// Hashes that differ in more of their 64 bits are not looked at further.
const MOST_DIFFERING_BITS: u32 = 16;
/// Correlation of the whole high-pass thumbnails below which blocks are not compared.
const LEAST_GLOBAL: f32 = 0.3;
/// Median block correlation from which two images count as nearly the same.
///
/// Chosen on breast, nerve and heart images, cells and tissue sections: copies (resized, cropped,
/// shifted) and neighbouring frames have 0.79 and more, look-alikes of different patients 0.77 at
/// most. Between the two a few pairs will be judged wrongly, so pairs are shown, never removed.
pub const NEAR_DUPLICATE: f64 = 0.78;

/// What of an image is kept to find it again.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    exact: [u8; 32],
    thumbnail: Thumbnail,
}

impl Fingerprint {
    /// The fingerprint of a planar image, or `None` for a volume.
    ///
    /// An alpha channel is not looked at, and three equal channels count as grey.
    #[must_use]
    pub fn of(image: &Image) -> Option<Self> {
        let pixels = image.as_planar()?;
        let colour = match pixels.dim().0 {
            2 | 4 => pixels.dim().0 - 1,
            n => n,
        };
        let first = pixels.index_axis(ndarray::Axis(0), 0);
        let grey = (1..colour).all(|c| pixels.index_axis(ndarray::Axis(0), c) == first);
        let channels = if grey { 1 } else { colour };
        let mut hash = Sha256::new();
        for n in [channels, pixels.dim().1, pixels.dim().2] {
            hash.update((n as u64).to_le_bytes());
        }
        for c in 0..channels {
            let mut bytes = Vec::with_capacity(first.len() * 4);
            for v in pixels.index_axis(ndarray::Axis(0), c) {
                bytes.extend(v.to_le_bytes());
            }
            hash.update(&bytes);
        }
        let luma = match channels {
            1 => first.to_owned(),
            n => pixels.slice(ndarray::s![..n, .., ..]).mean_axis(ndarray::Axis(0))?,
        };
        Some(Self { exact: hash.finalize().into(), thumbnail: Thumbnail::of(&luma) })
    }

    /// Whether all decoded pixels are equal.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.exact == other.exact
    }

    /// Local agreement in `[-1, 1]`, or `None` when the images are too different to be compared in
    /// detail, or too plain.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> Option<f64> {
        let (a, b) = (&self.thumbnail, &other.thumbnail);
        if (a.hash ^ b.hash).count_ones() > MOST_DIFFERING_BITS || a.correlation(b) < LEAST_GLOBAL {
            return None;
        }
        Some(f64::from(a.local_agreement(b)?.min(b.local_agreement(a)?)))
    }
}

/// How two images are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Likeness {
    /// All pixels equal.
    Exact,
    /// Nearly the same picture.
    Near,
}

/// Two cases of different groups with the same or nearly the same image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DuplicatePair {
    /// The first case in the order of the catalog.
    pub a: SampleId,
    /// The second.
    pub b: SampleId,
    /// How they are alike.
    pub likeness: Likeness,
    /// Median block correlation; 1 for exact duplicates.
    pub similarity: f64,
}

/// Pairs within groups, which are expected (slices, frames) and only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct WithinGroups {
    /// Exact pairs.
    pub exact: usize,
    /// Near pairs.
    pub near: usize,
}

/// What the search found.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Duplicates {
    /// Pairs across groups: these leak when a split separates them.
    pub pairs: Vec<DuplicatePair>,
    /// Pairs within groups, per source.
    pub within_groups: BTreeMap<String, WithinGroups>,
}

impl Duplicates {
    /// The pairs in the form [`crate::SplitSpec::keep_together`] takes.
    #[must_use]
    pub fn keep_together(&self) -> Vec<(SampleId, SampleId)> {
        self.pairs.iter().map(|p| (p.a.clone(), p.b.clone())).collect()
    }
}

/// Compares every image with every other.
///
/// Pairs come in the order of `images`; the search is quadratic in cheap bit operations and touches
/// pixels only for candidates.
#[must_use]
pub fn find_duplicates(images: &[(&SampleId, &Fingerprint)]) -> Duplicates {
    let alike = |i: usize, j: usize| {
        let (a, b) = (images[i].1, images[j].1);
        if a.is_same(b) {
            return Some((i, j, Likeness::Exact, 1.0));
        }
        let similarity = a.similarity(b).filter(|s| *s >= NEAR_DUPLICATE)?;
        Some((i, j, Likeness::Near, similarity))
    };
    let found: Vec<_> = (0..images.len())
        .into_par_iter()
        .flat_map_iter(|i| (i + 1..images.len()).filter_map(move |j| alike(i, j)))
        .collect();
    let mut out = Duplicates::default();
    for (i, j, likeness, similarity) in found {
        let (a, b) = (images[i].0, images[j].0);
        if a.source == b.source && a.group == b.group {
            let counts = out.within_groups.entry(a.source.clone()).or_default();
            match likeness {
                Likeness::Exact => counts.exact += 1,
                Likeness::Near => counts.near += 1,
            }
        } else {
            out.pairs.push(DuplicatePair { a: a.clone(), b: b.clone(), likeness, similarity });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use scant_core::PixelType;

    use super::*;

    /// Smooth random texture, different for every seed.
    fn texture(seed: u64, rows: usize, columns: usize) -> Array3<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let waves: Vec<[f32; 4]> = (0..60)
            .map(|_| {
                [
                    rng.random_range(-60.0..60.0),
                    rng.random_range(-60.0..60.0),
                    rng.random_range(0.0..6.3),
                    rng.random_range(0.2..1.0),
                ]
            })
            .collect();
        Array3::from_shape_fn((1, rows, columns), |(_, r, c)| {
            let (y, x) = (r as f32 / rows as f32, c as f32 / columns as f32);
            let sum: f32 = waves.iter().map(|w| w[3] * (w[0] * y + w[1] * x + w[2]).sin()).sum();
            (0.5 + sum / 60.0).clamp(0.0, 1.0)
        })
    }

    fn print(pixels: Array3<f32>) -> Fingerprint {
        Fingerprint::of(&Image::planar(pixels, PixelType::U8)).unwrap()
    }

    #[test]
    fn grey_written_as_rgb_or_with_alpha_is_the_same_image() {
        let grey = texture(1, 40, 50);
        let rgb = Array3::from_shape_fn((3, 40, 50), |(_, r, c)| grey[[0, r, c]]);
        let mut rgba = Array3::ones((4, 40, 50));
        rgba.slice_mut(s![..3, .., ..]).assign(&rgb);
        assert!(print(grey.clone()).is_same(&print(rgb.clone())));
        assert!(print(grey.clone()).is_same(&print(rgba)));
        let mut tinted = rgb;
        tinted[[2, 0, 0]] += 0.01;
        assert!(!print(grey).is_same(&print(tinted)));
    }

    #[test]
    fn resizing_cropping_and_noise_keep_a_copy_near() {
        let original = texture(2, 300, 400);
        let stretched = texture(2, 256, 256);
        let cropped = original.slice(s![.., 6..294, 8..392]).to_owned();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let noisy = original.mapv(|v| v * 0.8 + 0.05 + rng.random_range(-0.05..0.05));
        let a = print(original);
        for (name, other) in [("stretched", stretched), ("cropped", cropped), ("noisy", noisy)] {
            let b = print(other);
            assert!(!a.is_same(&b));
            let similarity = a.similarity(&b);
            assert!(similarity.is_some_and(|s| s > NEAR_DUPLICATE), "{name}: {similarity:?}");
        }
    }

    #[test]
    fn different_textures_are_never_near() {
        let prints: Vec<_> = (10..50).map(|seed| print(texture(seed, 96, 128))).collect();
        for (i, a) in prints.iter().enumerate() {
            for b in &prints[i + 1..] {
                assert!(a.similarity(b).is_none_or(|s| s < NEAR_DUPLICATE));
            }
        }
    }

    #[test]
    fn plain_images_are_compared_exactly_only() {
        let plain = print(Array3::from_elem((1, 30, 30), 0.5));
        let darker = print(Array3::from_elem((1, 30, 30), 0.4));
        assert_eq!(plain.similarity(&darker), None);
        assert!(!plain.is_same(&darker));
    }

    #[test]
    fn pairs_within_a_group_are_counted_and_across_groups_listed() {
        let id = |group: &str, stem: &str| SampleId {
            source: "s".into(),
            group: group.into(),
            stem: stem.into(),
        };
        let ids = [id("1", "a"), id("1", "b"), id("2", "c"), id("3", "d")];
        let same = print(texture(5, 64, 64));
        let other = print(texture(6, 64, 64));
        let found = find_duplicates(&[
            (&ids[0], &same),
            (&ids[1], &same),
            (&ids[2], &same),
            (&ids[3], &other),
        ]);
        assert_eq!(found.within_groups["s"], WithinGroups { exact: 1, near: 0 });
        assert_eq!(
            found.keep_together(),
            [(ids[0].clone(), ids[2].clone()), (ids[1].clone(), ids[2].clone())]
        );
    }
}
