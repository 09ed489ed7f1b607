//! The same cases under several runs: image, truth, and the prediction of each with boxes around its
//! regions of error (published Figure 4).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use scant_core::GalleryItem;
use scant_metrics::{Metric, case_score};
use serde::Serialize;

use crate::chart::escape;
use crate::curves::tap_order;
use crate::gallery::{Read, Tile, base, heatmap, outlined};
use crate::load::LoadedRun;
use crate::numbers;
use crate::picture::regions::{ErrorBox, boxes};
use crate::picture::{self, Raster};

/// One case.
#[derive(Debug, Serialize)]
pub(crate) struct Grid {
    pub name: String,
    pub tiles: Vec<Tile>,
}

/// A grid for every case in the gallery of the first run, with the predictions of all runs and the
/// activations (published Figure 5) of those that have the case in their gallery too.
///
/// The prediction of another run is that of its own gallery if the case is there too, else the mask
/// that was kept for it (`predictions/PART/SOURCE/STEM.png`). One that is missing is a visible gap.
pub(crate) fn grids(runs: &[LoadedRun], names: &[String]) -> Vec<Grid> {
    let Some(first) = runs.first() else { return Vec::new() };
    let items = first.record.gallery.iter().enumerate();
    items.map(|(i, item)| grid(runs, names, item, &format!("grid{i}"))).collect()
}

fn grid(runs: &[LoadedRun], names: &[String], item: &GalleryItem, key: &str) -> Grid {
    let first = &runs[0];
    let classes = first.record.pool.classes.names();
    let image = picture::read_image(&first.folder, &item.image);
    let truth = picture::read_labels(&first.folder, &item.truth);
    let tile = |title: String, drawing: Result<String, String>| match drawing {
        Ok(svg) => Tile { title, svg, missing: None },
        Err(why) => Tile { title, svg: String::new(), missing: Some(why) },
    };
    let image: Read<'_> = image.as_ref();
    let mut tiles = vec![
        tile("image".into(), base(image, key)),
        tile("truth".into(), outlined(image, truth.as_ref(), classes, key, "")),
    ];
    for (run, name) in runs.iter().zip(names) {
        let prediction = prediction(run, item, truth.as_ref());
        let drawn =
            outlined(image, prediction.as_ref(), classes, key, "dash").and_then(|drawing| {
                let truth = truth.as_ref().map_err(Clone::clone)?;
                let prediction = prediction.as_ref().map_err(Clone::clone)?;
                let marks = marks(&boxes(truth, prediction));
                let inside = drawing.strip_suffix("</svg>").unwrap_or(&drawing);
                Ok(format!("{inside}{marks}</svg>"))
            });
        let evaluation = run.record.evaluations.iter().find(|e| e.part == item.part);
        let case = evaluation.and_then(|e| e.cases.iter().find(|c| c.id == item.id));
        let dice = case.and_then(|c| case_score(c, Metric::Dice));
        tiles.push(tile(format!("{name}: Dice {}", numbers::fixed_opt(dice, 3)), drawn));
    }
    for (run, name) in runs.iter().zip(names) {
        let shown = run.record.gallery.iter().find(|g| g.id == item.id && g.part == item.part);
        let Some(shown) = shown else { continue };
        let present: BTreeSet<&str> = shown.heatmaps.keys().map(String::as_str).collect();
        for tap in tap_order(&run.record, &present) {
            let map = picture::read_image(&run.folder, &shown.heatmaps[&tap]);
            tiles.push(tile(format!("{name}: activation, {tap}"), heatmap(map, image)));
        }
    }
    Grid { name: item.id.to_string(), tiles }
}

/// The prediction of a run for a case, on the grid of the gallery's truth.
fn prediction(run: &LoadedRun, item: &GalleryItem, truth: Read<'_>) -> Result<Raster, String> {
    let truth = truth.map_err(Clone::clone)?;
    let shown = run.record.gallery.iter().find(|g| g.id == item.id && g.part == item.part);
    let read = match shown {
        Some(shown) => picture::read_labels(&run.folder, &shown.prediction)?,
        None => {
            let name = format!("predictions/{}/{}/{}.png", item.part, item.id.source, item.id.stem);
            picture::read_thinned_labels(&run.folder, &name, (truth.width, truth.height))?
        }
    };
    if (read.width, read.height) == (truth.width, truth.height) {
        Ok(read)
    } else {
        Err(format!(
            "the prediction has {} x {} pixels, the truth {} x {}",
            read.width, read.height, truth.width, truth.height
        ))
    }
}

/// Boxes a little wider than their regions; solid for what was missed, dashed for what was taken.
fn marks(found: &[ErrorBox]) -> String {
    let mut out = String::new();
    for b in found {
        let (x, y) = (b.left as f64 - 1.5, b.top as f64 - 1.5);
        let (w, h) = ((b.right - b.left) as f64 + 3.0, (b.bottom - b.top) as f64 + 3.0);
        let (class, what) = if b.missed { ("miss", "missed") } else { ("alarm", "drawn wrongly") };
        let _ = write!(
            out,
            "<rect class=\"under\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"/><rect class=\"over \
             {class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"><title>{}</title></rect>",
            escape(&format!("{what}, {}", numbers::plural(b.pixels, "pixel", "pixels")))
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_surround_their_regions() {
        let b = ErrorBox { left: 10, top: 20, right: 14, bottom: 22, pixels: 8, missed: true };
        let drawn = marks(&[b]);
        assert!(drawn.contains("x=\"8.5\" y=\"18.5\" width=\"7\" height=\"5\""));
        assert!(drawn.contains("over miss") && drawn.contains("missed, 8 pixels"));
    }
}
