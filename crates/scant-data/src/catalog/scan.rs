//! Finding the cases: listing, pairing and reading headers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rayon::prelude::*;
use scant_core::SampleId;
use scant_io::Limits;

use super::{Catalog, Entry, Problem, ProblemKind, Severity};
use crate::pool::selection::{Selected, Selection, select};
use crate::{DataError, Pool, Source};

/// Stem of the image that a mask with this stem belongs to: the same stem, or the stem in front of
/// `suffix` and an optional number (`x_mask`, `x_mask_1`, `x_mask2`).
pub(crate) fn mask_owner(mask_stem: &str, suffix: &str, image_stems: &[String]) -> Option<String> {
    let known = |stem: &str| image_stems.iter().any(|s| s == stem);
    suffixed(mask_stem, suffix).filter(|s| known(s)).map(str::to_string)
}

/// What stands in front of the suffix and an optional number.
fn suffixed<'a>(mask_stem: &'a str, suffix: &str) -> Option<&'a str> {
    let bare = mask_stem.trim_end_matches(|c: char| c.is_ascii_digit());
    [mask_stem, bare, bare.strip_suffix(['_', '-']).unwrap_or(bare)]
        .into_iter()
        .find_map(|s| s.strip_suffix(suffix))
        .filter(|s| !s.is_empty())
}

impl Pool {
    /// Finds the cases of every source: lists files, pairs images with masks and reads their headers.
    ///
    /// The order of entries depends on names only. Pixel values are not looked at; see
    /// [`crate::inspect()`].
    ///
    /// # Errors
    /// When a folder, glob or list selects nothing. Trouble with single files does not end the scan:
    /// it stands in [`Catalog::problems`].
    pub fn scan(&self, limits: &Limits) -> Result<Catalog, DataError> {
        let mut catalog = Catalog::default();
        for index in 0..self.sources.len() {
            scan_source(self, index, limits, &mut catalog)?;
        }
        Ok(catalog)
    }
}

/// A case before its files were opened.
struct Candidate {
    id: SampleId,
    image: PathBuf,
    masks: Vec<PathBuf>,
}

struct Reporter<'a> {
    source: &'a Source,
    problems: &'a mut Vec<Problem>,
}

impl Reporter<'_> {
    fn add(
        &mut self,
        severity: Severity,
        kind: ProblemKind,
        paths: Vec<PathBuf>,
        message: String,
        remedy: &str,
    ) {
        let source = self.source.name.clone();
        self.problems.push(Problem {
            severity,
            kind,
            source,
            paths,
            message,
            remedy: remedy.into(),
        });
    }
}

fn scan_source(
    pool: &Pool,
    index: usize,
    limits: &Limits,
    catalog: &mut Catalog,
) -> Result<(), DataError> {
    let source = &pool.sources[index];
    let mut images = select(&pool.root, &source.images, "images")?;
    let masks = match &source.masks {
        Some(masks) if source.is_labelled() => Some(select(&pool.root, masks, "masks")?),
        _ => None,
    };
    let mut report = Reporter { source, problems: &mut catalog.problems };
    for (selection, what) in [(Some(&images), "image"), (masks.as_ref(), "mask")] {
        report_passed_over(&mut report, selection, what);
    }
    let beside = separate_masks(&mut images, masks.as_ref(), source);
    drop_same_names(&mut images, &mut report);
    let masks = match (beside, masks) {
        (Some(beside), _) => Some(beside),
        (None, masks) => masks.map(|m| m.files),
    };
    let partners = match &masks {
        Some(masks) => Some(pair(&images.files, masks, source, &mut report)),
        None => None,
    };
    let unique = unique_stems(&images.files);
    let mut candidates = Vec::new();
    for file in &images.files {
        let found = partners.as_ref().map(|p| p.get(&file.key).cloned().unwrap_or_default());
        if found.as_ref().is_some_and(Vec::is_empty) {
            report.add(
                Severity::Error,
                ProblemKind::MissingMask,
                vec![file.path.clone()],
                format!("{}: no mask for this image", file.path.display()),
                "add a mask with the same stem (or <stem>_mask), or list the image in a source with \
                 role = \"unlabelled\"",
            );
            continue;
        }
        let Some(group) = source.group_of(&file.key) else {
            let rule = source.group.as_ref().map(|g| g.as_str()).unwrap_or_default();
            report.add(
                Severity::Error,
                ProblemKind::NoGroup,
                vec![file.path.clone()],
                format!("{}: group = \"{rule}\" does not match \"{}\"", file.path.display(), file.key),
                "correct the `group` rule so that it matches every name: a case without a group could \
                 straddle the split",
            );
            continue;
        };
        let stem = if unique.contains(file.stem.as_str()) {
            file.stem.clone()
        } else {
            file.key.replace('/', "__")
        };
        let id = SampleId { source: source.name.clone(), group, stem };
        candidates.push(Candidate {
            id,
            image: file.path.clone(),
            masks: found.unwrap_or_default(),
        });
    }
    candidates.sort_by(|a, b| a.id.stem.cmp(&b.id.stem));
    let looked: Vec<Result<Entry, Problem>> =
        candidates.into_par_iter().map(|c| look(pool, index, c, limits)).collect();
    for one in looked {
        match one {
            Ok(entry) => catalog.entries.push(entry),
            Err(problem) => catalog.problems.push(problem),
        }
    }
    Ok(())
}

fn report_passed_over(report: &mut Reporter<'_>, selection: Option<&Selection>, what: &str) {
    let Some(selection) = selection else { return };
    for (extension, files) in &selection.passed_over {
        // Notes and tables beside the images are nobody's mistake.
        if ["md", "txt", "csv", "json", "toml", "db", "ini", "xml"].contains(&extension.as_str()) {
            continue;
        }
        let name = if extension.is_empty() { "no ending".into() } else { format!(".{extension}") };
        report.add(
            Severity::Warning,
            ProblemKind::PassedOver,
            files.clone(),
            format!("{} {what} file(s) with {name} passed over", files.len()),
            "convert them to PNG or TIFF if they should take part",
        );
    }
}

/// Where images and masks share a folder, takes the masks out of the images.
fn separate_masks(
    images: &mut Selection,
    masks: Option<&Selection>,
    source: &Source,
) -> Option<Vec<Selected>> {
    let masks = masks?;
    let paths: BTreeSet<&PathBuf> = masks.files.iter().map(|f| &f.path).collect();
    if !images.files.iter().any(|f| paths.contains(&f.path)) {
        return None;
    }
    let stems: BTreeSet<String> = images.files.iter().map(|f| f.stem.clone()).collect();
    let is_mask = |f: &Selected| {
        suffixed(&f.stem, &source.mask_suffix).is_some_and(|owner| stems.contains(owner))
    };
    images.files.retain(|f| !is_mask(f));
    let kept: BTreeSet<&PathBuf> = images.files.iter().map(|f| &f.path).collect();
    Some(masks.files.iter().filter(|f| !kept.contains(&f.path)).cloned().collect())
}

fn drop_same_names(images: &mut Selection, report: &mut Reporter<'_>) {
    let mut by_key: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in &images.files {
        by_key.entry(file.key.clone()).or_default().push(file.path.clone());
    }
    for (key, paths) in by_key {
        if paths.len() > 1 {
            images.files.retain(|f| f.key != key);
            report.add(
                Severity::Error,
                ProblemKind::DuplicateName,
                paths.clone(),
                format!("{}: {} images have the name \"{key}\"", paths[0].display(), paths.len()),
                "keep one of them, or rename: a mask belongs to an image by its name",
            );
        }
    }
}

fn unique_stems(files: &[Selected]) -> BTreeSet<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files {
        *counts.entry(&file.stem).or_default() += 1;
    }
    counts.into_iter().filter(|(_, n)| *n == 1).map(|(s, _)| s.to_string()).collect()
}

/// Masks per image key. A mask belongs to the image with the same path below its folder, else to the
/// image with the same stem, each also with the mask suffix taken off.
fn pair(
    images: &[Selected],
    masks: &[Selected],
    source: &Source,
    report: &mut Reporter<'_>,
) -> BTreeMap<String, Vec<PathBuf>> {
    let keys: BTreeSet<&str> = images.iter().map(|f| f.key.as_str()).collect();
    let mut by_stem: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in images {
        by_stem.entry(&file.stem).or_default().push(&file.key);
    }
    let mut out: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut orphans = Vec::new();
    for mask in masks {
        let suffix = &source.mask_suffix;
        let key = [Some(mask.key.as_str()), suffixed(&mask.key, suffix)]
            .into_iter()
            .flatten()
            .find(|k| keys.contains(k));
        let by_its_stem = || {
            [Some(mask.stem.as_str()), suffixed(&mask.stem, suffix)]
                .into_iter()
                .flatten()
                .find_map(|s| by_stem.get(s).cloned())
                .unwrap_or_default()
        };
        let owners = key.map_or_else(by_its_stem, |key| vec![key]);
        match owners.as_slice() {
            [] => orphans.push(mask.path.clone()),
            [key] => out.entry((*key).to_string()).or_default().push(mask.path.clone()),
            several => report.add(
                Severity::Error,
                ProblemKind::AmbiguousMask,
                vec![mask.path.clone()],
                format!("{}: could belong to {}", mask.path.display(), several.join(", ")),
                "lay out the masks in the same subfolders as the images",
            ),
        }
    }
    if let Some(first) = orphans.first() {
        report.add(
            Severity::Warning,
            ProblemKind::OrphanMask,
            orphans.clone(),
            format!(
                "{}: {} mask(s) without an image, this is the first",
                first.display(),
                orphans.len()
            ),
            "add the images, or set `mask_suffix` if mask names end differently",
        );
    }
    out
}

/// Reads headers and checks sizes.
fn look(pool: &Pool, index: usize, case: Candidate, limits: &Limits) -> Result<Entry, Problem> {
    let source = &pool.sources[index];
    let problem = |kind, path: &PathBuf, message: String, remedy: &str| Problem {
        severity: Severity::Error,
        kind,
        source: source.name.clone(),
        paths: vec![path.clone()],
        message,
        remedy: remedy.into(),
    };
    let read = |path: &PathBuf| {
        scant_io::read_header(path, limits).map(|h| (h.height as usize, h.width as usize)).map_err(
            |e| {
                problem(
                    ProblemKind::Unreadable,
                    path,
                    e.to_string(),
                    "replace the file by a whole copy, or take the case out",
                )
            },
        )
    };
    let size = read(&case.image)?;
    for mask in &case.masks {
        let mask_size = read(mask)?;
        if mask_size != size {
            let error = DataError::SizeMismatch {
                image: case.image.clone(),
                mask: mask.clone(),
                image_size: size,
                mask_size,
            };
            return Err(problem(
                ProblemKind::SizeMismatch,
                mask,
                error.to_string(),
                "export the mask on the grid of its image, or take the pair out",
            ));
        }
    }
    Ok(Entry {
        id: case.id,
        source: index,
        role: source.role,
        image: case.image,
        masks: case.masks,
        annotated: source.annotated.clone(),
        size,
        spacing: source.spacing_mm,
    })
}
