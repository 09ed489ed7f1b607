//! What one case and one source measure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ndarray::Array2;
use scant_core::{Image, PixelType, Role};
use scant_io::{Format, Limits};

use super::{ClassShare, SourceReport};
use crate::catalog::map_mask;
use crate::{DataError, Entry, Fingerprint, IntensityProfile, MaskValue, Pool};

/// An image whose grey values span less of `[0, 1]` than this (0.5th to 99.5th percentile) has a
/// low dynamic range.
pub(super) const LOW_RANGE: f64 = 0.25;

/// One case after reading it.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) format: Option<Format>,
    pub(super) channels: usize,
    pub(super) stored: Option<PixelType>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) profile: Option<IntensityProfile>,
    /// Pixels per class of the united masks, and their sum.
    pub(super) classes: Option<(Vec<u64>, u64)>,
    /// Values that are not listed, with their pixels.
    pub(super) unlisted: BTreeMap<MaskValue, u64>,
    /// Files whose ending names another format than their content.
    pub(super) disguised: Vec<(PathBuf, Format)>,
    /// What could not be read.
    pub(super) errors: Vec<(PathBuf, DataError)>,
    /// Two masks give different classes to a pixel: this is the second.
    pub(super) contradiction: Option<PathBuf>,
}

impl Measured {
    pub(super) fn of(pool: &Pool, entry: &Entry, limits: &Limits) -> Self {
        let mut out = Self::default();
        for path in std::iter::once(&entry.image).chain(&entry.masks) {
            if let Ok(header) = scant_io::read_header(path, limits) {
                if path == &entry.image {
                    out.format = Some(header.format);
                }
                if disagrees(path, header.format) {
                    out.disguised.push((path.clone(), header.format));
                }
            }
        }
        match scant_io::read_image(&entry.image, limits) {
            Ok(image) => out.take_image(&image),
            Err(error) => out.errors.push((entry.image.clone(), error.into())),
        }
        if entry.role != Role::Unlabelled {
            out.take_masks(pool, entry, limits);
        }
        out
    }

    fn take_image(&mut self, image: &Image) {
        self.channels = image.channels();
        self.stored = Some(image.stored);
        self.fingerprint = Fingerprint::of(image);
        self.profile = IntensityProfile::of(image);
    }

    fn take_masks(&mut self, pool: &Pool, entry: &Entry, limits: &Limits) {
        let mut united: Array2<u8> = Array2::zeros(entry.size);
        let mut whole = true;
        for path in &entry.masks {
            let mask = match scant_io::read_mask(path, limits) {
                Ok(mask) => mask,
                Err(error) => {
                    self.errors.push((path.clone(), error.into()));
                    whole = false;
                    continue;
                }
            };
            if mask.values.dim() != united.dim() {
                let error = DataError::SizeMismatch {
                    image: entry.image.clone(),
                    mask: path.clone(),
                    image_size: united.dim(),
                    mask_size: mask.values.dim(),
                };
                self.errors.push((path.clone(), error));
                whole = false;
                continue;
            }
            let mapped = map_mask(pool, entry.source, &mask);
            for ((new, raw), old) in mapped.iter().zip(&mask.values).zip(&mut united) {
                match *new {
                    None => {
                        let value = MaskValue::of_pixel(*raw, mask.encoding);
                        *self.unlisted.entry(value).or_default() += 1;
                    }
                    Some(0) => {}
                    Some(class) if *old == 0 || *old == class => *old = class,
                    Some(_) => self.contradiction = Some(path.clone()),
                }
            }
        }
        if whole {
            let mut counts = vec![0; pool.classes.len()];
            for id in &united {
                counts[usize::from(*id)] += 1;
            }
            self.classes = Some((counts, united.len() as u64));
        }
    }

    /// Whether the image uses little of its range.
    pub(super) fn is_low_range(&self) -> bool {
        self.profile.as_ref().is_some_and(|p| p.core_range.1 - p.core_range.0 < LOW_RANGE)
    }

    /// Whether every sample of every channel is the same.
    pub(super) fn is_constant(&self) -> bool {
        self.profile.as_ref().is_some_and(|p| p.range.0 == p.range.1)
    }
}

/// Whether the ending of a name promises another format.
fn disagrees(path: &std::path::Path, format: Format) -> bool {
    let promised = match crate::pool::selection::extension(path).as_str() {
        "png" => Format::Png,
        "jpg" | "jpeg" | "jpe" | "jfif" => Format::Jpeg,
        "bmp" => Format::Bmp,
        "tif" | "tiff" => Format::Tiff,
        _ => return false,
    };
    promised != format
}

fn count<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut out = BTreeMap::new();
    for key in keys {
        *out.entry(key).or_default() += 1;
    }
    out
}

/// Sums up a source.
pub(super) fn report(pool: &Pool, index: usize, cases: &[(&Entry, &Measured)]) -> SourceReport {
    let source = &pool.sources[index];
    let groups = count(cases.iter().map(|(e, _)| &e.id.group));
    let channels = count(cases.iter().filter(|(_, m)| m.channels > 0).map(|(_, m)| m.channels));
    let usual = channels.iter().max_by_key(|(_, n)| **n).map_or(0, |(c, _)| *c);
    let side = |pick: fn(&(usize, usize)) -> usize, largest: bool| {
        let sides = cases.iter().map(|(e, _)| pick(&e.size));
        if largest { sides.max() } else { sides.min() }.unwrap_or(0)
    };
    let profiles: Vec<&IntensityProfile> =
        cases.iter().filter_map(|(_, m)| m.profile.as_ref()).collect();
    let alike: Vec<&&IntensityProfile> =
        profiles.iter().filter(|p| p.mean.len() == usual).collect();
    let average = |pick: &dyn Fn(&IntensityProfile) -> f64, of: &[&&IntensityProfile]| {
        of.iter().map(|p| pick(p)).sum::<f64>() / of.len().max(1) as f64
    };
    let all: Vec<&&IntensityProfile> = profiles.iter().collect();
    let mut unlisted: BTreeMap<String, u64> = BTreeMap::new();
    for (value, pixels) in cases.iter().flat_map(|(_, m)| &m.unlisted) {
        *unlisted.entry(value.to_string()).or_default() += pixels;
    }
    let range = profiles.iter().map(|p| p.range).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    SourceReport {
        name: source.name.clone(),
        role: source.role,
        images: cases.len(),
        groups: groups.len(),
        largest_group: groups.values().copied().max().unwrap_or(0),
        sizes: count(cases.iter().map(|(e, _)| format!("{} x {}", e.size.0, e.size.1))),
        smallest: [side(|s| s.0, false), side(|s| s.1, false)],
        largest: [side(|s| s.0, true), side(|s| s.1, true)],
        stored: count(
            cases.iter().filter_map(|(_, m)| m.stored).map(|s| format!("{s:?}").to_lowercase()),
        ),
        formats: count(cases.iter().filter_map(|(_, m)| m.format).map(|f| f.to_string())),
        channels,
        spacing_mm: source.spacing_mm,
        mean: (0..usual).map(|c| average(&|p| p.mean[c], &alike)).collect(),
        sd: (0..usual).map(|c| average(&|p| p.sd[c], &alike)).collect(),
        percentiles: (!all.is_empty())
            .then(|| [0, 1, 2].map(|i| average(&|p| p.percentiles()[i], &all))),
        range: range.map(|(low, high)| [f64::from(low), f64::from(high)]),
        low_range: cases.iter().filter(|(_, m)| m.is_low_range()).count(),
        shares: shares(pool, index, cases),
        empty_masks: cases.iter().filter(|(_, m)| is_empty(pool, index, m)).count(),
        unlisted_values: unlisted,
    }
}

/// Whether no annotated class has a pixel.
pub(super) fn is_empty(pool: &Pool, source: usize, measured: &Measured) -> bool {
    measured.classes.as_ref().is_some_and(|(counts, _)| {
        let drawn = &pool.sources[source].annotated;
        pool.classes.foreground().all(|id| !drawn.has(id) || counts[usize::from(id)] == 0)
    })
}

fn shares(pool: &Pool, index: usize, cases: &[(&Entry, &Measured)]) -> Vec<ClassShare> {
    let source = &pool.sources[index];
    let read: Vec<&(Vec<u64>, u64)> =
        cases.iter().filter_map(|(_, m)| m.classes.as_ref()).collect();
    let whole: u64 = read.iter().map(|(_, all)| all).sum();
    let drawn: BTreeSet<u8> =
        pool.classes.foreground().filter(|id| source.annotated.has(*id)).collect();
    drawn
        .into_iter()
        .map(|id| {
            let mut pixels: Vec<u64> =
                read.iter().map(|(counts, _)| counts[usize::from(id)]).filter(|n| *n > 0).collect();
            pixels.sort_unstable();
            let middle = pixels.get(pixels.len() / 2).copied();
            ClassShare {
                class: pool.classes.name(id).into(),
                pixel_share: pixels.iter().sum::<u64>() as f64 / whole.max(1) as f64,
                images: pixels.len(),
                pixels: middle.map(|m| [pixels[0], m, pixels[pixels.len() - 1]]),
            }
        })
        .collect()
}
