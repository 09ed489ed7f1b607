//! A look at every pixel of a pool before anything is learned from it.

mod findings;
mod measure;
mod text;

use std::collections::BTreeMap;

use rayon::prelude::*;
use scant_core::{Role, SampleId};
use scant_io::Limits;
use serde::Serialize;

use crate::distance::{Profiles, source_distances};
use crate::{
    Catalog, Duplicates, Fingerprint, Part, Pool, Problem, SourceDistance, Split, find_duplicates,
};

use measure::Measured;
pub use text::render_text;

/// How to inspect.
#[derive(Debug, Clone, Copy, Default)]
pub struct InspectOptions<'a> {
    /// Bounds for reading files.
    pub limits: Limits,
    /// A split to check duplicates against.
    pub split: Option<&'a Split>,
}

/// What an inspection found. Field names are those of `--json` and stay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Name of the pool.
    pub pool: String,
    /// Classes, background first.
    pub classes: Vec<String>,
    /// What was inferred or assumed when the pool was opened.
    pub notes: Vec<String>,
    /// Usable images.
    pub images: usize,
    /// Of these, images of labelled sources.
    pub labelled: usize,
    /// Groups over all sources.
    pub groups: usize,
    /// One entry per source.
    pub sources: Vec<SourceReport>,
    /// Class to source to whether it was drawn there.
    pub annotated: BTreeMap<String, BTreeMap<String, bool>>,
    /// Same and nearly the same images.
    pub duplicates: Duplicates,
    /// Pairs that a given split separates.
    pub leaks: Vec<Leak>,
    /// Distances between sources.
    pub distances: Vec<SourceDistance>,
    /// Images per part of the given split.
    pub split: Option<BTreeMap<String, usize>>,
    /// Everything found wrong, errors first.
    pub problems: Vec<Problem>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Usable images.
    pub images: usize,
    /// Groups among them.
    pub groups: usize,
    /// Images in the largest group.
    pub largest_group: usize,
    /// `"rows x columns"` to number of images.
    pub sizes: BTreeMap<String, usize>,
    /// Smallest rows and smallest columns.
    pub smallest: [usize; 2],
    /// Largest rows and largest columns.
    pub largest: [usize; 2],
    /// Number of channels to number of images.
    pub channels: BTreeMap<usize, usize>,
    /// Stored sample type to number of images.
    pub stored: BTreeMap<String, usize>,
    /// File format (by content) to number of images.
    pub formats: BTreeMap<String, usize>,
    /// Row and column spacing in millimetres, if the pool gives it.
    pub spacing_mm: Option<[f64; 2]>,
    /// Mean intensity per channel of the images with the most frequent number of channels.
    pub mean: Vec<f64>,
    /// Standard deviation within an image, averaged, per channel.
    pub sd: Vec<f64>,
    /// 5th, 50th and 95th percentile of the grey value, averaged over images.
    pub percentiles: Option<[f64; 3]>,
    /// Smallest and largest sample.
    pub range: Option<[f64; 2]>,
    /// Images that use less than a quarter of the intensity range.
    pub low_range: usize,
    /// Foreground classes drawn here, and how much of them there is.
    pub shares: Vec<ClassShare>,
    /// Labelled images in which no annotated class has a pixel.
    pub empty_masks: usize,
    /// Mask values that `values` does not list, as written there, to pixels.
    pub unlisted_values: BTreeMap<String, u64>,
}

/// How much of a class there is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassShare {
    /// The class.
    pub class: String,
    /// Share of all pixels of the source's readable masks.
    pub pixel_share: f64,
    /// Images with at least one pixel.
    pub images: usize,
    /// Smallest, median and largest number of pixels on the images that have it.
    pub pixels: Option<[u64; 3]>,
}

/// A pair of like images in different parts of a split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leak {
    /// One case.
    pub a: SampleId,
    /// Its part.
    pub a_part: Part,
    /// The other case.
    pub b: SampleId,
    /// Its part.
    pub b_part: Part,
}

/// Reads every image and mask, in parallel, and reports what is there and what is wrong with it.
///
/// Files that turn out to be unreadable are listed among the problems, never passed over in
/// silence. Memory: about 8 kB per image.
#[must_use]
pub fn inspect(pool: &Pool, catalog: &Catalog, options: &InspectOptions<'_>) -> Inspection {
    let measured: Vec<Measured> = catalog
        .entries
        .par_iter()
        .map(|entry| Measured::of(pool, entry, &options.limits))
        .collect();
    let prints: Vec<(&SampleId, &Fingerprint)> = catalog
        .entries
        .iter()
        .zip(&measured)
        .filter_map(|(e, m)| Some((&e.id, m.fingerprint.as_ref()?)))
        .collect();
    let duplicates = find_duplicates(&prints);
    let mut profiles: BTreeMap<String, Profiles<'_>> = BTreeMap::new();
    for (entry, one) in catalog.entries.iter().zip(&measured) {
        if let Some(profile) = &one.profile {
            let list = profiles.entry(entry.id.source.clone()).or_default();
            list.push((&entry.id.group, profile));
        }
    }
    let sources: Vec<SourceReport> = (0..pool.sources.len())
        .map(|index| {
            let of_source: Vec<_> =
                catalog.entries.iter().zip(&measured).filter(|(e, _)| e.source == index).collect();
            measure::report(pool, index, &of_source)
        })
        .collect();
    let leaks = options.split.map(|s| leaks(&duplicates, s)).unwrap_or_default();
    let problems = findings::collect(pool, catalog, &measured, &sources, &duplicates, &leaks);
    let mut annotated: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for id in pool.classes.foreground() {
        let row = annotated.entry(pool.classes.name(id).to_string()).or_default();
        for source in &pool.sources {
            row.insert(source.name.clone(), source.annotated.has(id));
        }
    }
    Inspection {
        pool: pool.name.clone(),
        classes: pool.classes.names().to_vec(),
        notes: pool.notes.clone(),
        images: catalog.entries.len(),
        labelled: catalog.entries.iter().filter(|e| e.role != Role::Unlabelled).count(),
        groups: sources.iter().map(|s| s.groups).sum(),
        annotated,
        leaks,
        distances: source_distances(&profiles),
        split: options
            .split
            .map(|s| Part::ALL.iter().map(|p| (p.name().to_string(), s.part(*p).len())).collect()),
        sources,
        duplicates,
        problems,
    }
}

/// The duplicates of a pool alone, e.g. for [`crate::SplitSpec::keep_together`]; images that cannot
/// be read are passed over here and refused when they are loaded.
#[must_use]
pub fn find_duplicates_in(catalog: &Catalog, limits: &Limits) -> Duplicates {
    let prints: Vec<Option<Fingerprint>> = catalog
        .entries
        .par_iter()
        .map(|e| scant_io::read_image(&e.image, limits).ok().and_then(|i| Fingerprint::of(&i)))
        .collect();
    let known: Vec<(&SampleId, &Fingerprint)> = catalog
        .entries
        .iter()
        .zip(&prints)
        .filter_map(|(e, p)| Some((&e.id, p.as_ref()?)))
        .collect();
    find_duplicates(&known)
}

/// Pairs of which one side is learned from or chosen by, and the other stands in another part.
fn leaks(duplicates: &Duplicates, split: &Split) -> Vec<Leak> {
    let parts = split.parts();
    duplicates
        .pairs
        .iter()
        .filter_map(|pair| {
            let (a_part, b_part) = (*parts.get(&pair.a)?, *parts.get(&pair.b)?);
            let excluded = a_part == Part::Excluded || b_part == Part::Excluded;
            let both_learned = a_part.is_learned_from() && b_part.is_learned_from();
            (a_part != b_part && !excluded && !both_learned).then(|| Leak {
                a: pair.a.clone(),
                a_part,
                b: pair.b.clone(),
                b_part,
            })
        })
        .collect()
}
