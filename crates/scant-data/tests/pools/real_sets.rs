//! Published sets with their known traps; each test is passed over where its set is not at hand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use scant_data::{
    Fingerprint, InspectOptions, Inspection, Likeness, NEAR_DUPLICATE, Pool, ProblemKind,
    SplitSpec, inspect, make_split, render_text,
};
use scant_io::Limits;

fn location(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(default),
        PathBuf::from,
    )
}

/// The folder of a set, or `None` with a message.
fn set(name: &str) -> Option<PathBuf> {
    let folder = location("SCANT_DATA", "data").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

fn pool(folder: &Path, classes: &str, rest: &str) -> Pool {
    let text = format!(
        "name = \"p\"\nclasses = {classes}\n[[source]]\nname = \"s\"\nimages = \"images\"\n\
         masks = \"masks\"\n{rest}\n"
    );
    Pool::from_toml_str(&text, folder.into()).unwrap()
}

fn look(pool: &Pool) -> Inspection {
    let catalog = pool.scan(&Limits::default()).unwrap();
    inspect(pool, &catalog, &InspectOptions::default())
}

fn pairs(found: &Inspection) -> BTreeSet<(String, String)> {
    found.duplicates.pairs.iter().map(|p| (p.a.stem.clone(), p.b.stem.clone())).collect()
}

fn errors(found: &Inspection) -> Vec<&str> {
    use scant_data::Severity;
    let all = found.problems.iter().filter(|p| p.severity == Severity::Error);
    all.map(|p| p.message.as_str()).collect()
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.into(), b.into())
}

#[test]
fn tnbc_splits_by_slide() {
    let Some(folder) = set("tnbc-nuclei") else { return };
    let pool = pool(
        &folder,
        "[\"background\", \"nucleus\"]",
        "values = { 0 = \"background\", 1 = \"nucleus\" }\ngroup = \"^([0-9]+)_\"",
    );
    let found = look(&pool);
    assert_eq!((found.images, found.groups), (50, 11));
    assert!(errors(&found).is_empty() && found.duplicates.pairs.is_empty());
    assert_eq!(found.sources[0].formats["JPEG"], 50);
    let catalog = pool.scan(&Limits::default()).unwrap();
    let (split, messages) = make_split(&catalog, &pool, &SplitSpec::default()).unwrap();
    assert!(messages.is_empty(), "{messages:?}");
    assert!((7..=13).contains(&split.test.len()), "{}", split.test.len());
    let sample = catalog.entries[0].load(&pool, &Limits::default()).unwrap();
    assert_eq!(sample.image.pixels.shape(), [3, 512, 512]);
}

#[test]
fn busi_is_inferred_and_its_near_duplicate_found() {
    let Some(folder) = set("busi-breast") else { return };
    let pool = Pool::open(&folder).unwrap();
    assert_eq!(pool.classes.names(), ["background", "class-255"]);
    let found = look(&pool);
    assert_eq!((found.images, found.sources[0].empty_masks), (95, 15));
    assert!(errors(&found).is_empty(), "{:?}", errors(&found));
    let pairs = pairs(&found);
    assert!(pairs.contains(&pair("malignant (39)", "malignant (42)")), "{pairs:?}");
    assert!(pairs.len() <= 2, "false alarms: {pairs:?}");
    let text = render_text(&found);
    assert!(text.contains("s/malignant (39)") || text.contains("malignant (39)"), "{text}");
}

#[test]
fn palette_masks_and_twins_of_usgra() {
    let Some(folder) = set("usgra-nerve-vessel") else { return };
    let pool = Pool::open(&folder).unwrap();
    assert_eq!(pool.classes.names(), ["background", "class-1", "class-2"]);
    let found = look(&pool);
    assert_eq!(found.images, 84);
    let pairs = pairs(&found);
    for (a, b) in [("0043", "0077"), ("0055", "0058"), ("0081", "0114")] {
        assert!(pairs.contains(&pair(a, b)), "{a} {b}: {pairs:?}");
    }
    assert!(pairs.len() <= 5, "false alarms: {pairs:?}");
    let twin = found.duplicates.pairs.iter().find(|p| p.a.stem == "0043").unwrap();
    assert_eq!(twin.likeness, Likeness::Exact);
}

#[test]
fn three_grey_levels_of_white_cells() {
    let Some(folder) = set("wbc-jtsc") else { return };
    let inferred = Pool::open(&folder).unwrap();
    assert_eq!(inferred.classes.names(), ["background", "class-128", "class-255"]);
    let found = look(&inferred);
    assert_eq!((found.images, found.sources[0].formats["BMP"]), (120, 120));
    // The same field twice, and one cell cut out twice with a shift.
    let twins = pairs(&found);
    assert!(twins.contains(&pair("167", "169")) && twins.contains(&pair("051", "073")));
    assert!(twins.len() <= 3, "false alarms: {twins:?}");
    let partial = pool(
        &folder,
        "[\"background\", \"nucleus\"]",
        "values = { 0 = \"background\", 255 = \"nucleus\" }",
    );
    let found = look(&partial);
    assert!(found.sources[0].unlisted_values["128"] > 100_000);
    assert!(found.problems.iter().any(|p| p.kind == ProblemKind::UnlistedValue));
}

#[test]
fn slices_of_one_patient_are_counted_not_listed() {
    for (name, rule, groups) in
        [("acdc-cine-nc", "^(patient[0-9]+)_", 10), ("sunnybrook-lv", "^(SC-.*?)-IM", 24)]
    {
        let Some(folder) = set(name) else { continue };
        let mut pool = Pool::open(&folder).unwrap();
        let rule = format!("group = '{rule}'\n");
        pool = Pool::from_toml_str(&(pool.to_toml() + &rule), folder).unwrap();
        let found = look(&pool);
        assert_eq!(found.groups, groups, "{name}");
        assert!(found.duplicates.pairs.is_empty(), "{name}: {:?}", pairs(&found));
        let counts = found.duplicates.within_groups.values().next().unwrap();
        assert!(counts.near > 50, "{name}: {counts:?}");
    }
}

#[test]
fn dim_nuclei_are_noticed_and_the_two_sources_lie_apart() {
    let (Some(bright), Some(dim)) = (set("dsb2018-fluo256"), set("dsb2018-fluo360")) else {
        return;
    };
    let source = |name: &str, folder: &Path| {
        let folder = folder.display();
        format!(
            "[[source]]\nname = \"{name}\"\nimages = '{folder}/images'\nmasks = '{folder}/masks'\n\
             values = {{ 0 = \"background\", 1 = \"nucleus\" }}\n"
        )
    };
    let text = "name = \"p\"\nclasses = [\"background\", \"nucleus\"]\n".to_string()
        + &source("small", &bright)
        + &source("large", &dim);
    let pool = Pool::from_toml_str(&text, ".".into()).unwrap();
    let found = look(&pool);
    let large = found.sources.iter().find(|s| s.name == "large").unwrap();
    assert!(large.low_range > 20, "{}", large.low_range);
    let low = |p: &&scant_data::Problem| p.kind == ProblemKind::LowDynamicRange;
    assert!(found.problems.iter().filter(low).any(|p| p.source == "large"));
    assert!(found.distances[0].p_value < 0.05, "{:?}", found.distances);
    assert!(found.duplicates.pairs.is_empty(), "{:?}", pairs(&found));
}

#[test]
fn unlabelled_images_and_sections_of_one_block() {
    if let Some(folder) = set("busi-breast-unlabelled") {
        assert!(Pool::open(&folder).unwrap_err().to_string().contains("no folder of masks"));
        let pool = Pool::open_unlabelled(&folder).unwrap();
        let catalog = pool.scan(&Limits::default()).unwrap();
        assert_eq!(catalog.entries.len(), 110);
        assert!(catalog.require_usable(&pool).is_err());
    }
    if let Some(folder) = set("vnc-ssem-nc") {
        let pool = Pool::open(&folder).unwrap();
        assert_eq!(pool.classes.len(), 4);
        let found = look(&pool);
        assert_eq!((found.images, found.sources[0].formats["TIFF"]), (5, 5));
        assert!(found.duplicates.pairs.is_empty(), "{:?}", pairs(&found));
    }
}

#[test]
fn known_copies_of_other_size_and_tint_are_recognised() {
    let folder = location("SCANT_FORMATS", "formats").join("oddities/near_duplicates");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let print = |name: &str| {
        let image = scant_io::read_image(&folder.join(name), &Limits::default()).unwrap();
        Fingerprint::of(&image).unwrap()
    };
    let prints =
        ["img_0002.png", "img_0047.png", "benign (42).png", "malignant (51).png"].map(print);
    for (a, b, near) in
        [(0, 1, true), (2, 3, true), (0, 2, false), (0, 3, false), (1, 2, false), (1, 3, false)]
    {
        let similarity = prints[a].similarity(&prints[b]);
        assert_eq!(similarity.is_some_and(|s| s >= NEAR_DUPLICATE), near, "{a} {b} {similarity:?}");
    }
}

#[test]
fn oddities_are_named_for_what_they_are() {
    let odd = location("SCANT_FORMATS", "formats").join("oddities");
    if !odd.is_dir() {
        eprintln!("skipped: {} is not there", odd.display());
        return;
    }
    let folder = super::builder::Folder::new();
    let copy = |from: &str, to: &str| {
        let to = folder.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(odd.join(from), to).unwrap();
    };
    copy("04_1.png", "images/04_1.png");
    folder.mask("masks/04_1.png", (512, 512), 1);
    copy("benign (4)_mask.png", "masks/benign (4)_mask.png");
    folder.image("images/benign (4).png", (500, 400), 1);
    copy("wbc_stray_values/050.png", "masks/050.png");
    folder.image("images/050.png", (300, 300), 2);
    let text = super::builder::ONE_SOURCE
        .replace("1 = \"lesion\"", "1 = \"lesion\", 128 = \"lesion\", 255 = \"vessel\"");
    let found = look(&folder.pool(&text).unwrap());
    let has = |kind: ProblemKind, said: &str| {
        let hit = found.problems.iter().any(|p| p.kind == kind && p.message.contains(said));
        assert!(hit, "{kind:?} {said}: {:#?}", found.problems);
    };
    has(ProblemKind::ExtensionDisagrees, "named .png but JPEG inside");
    has(ProblemKind::SizeMismatch, "416 rows x 416 columns");
    has(ProblemKind::UnlistedValue, "mask value 9 on 22 pixel(s)");
}
