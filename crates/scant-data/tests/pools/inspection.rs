//! The inspection finds what was planted.

use ndarray::Array2;
use scant_data::{
    InspectOptions, Inspection, Likeness, ProblemKind, Severity, SplitSpec, find_duplicates_in,
    inspect, make_split, render_text,
};

use super::builder::{Folder, ONE_SOURCE, quarter, scan, texture};

fn look(folder: &Folder, sources: &str) -> Inspection {
    let pool = folder.pool(sources).unwrap();
    inspect(&pool, &scan(&pool), &InspectOptions::default())
}

fn has(found: &Inspection, severity: Severity, kind: ProblemKind, said: &str) {
    let hit = found
        .problems
        .iter()
        .any(|p| p.severity == severity && p.kind == kind && p.message.contains(said));
    assert!(hit, "no {kind:?} with {said:?} in {:#?}", found.problems);
}

#[test]
fn counts_shares_and_sizes_are_those_of_the_files() {
    let folder = Folder::new();
    folder.pairs(&["1_a", "1_b", "2_a", "3_a"]);
    let found = look(&folder, &format!("{ONE_SOURCE}group = \"^([0-9]+)_\"\n"));
    let source = &found.sources[0];
    assert_eq!((found.images, found.labelled, found.groups, source.largest_group), (4, 4, 3, 2));
    assert_eq!(source.sizes["24 x 32"], 4);
    assert_eq!(source.channels[&1], 4);
    assert_eq!((source.stored["u8"], source.formats["PNG"]), (4, 4));
    assert_eq!(source.shares.len(), 1);
    assert!((source.shares[0].pixel_share - 0.25).abs() < 1e-12);
    assert_eq!(source.shares[0].pixels, Some([192, 192, 192]));
    assert!((source.mean[0] - 0.5).abs() < 0.1);
    assert!(found.problems.iter().all(|p| p.kind == ProblemKind::ClassNotEverywhere));
    assert_eq!(serde_json::to_value(&found).unwrap()["sources"][0]["images"], 4);
}

#[test]
fn planted_faults_are_found() {
    let folder = Folder::new();
    folder.pairs(&["ok", "empty", "stray", "dim", "flat", "named"]);
    folder.mask("masks/empty.png", (24, 32), 0).mask("masks/stray.png", (24, 32), 128);
    folder.grey("images/dim.png", &texture((24, 32), 8).mapv(|v| v / 8));
    folder.grey("images/flat.png", &Array2::from_elem((24, 32), 90));
    let png = std::fs::read(folder.path().join("images/named.png")).unwrap();
    std::fs::remove_file(folder.path().join("images/named.png")).unwrap();
    std::fs::write(folder.path().join("images/named.jpg"), png).unwrap();
    // The header is whole, the pixels are not: only an inspection sees it.
    folder.image("images/cut.png", (24, 32), 20).mask("masks/cut.png", (24, 32), 1);
    let whole = std::fs::read(folder.path().join("images/cut.png")).unwrap();
    std::fs::write(folder.path().join("images/cut.png"), &whole[..whole.len() / 2]).unwrap();
    let found = look(
        &folder,
        &ONE_SOURCE.replace("values", "annotated = [\"lesion\", \"vessel\"]\nvalues"),
    );
    has(&found, Severity::Error, ProblemKind::UnlistedValue, "mask value 128 on 192 pixel(s)");
    has(&found, Severity::Error, ProblemKind::Unreadable, "cut.png");
    has(&found, Severity::Warning, ProblemKind::EmptyMask, "2 of 7 masks are empty");
    has(&found, Severity::Warning, ProblemKind::LowDynamicRange, "1 of 7 images");
    has(&found, Severity::Warning, ProblemKind::ConstantImage, "flat.png");
    has(&found, Severity::Warning, ProblemKind::ExtensionDisagrees, "named .jpg but PNG inside");
    has(&found, Severity::Warning, ProblemKind::ClassNeverPresent, "\"vessel\"");
    assert_eq!(found.sources[0].unlisted_values["128"], 192);
    assert_eq!(found.problems[0].severity, Severity::Error, "errors come first");
    let text = render_text(&found);
    assert!(text.contains("error unlisted-value [site]"), "{text}");
    assert!(text.contains("no pixel on any image"), "{text}");
}

#[test]
fn duplicates_leak_through_a_split_that_does_not_know_them() {
    let folder = Folder::new();
    let stems: Vec<String> = (0..12).map(|i| format!("c{i:02}")).collect();
    folder.pairs(&stems.iter().map(String::as_str).collect::<Vec<_>>());
    for i in 0..6 {
        // Every second image is a copy of the one before it.
        let seed = 1000 + i;
        folder.image(&format!("images/c{:02}.png", 2 * i), (24, 32), seed);
        folder.image(&format!("images/c{:02}.png", 2 * i + 1), (24, 32), seed);
    }
    let pool = folder.pool(ONE_SOURCE).unwrap();
    let catalog = scan(&pool);
    let (split, _) = make_split(&catalog, &pool, &SplitSpec::default()).unwrap();
    let options = InspectOptions { split: Some(&split), ..InspectOptions::default() };
    let found = inspect(&pool, &catalog, &options);
    assert_eq!(found.duplicates.pairs.len(), 6);
    assert!(found.duplicates.pairs.iter().all(|p| p.likeness == Likeness::Exact));
    assert!(!found.leaks.is_empty());
    has(&found, Severity::Error, ProblemKind::SplitLeak, "show the same");

    let keep_together = find_duplicates_in(&catalog, &scant_io::Limits::default()).keep_together();
    let spec = SplitSpec { keep_together, ..SplitSpec::default() };
    let (split, _) = make_split(&catalog, &pool, &spec).unwrap();
    let options = InspectOptions { split: Some(&split), ..InspectOptions::default() };
    assert!(inspect(&pool, &catalog, &options).leaks.is_empty());
}

#[test]
fn sources_that_differ_are_said_to_differ_and_the_page_stays_narrow() {
    let folder = Folder::new();
    for i in 0..6 {
        folder.image(&format!("a/images/a{i}.png"), (24, 32), i).mask(
            &format!("a/masks/a{i}.png"),
            (24, 32),
            1,
        );
        let bright = texture((24, 32), 50 + i).mapv(|v| 128 + v / 2);
        folder.grey(&format!("b/images/b{i}.png"), &bright);
        folder.grey(&format!("b/masks/b{i}.png"), &quarter((24, 32), 2));
    }
    let source = |name: &str, value: u8, class: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nimages = \"{name}/images\"\nmasks = \"{name}/masks\"\n\
             values = {{ 0 = \"background\", {value} = \"{class}\" }}\n"
        )
    };
    let found = look(&folder, &(source("a", 1, "lesion") + &source("b", 2, "vessel")));
    let distance = &found.distances[0];
    assert!((distance.wasserstein - 0.25).abs() < 0.05, "{distance:?}");
    assert!(distance.p_value < 0.05 && distance.auc == Some(1.0), "{distance:?}");
    assert!(found.annotated["lesion"]["a"] && !found.annotated["lesion"]["b"]);
    has(&found, Severity::Warning, ProblemKind::ClassNotEverywhere, "\"lesion\" is drawn in a but");
    let text = render_text(&found);
    assert!(text.contains("grey values differ by 2"), "{text}");
    let long: Vec<&str> = text
        .lines()
        .filter(|l| l.chars().count() > 100 && !l.contains(&folder.path().display().to_string()))
        .collect();
    assert!(long.is_empty(), "{long:?}");
    assert!(!text.contains('\u{1b}'));
}
