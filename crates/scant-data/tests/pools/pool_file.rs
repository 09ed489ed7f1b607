//! What a pool file and a bare folder mean, and how they are refused.

use ndarray::Array3;
use scant_core::Role;
use scant_data::{MaskValue, Pool};

use super::builder::{Folder, ONE_SOURCE, quarter, texture};

fn error(sources: &str) -> String {
    Folder::new().pool(sources).unwrap_err().to_string()
}

fn changed(from: &str, to: &str) -> String {
    assert!(ONE_SOURCE.contains(from));
    error(&ONE_SOURCE.replace(from, to))
}

#[test]
fn a_full_pool_file_is_read_and_written_back() {
    let text = r##"
[[source]]
name = "a"
role = "novel"
images = "a/images"
masks = "a/masks"
mask_suffix = "_gt"
values = { 0 = "background", "#ff0000" = "lesion", 255 = "vessel" }
annotated = ["vessel"]
group = '^(\d+)_'
split = "splits/a.toml"
spacing_mm = [0.5, 1]

[[source]]
name = "b \"quoted\""
role = "unlabelled"
images = "b/*.png"
"##;
    let pool = Folder::new().pool(text).unwrap();
    let a = &pool.sources[0];
    assert_eq!((a.role, a.spacing_mm), (Role::Novel, Some([0.5, 1.0])));
    assert_eq!(a.annotated.flags(), [false, false, true]);
    assert_eq!(a.group_of("07_x").as_deref(), Some("07"));
    assert_eq!(a.group_of("x"), None);
    let values: Vec<_> = a.values.iter().collect();
    assert_eq!(
        values,
        [(MaskValue::Level(0), 0), (MaskValue::Level(255), 2), (MaskValue::Colour(0xff_0000), 1)]
    );
    assert!(!pool.sources[1].is_labelled());
    let again = Pool::from_toml_str(&pool.to_toml(), pool.root.clone()).unwrap();
    assert_eq!(again.to_toml(), pool.to_toml());
    assert_eq!(again.sources[0].values, a.values);
    assert_eq!(again.sources[1].name, "b \"quoted\"");
    let moved = Pool::from_toml_str(&pool.to_toml_absolute(), "/elsewhere".into()).unwrap();
    assert!(moved.sources[0].images.ends_with("a/images"));
    assert!(std::path::Path::new(&moved.sources[0].images).is_absolute());
}

#[test]
fn unknown_keys_name_the_nearest() {
    let message = changed("images = ", "imges = ");
    assert!(message.contains("unknown key \"imges\" in [[source]] \"site\""), "{message}");
    assert!(message.contains("did you mean \"images\"?"), "{message}");
    let message = error(&format!("clases = 1\n{ONE_SOURCE}"));
    assert!(message.contains("top level; did you mean \"classes\"?"), "{message}");
    let message = changed("name = \"site\"", "name = \"site\"\nzzz = 1");
    assert!(message.contains("valid keys: name, role"), "{message}");
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_remedy() {
    for (from, to, said) in [
        ("name = \"site\"", "", "`name` is missing"),
        ("name = \"site\"", "name = \"a/b\"", "slash"),
        ("name = \"site\"", "name = \"site\"\nrole = \"novell\"", "did you mean \"novel\""),
        ("masks = \"masks\"", "", "say role = \"unlabelled\""),
        ("images = \"images\"", "images = 3", "`images` must be a non-empty text, not 3"),
        ("1 = \"lesion\"", "1 = \"lesoin\"", "\"lesoin\" is not a class of this pool"),
        ("1 = \"lesion\"", "red = \"lesion\"", "neither a whole number nor a colour"),
        ("1 = \"lesion\"", "1 = \"lesion\", 01 = \"vessel\"", "lists 1 twice"),
        ("1 = \"lesion\"", "1 = \"background\"", "no class but the background"),
        ("values", "annotated = [\"background\"]\nvalues", "lists no foreground class"),
        ("values", "annotated = \"lesion\"\nvalues", "must be a list of texts"),
        ("values", "group = \"(\"\nvalues", "not a valid regular expression"),
        ("values", "spacing_mm = [1, 0]\nvalues", "two positive numbers"),
        ("values", "spacing_mm = [1]\nvalues", "[row, column]"),
        ("values = {", "values = [", "not valid TOML"),
    ] {
        let message = changed(from, to);
        assert!(message.contains(said), "{to}: {message}");
        assert!(message.contains("pool.toml"), "{message}");
    }
    assert!(error("").contains("there is no [[source]]"));
    assert!(error(&ONE_SOURCE.repeat(2)).contains("the name stands twice"));
}

#[test]
fn assumptions_are_noted() {
    let folder = Folder::new();
    let pool = folder
        .pool(&ONE_SOURCE.replace("values = { 0 = \"background\", 1 = \"lesion\" }", ""))
        .unwrap();
    assert!(pool.notes[0].contains("mask value = class position"), "{:?}", pool.notes);
    let extra = ONE_SOURCE.replace("values", "annotated = [\"lesion\", \"vessel\"]\nvalues");
    let pool = folder.pool(&extra).unwrap();
    assert!(pool.notes[0].contains("looked for and absent"), "{:?}", pool.notes);
}

#[test]
fn a_folder_of_pairs_is_understood_whatever_the_case_of_its_names() {
    let folder = Folder::new();
    folder.image("Images/a.png", (24, 32), 1).image("Images/b.png", (24, 32), 2);
    folder.mask("GT/a.png", (24, 32), 255).mask("GT/b.png", (24, 32), 255);
    let pool = folder.open().unwrap();
    assert_eq!(pool.classes.names(), ["background", "class-255"]);
    assert!(pool.notes.iter().any(|n| n.contains("\"Images\"") && n.contains("\"GT\"")));
    assert!(pool.notes.iter().any(|n| n.contains("group")));
    assert_eq!(super::builder::scan(&pool).entries.len(), 2);
    // Shown as a pool file, it is the same pool.
    folder.text("pool.toml", &pool.to_toml());
    let again = folder.open().unwrap();
    assert_eq!(again.to_toml(), pool.to_toml());
}

#[test]
fn masks_beside_their_images_and_colour_masks_are_understood() {
    let folder = Folder::new();
    folder.image("x (1).png", (24, 32), 1).mask("x (1)_mask.png", (24, 32), 1);
    folder.mask("x (1)_mask_1.png", (24, 32), 1).image("y.png", (24, 32), 2);
    let pool = folder.open().unwrap();
    let catalog = super::builder::scan(&pool);
    assert_eq!(catalog.entries.len(), 1);
    assert_eq!(catalog.entries[0].masks.len(), 2);
    assert_eq!(catalog.problems.len(), 1, "y has no mask");

    let folder = Folder::new();
    folder.image("images/a.png", (24, 32), 1).image("images/b.png", (24, 32), 2);
    let part = quarter((24, 32), 255);
    folder.rgb(
        "masks/a.png",
        &Array3::from_shape_fn((24, 32, 3), |(r, c, k)| if k == 0 { part[[r, c]] } else { 0 }),
    );
    folder.rgb("masks/b.png", &Array3::zeros((24, 32, 3)));
    let pool = folder.open().unwrap();
    assert_eq!(pool.classes.names(), ["background", "class-ff0000"]);
    let catalog = super::builder::scan(&pool);
    let sample = catalog.entries[0].load(&pool, &scant_io::Limits::default()).unwrap();
    assert_eq!(sample.label.unwrap().histogram(2), [576, 192]);
    assert!(catalog.entries[1].load(&pool, &scant_io::Limits::default()).is_ok());
}

#[test]
fn folders_that_cannot_be_understood_are_refused() {
    let refused = |folder: &Folder| folder.open().unwrap_err().to_string();
    let folder = Folder::new();
    assert!(
        Pool::open(&folder.path().join("no")).unwrap_err().to_string().contains("no such pool")
    );
    folder.text("docs/readme.md", "");
    assert!(refused(&folder).contains("no folder of images here (found: docs)"));
    folder.image("images/a.png", (24, 32), 1);
    let message = refused(&folder);
    assert!(message.contains("no folder of masks") && message.contains("unlabelled"), "{message}");
    assert!(!Pool::open_unlabelled(folder.path()).unwrap().sources[0].is_labelled());

    folder.mask("masks/a.png", (24, 32), 0);
    assert!(refused(&folder).contains("all masks are empty"));
    folder.grey("masks/a.png", &texture((24, 32), 3));
    let message = refused(&folder);
    assert!(message.contains("lossy (JPEG) compression"), "{message}");
    folder.grey("masks/a.png", &quarter((24, 32), 7).mapv(|v| v + 1));
    assert!(refused(&folder).contains("the background is unknown"));
    let mut stray = quarter((240, 320), 255);
    stray[[200, 200]] = 9;
    folder.image("images/a.png", (240, 320), 1).grey("masks/a.png", &stray);
    let message = refused(&folder);
    assert!(message.contains("mask value 9 stands on only 1 pixel"), "{message}");
    folder.mask("labels/a.png", (24, 32), 1);
    assert!(refused(&folder).contains("several folders could be meant"));
}
