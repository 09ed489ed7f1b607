//! A pool from a bare folder: what the layout and the mask values give away, and nothing more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use scant_core::{Annotated, LabelSpace, Role};
use scant_io::{Limits, MaskEncoding};

use super::selection::{self, list_folder, list_subfolders, looks_like_image};
use super::{DEFAULT_MASK_SUFFIX, MaskValue, Pool, Source, ValueMap};
use crate::DataError;

const IMAGE_FOLDERS: [&str; 5] = ["images", "image", "imgs", "img", "imagestr"];
const MASK_FOLDERS: [&str; 10] = [
    "masks",
    "mask",
    "labels",
    "label",
    "gt",
    "groundtruth",
    "ground_truth",
    "annotations",
    "segmentations",
    "labelstr",
];
/// More distinct values than this are not a handful of classes.
const MOST_CLASSES: usize = 24;
/// Distinct values are counted up to here; beyond, the mask is certainly not one of classes.
const MOST_COUNTED: usize = 4096;

/// Builds the pool that a folder stands for.
pub(super) fn infer(root: &Path, unlabelled: bool, limits: &Limits) -> Result<Pool, DataError> {
    let name = std::path::absolute(root)
        .ok()
        .and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "pool".into());
    let folders = list_subfolders(root)?;
    let images = find(&folders, &IMAGE_FOLDERS, root)?;
    let masks = find(&folders, &MASK_FOLDERS, root)?;
    let loose: Vec<PathBuf> =
        list_folder(root)?.into_iter().filter(|p| looks_like_image(p)).collect();
    let side_by_side = images.is_none() && masks.is_none() && has_masks_beside(&loose);
    match (images, masks) {
        (Some(images), Some(masks)) => labelled(root, name, images, masks, limits),
        (None, None) if side_by_side => labelled(root, name, ".".into(), ".".into(), limits),
        (Some(images), None) => without_masks(root, name, images, unlabelled),
        (None, None) if !loose.is_empty() => without_masks(root, name, ".".into(), unlabelled),
        (None, _) => {
            let found: Vec<String> = folders.iter().filter_map(|f| last_name(f)).collect();
            let found = if found.is_empty() { "no folders".into() } else { found.join(", ") };
            Err(DataError::Layout {
                path: root.into(),
                message: format!("no folder of images here (found: {found})"),
                remedy: format!(
                    "name the folders images/ and masks/ (also understood: {}; {}), or write a \
                     pool.toml with name, classes and [[source]] blocks",
                    IMAGE_FOLDERS.join(", "),
                    MASK_FOLDERS.join(", ")
                ),
            })
        }
    }
}

fn last_name(path: &Path) -> Option<String> {
    path.file_name().map(|n| n.to_string_lossy().into_owned())
}

/// The one folder with a name of `names`, whatever its case.
fn find(folders: &[PathBuf], names: &[&str], root: &Path) -> Result<Option<String>, DataError> {
    let hits: Vec<String> = folders
        .iter()
        .filter_map(|f| last_name(f))
        .filter(|n| names.contains(&n.to_lowercase().as_str()))
        .collect();
    match hits.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        many => Err(DataError::Layout {
            path: root.into(),
            message: format!("several folders could be meant: {}", many.join(", ")),
            remedy: "write a pool.toml that names the one to use".into(),
        }),
    }
}

fn has_masks_beside(files: &[PathBuf]) -> bool {
    let stems: Vec<String> = files
        .iter()
        .filter_map(|f| f.file_stem().map(|s| s.to_string_lossy().into_owned()))
        .collect();
    stems.iter().any(|s| {
        s.strip_suffix(DEFAULT_MASK_SUFFIX).is_some_and(|image| stems.iter().any(|o| o == image))
    })
}

fn without_masks(
    root: &Path,
    name: String,
    images: String,
    unlabelled: bool,
) -> Result<Pool, DataError> {
    if !unlabelled {
        return Err(DataError::Layout {
            path: root.into(),
            message: "there are images here but no folder of masks".into(),
            remedy: format!(
                "put the masks into masks/ (also understood: {}), or write a pool.toml in which \
                 this source has role = \"unlabelled\"",
                MASK_FOLDERS.join(", ")
            ),
        });
    }
    selection::select(root, &images, "images")?;
    let names = vec!["background".to_string(), "foreground".to_string()];
    let classes = LabelSpace::new(names).map_err(|error| DataError::Classes {
        path: root.into(),
        place: "classes".into(),
        error,
    })?;
    let source = Source {
        name: name.clone(),
        role: Role::Unlabelled,
        images,
        masks: None,
        mask_suffix: DEFAULT_MASK_SUFFIX.into(),
        values: ValueMap::default(),
        annotated: Annotated::none(classes.len()),
        group: None,
        split: None,
        spacing_mm: None,
    };
    let notes = vec!["images without masks: an unlabelled pool with placeholder classes".into()];
    Ok(Pool { name, classes, sources: vec![source], root: root.into(), notes })
}

fn labelled(
    root: &Path,
    name: String,
    images: String,
    masks: String,
    limits: &Limits,
) -> Result<Pool, DataError> {
    selection::select(root, &images, "images")?;
    let mut files = selection::select(root, &masks, "masks")?.files;
    if images == masks {
        let stems: Vec<String> = files.iter().map(|f| f.stem.clone()).collect();
        files
            .retain(|f| crate::catalog::mask_owner(&f.stem, DEFAULT_MASK_SUFFIX, &stems).is_some());
    }
    let paths: Vec<PathBuf> = files.into_iter().map(|f| f.path).collect();
    let found = Discovered::read(&paths, limits);
    let unreadable = found.unreadable;
    let (classes, values) = found.classes(root, &root.join(&masks))?;
    let foreground: Vec<u8> = classes.foreground().collect();
    let mut notes = vec![
        format!("inferred from the folder: images in \"{images}\", masks in \"{masks}\""),
        format!(
            "mask values {} became the classes {}; a pool.toml can give them better names",
            values.listed(),
            classes.names().join(", ")
        ),
        "every image counts as a group of its own; if several come from one patient or slide, \
         write a pool.toml with a `group` rule, or results will be too good"
            .into(),
    ];
    if unreadable > 0 {
        notes.push(format!("{unreadable} mask file(s) could not be read to look for mask values"));
    }
    let source = Source {
        name: name.clone(),
        role: Role::Base,
        images,
        masks: Some(masks),
        mask_suffix: DEFAULT_MASK_SUFFIX.into(),
        values,
        annotated: Annotated::only(classes.len(), &foreground),
        group: None,
        split: None,
        spacing_mm: None,
    };
    Ok(Pool { name, classes, sources: vec![source], root: root.into(), notes })
}

/// All mask values of a folder.
#[derive(Debug, Default)]
struct Discovered {
    /// Pixels and masks per value.
    values: BTreeMap<MaskValue, (u64, usize)>,
    pixels: u64,
    indexed: usize,
    readable: usize,
    unreadable: usize,
}

impl Discovered {
    fn read(paths: &[PathBuf], limits: &Limits) -> Self {
        let one = |path: &PathBuf| {
            let Ok(mask) = scant_io::read_mask(path, limits) else {
                return Self { unreadable: 1, ..Self::default() };
            };
            let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
            for value in &mask.values {
                *counts.entry(*value).or_default() += 1;
                if counts.len() > MOST_COUNTED {
                    break;
                }
            }
            let values = counts
                .into_iter()
                .map(|(v, n)| (MaskValue::of_pixel(v, mask.encoding), (n, 1)))
                .collect();
            let indexed = usize::from(mask.encoding == MaskEncoding::Index);
            Self { values, pixels: mask.values.len() as u64, indexed, readable: 1, unreadable: 0 }
        };
        paths.par_iter().map(one).reduce(Self::default, |mut a, b| {
            for (value, (pixels, masks)) in b.values {
                let sum = a.values.entry(value).or_default();
                sum.0 += pixels;
                sum.1 += masks;
            }
            a.pixels += b.pixels;
            a.indexed += b.indexed;
            a.readable += b.readable;
            a.unreadable += b.unreadable;
            a
        })
    }

    /// In colour masks the all-grey ones decode as grey: speak of colours throughout.
    fn as_colours_where_any(&mut self) {
        if self.indexed > 0 || !self.values.keys().any(|v| matches!(v, MaskValue::Colour(_))) {
            return;
        }
        for (value, (pixels, masks)) in std::mem::take(&mut self.values) {
            let value = match value {
                MaskValue::Level(v) if v <= 255 => MaskValue::Colour(v * 0x01_0101),
                other => other,
            };
            let sum = self.values.entry(value).or_default();
            sum.0 += pixels;
            sum.1 += masks;
        }
    }

    /// One class per value, or a refusal when the values cannot be class values.
    fn classes(mut self, root: &Path, masks: &Path) -> Result<(LabelSpace, ValueMap), DataError> {
        self.as_colours_where_any();
        let refuse = |message: String, remedy: &str| DataError::Layout {
            path: masks.into(),
            message,
            remedy: remedy.into(),
        };
        if self.readable == 0 {
            return Err(refuse(
                format!("none of the {} mask(s) can be read", self.unreadable),
                "open one of them in a viewer; masks are read from PNG, BMP and TIFF",
            ));
        }
        if self.values.len() > MOST_CLASSES {
            let levels = self.values.keys().all(|v| matches!(v, MaskValue::Level(0..=255)));
            return Err(if self.values.len() > MOST_COUNTED || !levels {
                refuse(
                    format!("the masks hold {} different values", shown_count(self.values.len())),
                    "if they number instances (cells, nuclei), turn them into masks of classes \
                     (1 where an instance is); if they are photographs, name the right folder in a \
                     pool.toml",
                )
            } else {
                refuse(
                    format!(
                        "the masks hold {} different grey levels, as lossy (JPEG) compression or \
                         smooth resizing leaves them",
                        self.values.len()
                    ),
                    "export the masks again without loss (PNG) and with nearest-neighbour resizing",
                )
            });
        }
        // A handful of odd pixels is a slip of the annotation tool, not a class.
        let stray = self.values.iter().find(|(_, (pixels, masks))| {
            pixels * 10_000 < self.pixels && *pixels < 50 * *masks as u64
        });
        if let Some((value, (pixels, in_masks))) = stray {
            return Err(refuse(
                format!(
                    "mask value {value} stands on only {pixels} pixel(s) in {in_masks} mask(s), so \
                     it is unclear whether it is a class"
                ),
                &format!(
                    "write a pool.toml whose `values` say what it means, e.g. {value} = \
                     \"background\" (values found: {})",
                    self.shown()
                ),
            ));
        }
        let zero = self
            .values
            .keys()
            .copied()
            .find(|v| matches!(v, MaskValue::Level(0) | MaskValue::Colour(0)));
        let Some(zero) = zero else {
            return Err(refuse(
                format!(
                    "no mask holds the value 0, so the background is unknown ({})",
                    self.shown()
                ),
                "write a pool.toml whose `values` name the background",
            ));
        };
        if self.values.len() == 1 {
            return Err(refuse(
                "all masks are empty".into(),
                "check that these are the masks; if nobody has drawn these images, write a pool.toml \
                 with role = \"unlabelled\"",
            ));
        }
        let mut names = vec!["background".to_string()];
        let mut pairs = vec![(zero, 0)];
        for (value, id) in self.values.keys().filter(|v| **v != zero).zip(1u8..) {
            names.push(match value {
                MaskValue::Level(v) => format!("class-{v}"),
                MaskValue::Colour(c) => format!("class-{c:06x}"),
            });
            pairs.push((*value, id));
        }
        let classes = LabelSpace::new(names).map_err(|error| DataError::Classes {
            path: root.into(),
            place: "classes".into(),
            error,
        })?;
        Ok((classes, ValueMap::new(pairs)))
    }

    fn shown(&self) -> String {
        let all: Vec<String> =
            self.values.iter().map(|(v, (pixels, _))| format!("{v} on {pixels} px")).collect();
        all.join(", ")
    }
}

fn shown_count(n: usize) -> String {
    if n > MOST_COUNTED { format!("more than {MOST_COUNTED}") } else { n.to_string() }
}
