//! Finding, pairing and loading cases.

use ndarray::{Array2, Array3};
use scant_data::{Catalog, Pool, ProblemKind, Severity};
use scant_io::Limits;

use super::builder::{Folder, ONE_SOURCE, quarter, scan};

fn has(catalog: &Catalog, kind: ProblemKind, said: &str) {
    let found = catalog.problems.iter().any(|p| p.kind == kind && p.message.contains(said));
    assert!(found, "no {kind:?} with {said:?} in {:#?}", catalog.problems);
}

fn with(line: &str) -> String {
    format!("{ONE_SOURCE}{line}\n")
}

#[test]
fn cases_come_in_the_order_of_their_names_with_group_size_and_spacing() {
    let folder = Folder::new();
    folder.pairs(&["p2_b", "p10_a", "p2_a"]);
    let pool = folder.pool(&with("group = \"^(p[0-9]+)_\"\nspacing_mm = [0.2, 0.3]")).unwrap();
    let catalog = scan(&pool);
    assert!(catalog.problems.is_empty(), "{:?}", catalog.problems);
    let stems: Vec<_> = catalog.entries.iter().map(|e| e.id.stem.as_str()).collect();
    assert_eq!(stems, ["p10_a", "p2_a", "p2_b"]);
    assert_eq!(catalog.entries[2].id.group, "p2");
    assert_eq!(catalog.entries[0].size, (24, 32));
    let sample = catalog.entries[0].load(&pool, &Limits::default()).unwrap();
    assert_eq!(sample.image.geometry.spacing_mm, Some(vec![0.2, 0.3]));
    assert_eq!(sample.label.unwrap().histogram(3), [576, 192, 0]);
    assert_eq!(sample.annotated.flags(), [false, true, false]);
    assert_eq!(scan(&pool), catalog, "scanning again gives the same");
}

#[test]
fn several_masks_are_united_and_must_not_contradict() {
    let folder = Folder::new();
    folder.image("images/a.png", (24, 32), 1).mask("masks/a_mask.png", (24, 32), 1);
    let mut second = Array2::zeros((24, 32));
    second[[23, 31]] = 1u8;
    folder.grey("masks/a_mask_1.png", &second);
    let pool = folder.pool(&ONE_SOURCE.replace("1 = ", "2 = \"vessel\", 1 = ")).unwrap();
    let load = || scan(&pool).entries[0].load(&pool, &Limits::default());
    assert_eq!(load().unwrap().label.unwrap().histogram(3), [575, 193, 0]);
    folder.grey("masks/a_mask_1.png", &quarter((24, 32), 2));
    let message = load().unwrap_err().to_string();
    assert!(message.contains("a_mask_1.png") && message.contains("\"lesion\""), "{message}");
}

#[test]
fn another_suffix_and_names_that_end_in_digits() {
    let folder = Folder::new();
    for stem in ["img_1", "img_12"] {
        folder.image(&format!("images/{stem}.png"), (24, 32), 1);
        folder.mask(&format!("masks/{stem}_label.png"), (24, 32), 1);
    }
    let pool = folder.pool(&with("mask_suffix = \"_label\"")).unwrap();
    let catalog = scan(&pool);
    assert!(catalog.problems.is_empty(), "{:?}", catalog.problems);
    assert!(catalog.entries.iter().all(|e| e.masks.len() == 1));
    let plain = folder.pool(ONE_SOURCE).unwrap();
    let catalog = scan(&plain);
    has(&catalog, ProblemKind::MissingMask, "img_1.png");
    has(&catalog, ProblemKind::OrphanMask, "2 mask(s) without an image");
    let message = catalog.require_usable(&plain).unwrap_err().to_string();
    assert!(message.contains("no usable labelled image") && message.contains("img_1"), "{message}");
}

#[test]
fn trouble_with_single_files_is_listed_and_the_rest_goes_on() {
    let folder = Folder::new();
    folder.pairs(&["1_ok", "1_small", "2_broken", "noname", "1_twice"]);
    folder.mask("masks/1_small.png", (24, 30), 1);
    folder.text("images/2_broken.png", "this is no image");
    let png = folder.path().join("images/1_twice.png");
    std::fs::copy(&png, png.with_extension("bmp")).unwrap();
    folder.text("images/volume.nii.gz", "");
    let pool = folder.pool(&with("group = \"^([0-9]+)_\"")).unwrap();
    let catalog = scan(&pool);
    assert_eq!(catalog.entries.len(), 1);
    assert_eq!(catalog.entries[0].id.stem, "1_ok");
    has(&catalog, ProblemKind::SizeMismatch, "24 rows x 30 columns but its image");
    has(&catalog, ProblemKind::Unreadable, "2_broken.png");
    has(&catalog, ProblemKind::NoGroup, "does not match \"noname\"");
    has(&catalog, ProblemKind::DuplicateName, "2 images have the name \"1_twice\"");
    has(&catalog, ProblemKind::PassedOver, ".nii.gz");
    assert!(catalog.problems.iter().all(|p| !p.remedy.is_empty()));
    let passed = catalog.problems.iter().find(|p| p.kind == ProblemKind::PassedOver).unwrap();
    assert_eq!(passed.severity, Severity::Warning);
    assert_eq!(serde_json::to_value(passed).unwrap()["kind"], "passed-over");
}

#[test]
fn an_unlisted_value_names_file_value_and_remedy() {
    let folder = Folder::new();
    folder.pairs(&["a"]).mask("masks/a.png", (24, 32), 128);
    let pool = folder.pool(ONE_SOURCE).unwrap();
    let message = scan(&pool).entries[0].load(&pool, &Limits::default()).unwrap_err().to_string();
    for said in ["a.png", "value 128 stands on 192", "listed: 0, 1", "add e.g. `128 ="] {
        assert!(message.contains(said), "{message}");
    }
    folder.rgb("masks/a.png", &Array3::from_shape_fn((24, 32, 3), |(_, _, k)| 10 * k as u8));
    let message = scan(&pool).entries[0].load(&pool, &Limits::default()).unwrap_err().to_string();
    assert!(message.contains("\"#000a14\""), "{message}");
}

/// As a run folder stores it.
#[test]
fn a_pool_with_globs_may_be_read_from_elsewhere() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    for name in ["benign (1)", "benign (2)", "other"] {
        folder.image(&format!("set [v{{1}}]/images/{name}.png"), (24, 32), 1);
        folder.mask(&format!("set [v{{1}}]/masks/{name}.png"), (24, 32), 1);
    }
    let text = ONE_SOURCE
        .replace("\"images\"", "\"images/benign*\"")
        .replace("\"masks\"", "\"mask?/*.png\"");
    let text = format!("name = \"p\"\nclasses = [\"background\", \"lesion\"]\n{text}");
    folder.text("set [v{1}]/pool.toml", &text);
    let pool = Pool::open(&folder.path().join("set [v{1}]/pool.toml")).unwrap();
    elsewhere.text("pool.toml", &pool.to_toml_absolute());
    let moved = Pool::open(&elsewhere.path().join("pool.toml")).unwrap();
    let ids = |pool: &Pool| -> Vec<String> {
        scan(pool).entries.iter().map(|e| e.id.to_string()).collect()
    };
    assert_eq!(ids(&pool).len(), 2, "{:?}", ids(&pool));
    assert_eq!(ids(&pool), ids(&moved));
    // And once more from there.
    assert_eq!(moved.to_toml_absolute(), pool.to_toml_absolute());
}

#[test]
fn globs_keep_cases_of_the_same_file_name_apart() {
    let folder = Folder::new();
    for patient in ["p1", "p2"] {
        folder.image(&format!("set/{patient}/s.png"), (24, 32), 1);
        folder.mask(&format!("drawn/{patient}/s.png"), (24, 32), 1);
    }
    let text = ONE_SOURCE
        .replace("\"images\"", "\"set/**/*.png\"")
        .replace("\"masks\"", "\"drawn/**/*.png\"");
    let pool = folder.pool(&format!("{text}group = \"^(p[0-9]+)/\"\n")).unwrap();
    let catalog = scan(&pool);
    let ids: Vec<_> =
        catalog.entries.iter().map(|e| (e.id.group.as_str(), e.id.stem.as_str())).collect();
    assert_eq!(ids, [("p1", "p1__s"), ("p2", "p2__s")]);
    assert!(catalog.entries[1].masks[0].ends_with("drawn/p2/s.png"));
}
