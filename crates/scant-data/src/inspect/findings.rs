//! From measurements to problems with remedies.

use std::collections::BTreeMap;
use std::path::PathBuf;

use scant_core::Role;
use scant_io::Format;

use super::measure::{self, Measured};
use super::{Leak, SourceReport};
use crate::{
    Catalog, DataError, Duplicates, Entry, Likeness, MaskValue, Pool, Problem, ProblemKind,
    Severity,
};

/// All problems: those of the scan and those that only pixels show; errors first.
pub(super) fn collect(
    pool: &Pool,
    catalog: &Catalog,
    measured: &[Measured],
    sources: &[SourceReport],
    duplicates: &Duplicates,
    leaks: &[Leak],
) -> Vec<Problem> {
    let mut out = Findings { pool, problems: catalog.problems.clone() };
    let cases: Vec<(&Entry, &Measured)> = catalog.entries.iter().zip(measured).collect();
    for (entry, one) in &cases {
        out.of_case(entry, one);
    }
    for (index, report) in sources.iter().enumerate() {
        let own: Vec<_> = cases.iter().copied().filter(|(e, _)| e.source == index).collect();
        out.of_source(index, report, &own);
    }
    out.of_classes();
    out.of_duplicates(catalog, duplicates, leaks);
    out.problems.sort_by_key(|p| p.severity);
    out.problems
}

struct Findings<'a> {
    pool: &'a Pool,
    problems: Vec<Problem>,
}

fn first(paths: &[PathBuf]) -> String {
    paths.first().map(|p| p.display().to_string()).unwrap_or_default()
}

impl Findings<'_> {
    fn add(
        &mut self,
        severity: Severity,
        kind: ProblemKind,
        source: &str,
        paths: Vec<PathBuf>,
        message: String,
        remedy: &str,
    ) {
        let (source, remedy) = (source.to_string(), remedy.to_string());
        self.problems.push(Problem { severity, kind, source, paths, message, remedy });
    }

    fn of_case(&mut self, entry: &Entry, one: &Measured) {
        let source = &entry.id.source;
        for (path, error) in &one.errors {
            let kind = match error {
                DataError::SizeMismatch { .. } => ProblemKind::SizeMismatch,
                _ => ProblemKind::Unreadable,
            };
            self.add(
                Severity::Error,
                kind,
                source,
                vec![path.clone()],
                error.to_string(),
                "replace the file by a whole copy, or take the case out",
            );
        }
        if let Some(path) = &one.contradiction {
            self.add(
                Severity::Error,
                ProblemKind::ContradictingMasks,
                source,
                vec![path.clone()],
                format!("{}: another mask of the image has another class there", path.display()),
                "masks of one image are united; correct the overlap",
            );
        }
    }

    fn of_source(&mut self, index: usize, report: &SourceReport, cases: &[(&Entry, &Measured)]) {
        let name = report.name.as_str();
        self.disguised(name, cases);
        self.unlisted(index, name, cases);
        let files = |test: &dyn Fn(&Measured) -> bool| -> Vec<PathBuf> {
            cases.iter().filter(|(_, m)| test(m)).map(|(e, _)| e.image.clone()).collect()
        };
        let empty = files(&|m| measure::is_empty(self.pool, index, m));
        if !empty.is_empty() {
            self.add(
                Severity::Warning,
                ProblemKind::EmptyMask,
                name,
                empty.clone(),
                format!("{} of {} masks are empty, e.g. of {}", empty.len(), cases.len(), first(&empty)),
                "right if nothing was found there; if nobody looked, move these images to a source with \
                 role = \"unlabelled\"",
            );
        }
        let constant = files(&Measured::is_constant);
        if !constant.is_empty() {
            self.add(
                Severity::Warning,
                ProblemKind::ConstantImage,
                name,
                constant.clone(),
                format!(
                    "{} image(s) of one intensity throughout, e.g. {}",
                    constant.len(),
                    first(&constant)
                ),
                "take them out: nothing can be learned or measured on them",
            );
        }
        let low = files(&|m| m.is_low_range() && !m.is_constant());
        if !low.is_empty() {
            let used = report.range.map_or(0.0, |r| r[1]);
            self.add(
                Severity::Warning,
                ProblemKind::LowDynamicRange,
                name,
                low.clone(),
                format!(
                    "{} of {} images use less than a quarter of the intensity range (largest sample in \
                     the source {used:.2} of 1), e.g. {}",
                    low.len(),
                    cases.len(),
                    first(&low)
                ),
                "normalise each image on its own (percentiles or z-score), not by the range of the file \
                 type",
            );
        }
        if report.channels.len() > 1 {
            let shown: Vec<String> =
                report.channels.iter().map(|(c, n)| format!("{n} with {c}")).collect();
            self.add(
                Severity::Warning,
                ProblemKind::MixedChannels,
                name,
                Vec::new(),
                format!("images have different numbers of channels: {}", shown.join(", ")),
                "they are made alike when loaded for training; check that this is meant",
            );
        }
        for share in &report.shares {
            if share.images == 0 && report.images > 0 {
                self.add(
                    Severity::Warning,
                    ProblemKind::ClassNeverPresent,
                    name,
                    Vec::new(),
                    format!("\"{}\" is annotated but has no pixel on any image", share.class),
                    "if nobody drew it here, take it out of `annotated`: else the network learns that it \
                     is never there",
                );
            }
        }
        for id in self.pool.classes.foreground() {
            let source = &self.pool.sources[index];
            let has = |m: &Measured| {
                m.classes.as_ref().is_some_and(|(counts, _)| counts[usize::from(id)] > 0)
            };
            let drawn = cases.iter().filter(|(_, m)| has(m)).count();
            if drawn > 0 && !source.annotated.has(id) {
                self.add(
                    Severity::Warning,
                    ProblemKind::ClassNotAnnotated,
                    name,
                    Vec::new(),
                    format!(
                        "\"{}\" has pixels on {drawn} image(s) but is not listed in `annotated`",
                        self.pool.classes.name(id)
                    ),
                    "list it if it was drawn everywhere it is visible; otherwise these pixels are not \
                     learned from",
                );
            }
        }
        if report.role != Role::Unlabelled && (1..3).contains(&report.groups) {
            self.add(
                Severity::Warning,
                ProblemKind::FewGroups,
                name,
                Vec::new(),
                format!("{} image(s) in only {} group(s)", report.images, report.groups),
                "train, validation and test need a group each; check the `group` rule or add patients",
            );
        }
    }

    fn disguised(&mut self, name: &str, cases: &[(&Entry, &Measured)]) {
        let mut by_format: BTreeMap<(String, Format), Vec<PathBuf>> = BTreeMap::new();
        for (path, format) in cases.iter().flat_map(|(_, m)| &m.disguised) {
            let extension = crate::pool::selection::extension(path);
            by_format.entry((extension, *format)).or_default().push(path.clone());
        }
        for ((extension, format), paths) in by_format {
            self.add(
                Severity::Warning,
                ProblemKind::ExtensionDisagrees,
                name,
                paths.clone(),
                format!("{}: named .{extension} but {format} inside ({} file(s))", first(&paths), paths.len()),
                if format == Format::Jpeg {
                    "they are read as JPEG; lossy copies are poor masks and second-best images: look for \
                     the originals"
                } else {
                    "they are read by their content; rename them before other tools trip over it"
                },
            );
        }
    }

    fn unlisted(&mut self, index: usize, name: &str, cases: &[(&Entry, &Measured)]) {
        let mut by_value: BTreeMap<MaskValue, (u64, Vec<PathBuf>)> = BTreeMap::new();
        for (entry, one) in cases {
            for (value, pixels) in &one.unlisted {
                let of = by_value.entry(*value).or_default();
                of.0 += pixels;
                of.1.extend(entry.masks.first().cloned());
            }
        }
        if by_value.len() > 24 {
            // One line each would drown everything else.
            let mut paths: Vec<PathBuf> = by_value.values().flat_map(|(_, p)| p.clone()).collect();
            paths.sort();
            paths.dedup();
            self.add(
                Severity::Error,
                ProblemKind::UnlistedValue,
                name,
                paths.clone(),
                format!(
                    "{}: {} different mask values are not listed in `values` ({} file(s)), as lossy \
                     (JPEG) compression, smooth resizing or instance numbers leave them",
                    first(&paths),
                    by_value.len(),
                    paths.len()
                ),
                "export the masks without loss and with nearest-neighbour resizing, or turn instances \
                 into classes",
            );
            return;
        }
        for (value, (pixels, paths)) in by_value {
            self.add(
                Severity::Error,
                ProblemKind::UnlistedValue,
                name,
                paths.clone(),
                format!(
                    "{}: mask value {value} on {pixels} pixel(s) of {} file(s) is not listed in `values` \
                     (listed: {})",
                    first(&paths),
                    paths.len(),
                    self.pool.sources[index].values.listed()
                ),
                &format!("add e.g. {value} = \"background\" to `values`, or correct the masks"),
            );
        }
    }

    /// Presence of a class that goes with the site is a shortcut a network will take.
    fn of_classes(&mut self) {
        let labelled: Vec<_> = self.pool.sources.iter().filter(|s| s.is_labelled()).collect();
        for id in self.pool.classes.foreground() {
            let class = self.pool.classes.name(id);
            let (with, without): (Vec<_>, Vec<_>) =
                labelled.iter().partition(|s| s.annotated.has(id));
            let names = |list: &[&&crate::Source]| {
                list.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ")
            };
            let message = if with.is_empty() {
                format!("\"{class}\" is drawn in no source")
            } else if !without.is_empty() {
                format!("\"{class}\" is drawn in {} but not in {}", names(&with), names(&without))
            } else {
                continue;
            };
            self.problems.push(Problem {
                severity: Severity::Warning,
                kind: ProblemKind::ClassNotEverywhere,
                source: String::new(),
                paths: Vec::new(),
                message,
                remedy: "the loss counts only classes in `annotated`; a network may still learn the site \
                         instead of the class, so train with label dropout and compare sources"
                    .into(),
            });
        }
    }

    fn of_duplicates(&mut self, catalog: &Catalog, duplicates: &Duplicates, leaks: &[Leak]) {
        let path = |id| catalog.get(id).map(|e| e.image.clone());
        for leak in leaks {
            self.add(
                Severity::Error,
                ProblemKind::SplitLeak,
                "",
                [path(&leak.a), path(&leak.b)].into_iter().flatten().collect(),
                format!(
                    "{} ({}) and {} ({}) show the same",
                    leak.a,
                    leak.a_part.name(),
                    leak.b,
                    leak.b_part.name()
                ),
                "draw the split again with duplicates kept together, or take one of the two out",
            );
        }
        for pair in &duplicates.pairs {
            let (kind, how) = match pair.likeness {
                Likeness::Exact => (ProblemKind::Duplicate, "are the same image".to_string()),
                Likeness::Near => (
                    ProblemKind::NearDuplicate,
                    format!("are nearly the same image (similarity {:.2})", pair.similarity),
                ),
            };
            self.add(
                Severity::Warning,
                kind,
                if pair.a.source == pair.b.source { &pair.a.source } else { "" },
                [path(&pair.a), path(&pair.b)].into_iter().flatten().collect(),
                format!("{} and {} {how} in different groups", pair.a, pair.b),
                "keep them in one part of the split, or take one out",
            );
        }
    }
}
