//! The inspection as a page of plain text, at most 100 columns wide.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use scant_core::Role;

use super::{Inspection, SourceReport};
use crate::{Likeness, Severity};

const WIDTH: usize = 100;
/// Items of one kind that are written out; the rest is counted.
const SHOWN: usize = 8;

/// A summary for a terminal: no colour, lines of at most 100 columns (longer only where a single
/// path or name is longer).
#[must_use]
pub fn render_text(inspection: &Inspection) -> String {
    let mut page = Page::default();
    page.line(0, &format!("pool {}", inspection.pool));
    page.line(
        0,
        &format!(
            "{} image(s), {} labelled, in {} group(s) of {} source(s)",
            inspection.images,
            inspection.labelled,
            inspection.groups,
            inspection.sources.len()
        ),
    );
    page.line(0, &format!("classes: {}", inspection.classes.join(", ")));
    for note in &inspection.notes {
        page.line(0, &format!("note: {note}"));
    }
    for source in &inspection.sources {
        write_source(&mut page, source);
    }
    write_annotated(&mut page, inspection);
    write_split(&mut page, inspection);
    write_duplicates(&mut page, inspection);
    write_distances(&mut page, inspection);
    write_problems(&mut page, inspection);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, title: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "\n{title}");
    }

    /// A paragraph, broken at spaces; further lines are indented by four more.
    fn line(&mut self, indent: usize, text: &str) {
        let mut line = " ".repeat(indent);
        let mut fresh = true;
        for word in text.split(' ') {
            let length = line.chars().count() + word.chars().count() + usize::from(!fresh);
            if !fresh && length > WIDTH {
                let _ = writeln!(self.text, "{line}");
                line = " ".repeat(indent + 4);
                fresh = true;
            }
            if !fresh {
                line.push(' ');
            }
            line.push_str(word);
            fresh = false;
        }
        let _ = writeln!(self.text, "{line}");
    }
}

fn counted<K: std::fmt::Display>(counts: &BTreeMap<K, usize>) -> String {
    let all: Vec<String> = counts.iter().map(|(k, n)| format!("{k} ({n})")).collect();
    all.join(", ")
}

fn numbers(values: &[f64]) -> String {
    values.iter().map(|v| format!("{v:.3}")).collect::<Vec<_>>().join(" ")
}

fn write_source(page: &mut Page, source: &SourceReport) {
    let role = format!("{:?}", source.role).to_lowercase();
    page.head(&format!("source {} ({role})", source.name));
    page.line(
        2,
        &format!(
            "images {} in {} group(s), largest group {}; {}",
            source.images,
            source.groups,
            source.largest_group,
            counted(&source.formats)
        ),
    );
    if source.images == 0 {
        return;
    }
    if source.sizes.len() <= 4 {
        page.line(2, &format!("rows x columns {}", counted(&source.sizes)));
    } else {
        page.line(
            2,
            &format!(
                "{} different sizes, rows {} to {}, columns {} to {}",
                source.sizes.len(),
                source.smallest[0],
                source.largest[0],
                source.smallest[1],
                source.largest[1]
            ),
        );
    }
    let spacing = source
        .spacing_mm
        .map_or_else(|| "unknown".to_string(), |[r, c]| format!("{r} x {c} mm (row x column)"));
    page.line(
        2,
        &format!(
            "channels {}; stored {}; pixel spacing {spacing}",
            counted(&source.channels),
            counted(&source.stored)
        ),
    );
    if let (Some([low, high]), Some(p)) = (source.range, source.percentiles) {
        page.line(
            2,
            &format!(
                "intensity {low:.3} to {high:.3}; mean {}; sd {}; 5/50/95 % {}; low range on {}",
                numbers(&source.mean),
                numbers(&source.sd),
                numbers(&p),
                source.low_range
            ),
        );
    }
    for share in &source.shares {
        let pixels = share.pixels.map_or_else(String::new, |[low, middle, high]| {
            format!("; pixels there {low} / {middle} / {high} (least / median / most)")
        });
        page.line(
            2,
            &format!(
                "{}: {:.2} % of pixels, on {} of {} images{pixels}",
                share.class,
                100.0 * share.pixel_share,
                share.images,
                source.images
            ),
        );
    }
    if source.role != Role::Unlabelled {
        page.line(2, &format!("empty masks: {}", source.empty_masks));
    }
    for (value, pixels) in source.unlisted_values.iter().take(SHOWN) {
        page.line(2, &format!("unlisted mask value {value}: {pixels} pixel(s)"));
    }
    if source.unlisted_values.len() > SHOWN {
        page.line(2, &format!("... and {} more values", source.unlisted_values.len() - SHOWN));
    }
}

fn write_annotated(page: &mut Page, inspection: &Inspection) {
    if inspection.sources.len() < 2 {
        return;
    }
    page.head("classes drawn");
    for class in inspection.classes.iter().skip(1) {
        let Some(row) = inspection.annotated.get(class) else { continue };
        let list = |drawn: bool| {
            let names: Vec<&str> =
                row.iter().filter(|(_, d)| **d == drawn).map(|(s, _)| s.as_str()).collect();
            if names.is_empty() { "nowhere".to_string() } else { names.join(", ") }
        };
        page.line(2, &format!("{class}: drawn in {}; not drawn in {}", list(true), list(false)));
    }
}

fn write_split(page: &mut Page, inspection: &Inspection) {
    let Some(split) = &inspection.split else { return };
    page.head("split");
    page.line(2, &format!("images: {}", counted(split)));
    page.line(2, &format!("duplicate pairs that straddle it: {}", inspection.leaks.len()));
}

fn write_duplicates(page: &mut Page, inspection: &Inspection) {
    let found = &inspection.duplicates;
    page.head("duplicates");
    let exact = found.pairs.iter().filter(|p| p.likeness == Likeness::Exact).count();
    page.line(
        2,
        &format!("across groups: {exact} exact pair(s), {} near", found.pairs.len() - exact),
    );
    for pair in found.pairs.iter().take(SHOWN) {
        let how = match pair.likeness {
            Likeness::Exact => "=".to_string(),
            Likeness::Near => format!("~ ({:.2})", pair.similarity),
        };
        page.line(4, &format!("{} {how} {}", pair.a, pair.b));
    }
    if found.pairs.len() > SHOWN {
        page.line(4, &format!("... and {} more", found.pairs.len() - SHOWN));
    }
    for (source, counts) in &found.within_groups {
        page.line(
            2,
            &format!(
                "within groups of {source}: {} exact, {} near (harmless: groups never straddle)",
                counts.exact, counts.near
            ),
        );
    }
}

fn write_distances(page: &mut Page, inspection: &Inspection) {
    if inspection.distances.is_empty() {
        return;
    }
    page.head("distance between sources");
    for d in &inspection.distances {
        page.line(2, &format!("{} / {}: {} (p = {:.3})", d.a, d.b, d.meaning, d.p_value));
    }
}

fn write_problems(page: &mut Page, inspection: &Inspection) {
    if inspection.problems.is_empty() {
        page.head("no problems found");
        return;
    }
    let errors = inspection.problems.iter().filter(|p| p.severity == Severity::Error).count();
    let warnings = inspection.problems.len() - errors;
    page.head(&format!("problems: {errors} error(s), {warnings} warning(s)"));
    let mut shown: BTreeMap<(Severity, String), usize> = BTreeMap::new();
    for problem in &inspection.problems {
        let kind = problem.kind.name();
        let n = shown.entry((problem.severity, kind.clone())).or_default();
        *n += 1;
        if *n > SHOWN {
            continue;
        }
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = if problem.source.is_empty() {
            String::new()
        } else {
            format!(" [{}]", problem.source)
        };
        page.line(2, &format!("{severity} {kind}{place}: {}", problem.message));
        page.line(6, &format!("-> {}", problem.remedy));
    }
    for ((_, kind), n) in shown.iter().filter(|(_, n)| **n > SHOWN) {
        page.line(2, &format!("... and {} more {kind}; --json lists all", n - SHOWN));
    }
}
