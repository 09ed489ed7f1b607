//! Worst and best cases as pictures: truth, prediction, their difference and heatmaps.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use scant_core::{GalleryItem, GalleryKind};
use serde::Serialize;

use crate::chart::escape;
use crate::curves::tap_order;
use crate::load::LoadedRun;
use crate::numbers;
use crate::picture::{self, Raster};

/// One picture of a case.
#[derive(Debug, Serialize)]
pub(crate) struct Tile {
    /// What the picture shows.
    pub title: String,
    /// Inline SVG (trusted: built here).
    pub svg: String,
    /// Why there is no picture, when there is none.
    pub missing: Option<String>,
}

/// All pictures of a case.
#[derive(Debug, Serialize)]
pub(crate) struct Case {
    pub kind: &'static str,
    pub source: String,
    pub group: String,
    pub stem: String,
    pub part: String,
    pub dice: String,
    pub tiles: Vec<Tile>,
}

/// The gallery of a run: worst cases (lowest Dice first), then best (highest first).
pub(crate) fn cases(run: &LoadedRun, key: &str, warnings: &mut Vec<String>) -> Vec<Case> {
    let mut items: Vec<&GalleryItem> = run.record.gallery.iter().collect();
    items.sort_by(|a, b| {
        let rank = |i: &GalleryItem| i.kind == GalleryKind::Best;
        let score = |i: &GalleryItem| match (i.dice, i.kind) {
            (Some(d), GalleryKind::Worst) => d,
            (Some(d), GalleryKind::Best) => -d,
            (None, _) => f64::NEG_INFINITY,
        };
        rank(a).cmp(&rank(b)).then(score(a).total_cmp(&score(b))).then(a.id.cmp(&b.id))
    });
    items
        .into_iter()
        .enumerate()
        .map(|(i, item)| {
            let mut missing = Vec::new();
            let tiles = tiles(run, item, &format!("{key}-g{i}"), &mut missing);
            warnings.extend(missing.into_iter().map(|m| format!("picture of {}: {m}", item.id)));
            Case {
                kind: match item.kind {
                    GalleryKind::Worst => "worst",
                    GalleryKind::Best => "best",
                },
                source: item.id.source.clone(),
                group: item.id.group.clone(),
                stem: item.id.stem.clone(),
                part: item.part.clone(),
                dice: numbers::fixed_opt(item.dice, 3),
                tiles,
            }
        })
        .collect()
}

fn tiles(run: &LoadedRun, item: &GalleryItem, key: &str, missing: &mut Vec<String>) -> Vec<Tile> {
    let folder = &run.folder;
    let classes = run.record.pool.classes.names();
    let mut show = |title: &str, drawing: Result<String, String>| match drawing {
        Ok(svg) => Tile { title: title.into(), svg, missing: None },
        Err(why) => {
            missing.push(format!("{title}: {why}"));
            Tile { title: title.into(), svg: String::new(), missing: Some(why) }
        }
    };
    let image = picture::read_image(folder, &item.image);
    let fits = |labels: Raster, name: &str| match &image {
        Ok(i) if (i.width, i.height) != (labels.width, labels.height) => Err(format!(
            "{name}: {} x {} pixels, the image has {} x {}",
            labels.width, labels.height, i.width, i.height
        )),
        _ => Ok(labels),
    };
    let read = |name: &str| picture::read_labels(folder, name).and_then(|l| fits(l, name));
    let (truth, prediction) = (read(&item.truth), read(&item.prediction));

    let mut tiles = vec![show("image", base(image.as_ref(), key))];
    tiles.push(show("truth", outlined(image.as_ref(), truth.as_ref(), classes, key, "")));
    tiles.push(show(
        "prediction",
        outlined(image.as_ref(), prediction.as_ref(), classes, key, "dash"),
    ));
    tiles.push(show(
        "difference",
        difference(image.as_ref(), truth.as_ref(), prediction.as_ref(), key),
    ));
    let present: BTreeSet<&str> = item.heatmaps.keys().map(String::as_str).collect();
    for tap in tap_order(&run.record, &present) {
        let map = picture::read_image(folder, &item.heatmaps[&tap]);
        tiles.push(show(&format!("activation, {tap}"), heatmap(map, image.as_ref())));
    }
    tiles
}

/// A picture, or why there is none.
pub(crate) type Read<'a> = Result<&'a Raster, &'a String>;

fn svg(width: usize, height: usize, body: &str) -> String {
    format!("<svg class=\"tile\" viewBox=\"0 0 {width} {height}\">{body}</svg>")
}

/// Small pictures are enlarged as squares: smoothing would invent detail.
fn placed(url: &str, width: usize, height: usize, attributes: &str) -> String {
    format!(
        "<image {attributes} width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
         href=\"{url}\"/>"
    )
}

/// The image itself, embedded under `key`.
pub(crate) fn base(image: Read<'_>, key: &str) -> Result<String, String> {
    let image = image.map_err(Clone::clone)?;
    let drawn = placed(&image.data_url()?, image.width, image.height, &format!("id=\"{key}\""));
    Ok(svg(image.width, image.height, &drawn))
}

/// The image again, by reference: it is embedded only once.
fn again(image: Read<'_>, key: &str, class: &str) -> String {
    image.map_or_else(|_| String::new(), |_| format!("<use class=\"{class}\" href=\"#{key}\"/>"))
}

/// The image again with the outline of every class.
pub(crate) fn outlined(
    image: Read<'_>,
    labels: Read<'_>,
    classes: &[String],
    key: &str,
    dash: &str,
) -> Result<String, String> {
    let labels = labels.map_err(Clone::clone)?;
    let mut body = again(image, key, "");
    // Later classes first: where two classes touch, the border shows the colour of the earlier one.
    for (id, name) in classes.iter().enumerate().skip(1).rev() {
        let Ok(class) = u8::try_from(id) else { continue };
        let path = picture::outline::path(labels, class);
        if !path.is_empty() {
            // A dark line below a bright one is seen on any image.
            let _ = write!(
                body,
                "<path class=\"under\" d=\"{path}\"/><path class=\"over o{} {dash}\" d=\"{path}\">\
                 <title>{}</title></path>",
                (id - 1) % 6,
                escape(name)
            );
        }
    }
    Ok(svg(labels.width, labels.height, &body))
}

fn difference(
    image: Read<'_>,
    truth: Read<'_>,
    prediction: Read<'_>,
    key: &str,
) -> Result<String, String> {
    let (truth, prediction) = (truth.map_err(Clone::clone)?, prediction.map_err(Clone::clone)?);
    if (truth.width, truth.height) != (prediction.width, prediction.height) {
        return Err("truth and prediction differ in size".into());
    }
    let (w, h) = (truth.width, truth.height);
    let overlay = placed(&picture::difference_url(truth, prediction)?, w, h, "class=\"sharp\"");
    Ok(svg(w, h, &format!("{}{overlay}", again(image, key, "dim"))))
}

/// An activation map over the size of its image.
pub(crate) fn heatmap(map: Result<Raster, String>, image: Read<'_>) -> Result<String, String> {
    let map = map?;
    let (w, h) = image.map_or((map.width, map.height), |i| (i.width, i.height));
    Ok(svg(w, h, &placed(&map.mapped_url()?, w, h, "class=\"sharp\"")))
}
