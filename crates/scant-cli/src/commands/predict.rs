//! `scant predict`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Axis;
use scant_infer::{ModelCard, Prediction, Predictor};
use scant_io::Limits;
use serde_json::json;

use crate::args::PredictArgs;
use crate::exit::{Failure, Result, unwritable};
use crate::session::{Session, load_predictor};

pub(crate) fn run(session: &Session, args: &PredictArgs) -> Result {
    let (card, predictor) = load_predictor(session, &args.model, &args.predictor)?;
    let (inputs, missing) = inputs(&args.images)?;
    let targets = targets(&inputs, args)?;
    std::fs::create_dir_all(&args.out).map_err(|e| unwritable(&args.out, &e))?;
    let mut done = Vec::new();
    let mut failed: Vec<(PathBuf, String)> = missing;
    for (image, mask) in &targets {
        match one(&card, &predictor, image, mask, args.probabilities) {
            Ok(()) => {
                done.push((image, mask));
                session.say(format!("{} -> {}", image.display(), mask.display()));
            }
            Err(reason) => {
                eprintln!("scant: {reason}");
                failed.push((image.clone(), reason));
            }
        }
    }
    if args.json {
        let value = json!({
            "predicted": done.iter().map(|(i, m)| json!({ "image": i, "mask": m })).collect::<Vec<_>>(),
            "failed": failed.iter().map(|(i, r)| json!({ "image": i, "reason": r })).collect::<Vec<_>>(),
        });
        println!("{}", serde_json::to_string_pretty(&value).map_err(Failure::failed)?);
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} of {} image(s) could not be predicted; the others are in {}",
        failed.len(),
        failed.len() + done.len(),
        args.out.display()
    )))
}

/// Files below the given paths; a path that does not exist is a failed image, not the end.
#[allow(clippy::type_complexity)]
fn inputs(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<(PathBuf, String)>)> {
    let (mut files, mut missing) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_dir() {
            let entries = std::fs::read_dir(path)
                .map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))?;
            let mut here: Vec<PathBuf> = entries
                .filter_map(|e| Some(e.ok()?.path()))
                .filter(|p| p.is_file() && is_image(p))
                .collect();
            if here.is_empty() {
                return Err(Failure::usage(format!(
                    "{} holds no PNG, JPEG, BMP or TIFF image",
                    path.display()
                )));
            }
            here.sort();
            files.extend(here);
        } else if path.exists() {
            files.push(path.clone());
        } else {
            let reason = format!("{}: there is no such image", path.display());
            eprintln!("scant: {reason}");
            missing.push((path.clone(), reason));
        }
    }
    Ok((files, missing))
}

/// By extension, so that a damaged image in a folder is reported rather than overlooked.
fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    extension.is_some_and(|e| ["png", "jpg", "jpeg", "bmp", "tif", "tiff"].contains(&e.as_str()))
}

/// Where each mask goes; refuses names that would meet and masks that are there already.
fn targets(images: &[PathBuf], args: &PredictArgs) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut seen: BTreeMap<PathBuf, &PathBuf> = BTreeMap::new();
    let mut out = Vec::with_capacity(images.len());
    for image in images {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mask = args.out.join(format!("{stem}.png"));
        if let Some(other) = seen.insert(mask.clone(), image) {
            return Err(Failure::usage(format!(
                "{} and {} would both become {}; predict them into different folders",
                other.display(),
                image.display(),
                mask.display()
            )));
        }
        if same_file(image, &mask) {
            return Err(Failure::usage(format!(
                "{} would be replaced by its own mask; choose another folder with -o",
                image.display()
            )));
        }
        if mask.exists() && !args.overwrite {
            return Err(Failure::usage(format!(
                "{} exists already; choose another folder, or add --overwrite",
                mask.display()
            )));
        }
        out.push((image.clone(), mask));
    }
    Ok(out)
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn one(
    card: &ModelCard,
    predictor: &Predictor,
    image: &Path,
    mask: &Path,
    probabilities: bool,
) -> std::result::Result<(), String> {
    let pixels = scant_io::read_image(image, &Limits::default()).map_err(|e| e.to_string())?;
    let found = predictor.predict(&pixels).map_err(|e| format!("{}: {e}", image.display()))?;
    write(card, &found, mask, probabilities).map_err(|e| e.error.to_string())
}

fn write(card: &ModelCard, found: &Prediction, mask: &Path, probabilities: bool) -> Result {
    let ids = found.labels.as_planar().ok_or_else(|| Failure::failed("the mask is not planar"))?;
    let values = ids.mapv(|id| card.mask_values[usize::from(id)]);
    scant_io::write_grey8(mask, values.view())?;
    if probabilities {
        for (id, name) in card.classes.names().iter().enumerate().skip(1) {
            let p = found.probabilities.index_axis(Axis(0), id);
            let scaled = p.mapv(|v| (v * 65_535.0).round().clamp(0.0, 65_535.0) as u16);
            let stem = mask.file_stem().unwrap_or_default().to_string_lossy();
            let file = mask.with_file_name(format!("{stem}.{name}.probability.png"));
            scant_io::write_grey16(&file, scaled.view())?;
        }
    }
    Ok(())
}
