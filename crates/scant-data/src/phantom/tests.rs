use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn small(seed: u64) -> PhantomConfig {
    PhantomConfig { images_per_site: 24, size: [96, 96], seed, ..Default::default() }
}

fn files(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    sum / count
}

#[test]
fn the_seed_gives_everything() {
    let first = small(4).frames(1).unwrap();
    assert_eq!(first, small(4).frames(1).unwrap());
    let other = small(5).frames(1).unwrap();
    assert_ne!(first[0].image, other[0].image);
}

#[test]
fn a_pool_is_complete_and_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = PhantomConfig { sites: 3, classes: 2, ..small(1) };
    let path = generate_pool(&folder.path().join("new/pool"), &config).unwrap();
    let pool: toml::Table = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(pool["classes"].as_array().unwrap().len(), 3);
    let sources = pool["source"].as_array().unwrap();
    let roles: Vec<&str> = sources.iter().map(|s| s["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["base", "novel", "novel"]);
    let mut patients_before = BTreeSet::new();
    for source in sources {
        assert_eq!(source["values"]["2"].as_str(), Some("muscle"));
        assert_eq!(source["group"].as_str(), Some("^(p[0-9]+)_"));
        let place = |key: &str| path.parent().unwrap().join(source[key].as_str().unwrap());
        let images = files(&place("images"));
        assert_eq!(images.len(), 24);
        assert_eq!(images, files(&place("masks")));
        let patients: BTreeSet<String> =
            images.iter().map(|name| name.split_once('_').unwrap().0.to_string()).collect();
        assert!(patients.len() >= 6 && patients.len() < 24, "{patients:?}");
        assert!(patients.is_disjoint(&patients_before), "a name means one patient");
        patients_before.extend(patients);
        let name = images.first().unwrap();
        let mask = scant_io::read_image(&place("masks").join(name), &scant_io::Limits::default());
        let mask = mask.unwrap();
        let image = scant_io::read_image(&place("images").join(name), &scant_io::Limits::default());
        assert_eq!(mask.pixels.shape(), image.unwrap().pixels.shape());
        assert!(mask.pixels.iter().all(|v| [0.0, 1.0, 2.0].contains(&(v * 255.0).round())));
    }
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.txt"), "precious").unwrap();
    let error = generate_pool(folder.path(), &small(0)).unwrap_err();
    assert!(matches!(error, PhantomError::NotEmpty { .. }));
    assert!(error.to_string().contains(folder.path().to_str().unwrap()));
    assert_eq!(files(folder.path()), BTreeSet::from(["mine.txt".to_string()]));
    let blocked = folder.path().join("mine.txt/pool");
    assert!(generate_pool(&blocked, &small(0)).unwrap_err().to_string().contains("mine.txt"));
}

#[test]
fn numbers_out_of_range_are_named() {
    let says = |config: PhantomConfig| config.validate().unwrap_err().to_string();
    assert!(says(PhantomConfig { sites: 0, ..small(0) }).contains("sites = 0"));
    assert!(says(PhantomConfig { classes: 3, ..small(0) }).contains("classes = 3"));
    assert!(says(PhantomConfig { size: [8, 96], ..small(0) }).contains("size = [8, 96]"));
    assert!(says(PhantomConfig { images_per_site: 0, ..small(0) }).contains("images_per_site = 0"));
}

#[test]
fn some_masks_are_empty_and_the_others_are_not() {
    let config = PhantomConfig { images_per_site: 50, ..small(2) };
    for (site, share) in [(0, 0.05), (1, 0.08)] {
        let frames = config.frames(site).unwrap();
        let empty = frames.iter().filter(|f| f.mask.iter().all(|&v| v == 0)).count();
        assert_eq!(empty, (50.0_f64 * share).round() as usize, "site {site}");
        for frame in frames {
            let drawn = frame.mask.iter().filter(|&&v| v == 1).count();
            assert!(drawn == 0 || drawn > 20, "{} has {drawn} lesion pixels", frame.stem);
            assert!(drawn * 3 < frame.mask.len(), "{} is all lesion", frame.stem);
        }
    }
}

#[test]
fn lesions_can_be_seen() {
    for site in 0..2 {
        let mut seen = 0;
        let frames = small(3).frames(site).unwrap();
        let drawn: Vec<&Frame> = frames.iter().filter(|f| f.mask.iter().any(|&v| v == 1)).collect();
        for frame in &drawn {
            // Compared with tissue at the same depth.
            let rows: BTreeSet<usize> =
                frame.mask.indexed_iter().filter(|(_, v)| **v == 1).map(|((r, _), _)| r).collect();
            let shade = |class: u8| {
                let same = frame.mask.indexed_iter().filter(|((r, c), v)| {
                    **v == class && rows.contains(r) && frame.image[[*r, *c]] > 0
                });
                mean(same.map(|(at, _)| f64::from(frame.image[at])))
            };
            seen += usize::from(shade(1) < shade(0) - 8.0);
        }
        assert!(seen * 10 >= drawn.len() * 8, "site {site}: {seen} of {}", drawn.len());
    }
}

#[test]
fn muscle_is_a_second_structure_and_lesions_stay_where_they_are() {
    let one = small(6).frames(0).unwrap();
    let two = PhantomConfig { classes: 2, ..small(6) }.frames(0).unwrap();
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one.image, two.image);
        assert!(two.mask.iter().filter(|&&v| v == 2).count() > 100);
        assert_eq!(one.mask, two.mask.mapv(|v| u8::from(v == 1)));
    }
}

#[test]
fn frames_of_a_patient_resemble_each_other_more_than_other_patients() {
    let frames = small(7).frames(0).unwrap();
    let mut by_patient: BTreeMap<&str, Vec<&Frame>> = BTreeMap::new();
    for frame in frames.iter().filter(|f| f.mask.iter().any(|&v| v > 0)) {
        by_patient.entry(frame.stem.split_once('_').unwrap().0).or_default().push(frame);
    }
    let overlap = |a: &Frame, b: &Frame| {
        let both = a.mask.iter().zip(&b.mask).filter(|(x, y)| **x == 1 && **y == 1).count();
        let sum = a.mask.iter().chain(&b.mask).filter(|&&v| v == 1).count();
        2.0 * both as f64 / sum as f64
    };
    let groups: Vec<&Vec<&Frame>> = by_patient.values().collect();
    let within = mean(groups.iter().filter(|g| g.len() > 1).map(|g| overlap(g[0], g[1])));
    let between = mean(groups.windows(2).map(|pair| overlap(pair[0][0], pair[1][0])));
    assert!(within > 0.6 && within > between + 0.3, "{within} within, {between} between");
    let same = groups.iter().find(|g| g.len() > 1).unwrap();
    assert_ne!(same[0].image, same[1].image);
}

#[test]
fn sites_differ_visibly() {
    let config = PhantomConfig { sites: 3, ..small(8) };
    let sites: Vec<Vec<Frame>> = (0..3).map(|s| config.frames(s).unwrap()).collect();
    let shapes: BTreeSet<(usize, usize)> = sites.iter().map(|f| f[0].image.dim()).collect();
    assert_eq!(shapes.len(), 3, "{shapes:?}");
    let grey = |frames: &[Frame]| {
        mean(frames.iter().flat_map(|f| f.image.iter().filter(|&&v| v > 0).map(|&v| f64::from(v))))
    };
    let greys: Vec<f64> = sites.iter().map(|f| grey(f)).collect();
    assert!(greys[0] > greys[1] + 15.0 && greys[2] > greys[0] + 15.0, "{greys:?}");
    // A sector leaves the upper corners black; a linear probe does not.
    assert!(sites[1].iter().all(|f| f.image[[0, 0]] == 0));
    assert!(sites[0].iter().filter(|f| f.image[[0, 0]] > 100).count() > 20);
}

#[test]
fn the_pool_opens_and_has_no_problems() {
    let folder = tempfile::tempdir().unwrap();
    let config = PhantomConfig { images_per_site: 12, classes: 2, ..small(9) };
    let path = generate_pool(folder.path(), &config).unwrap();
    let pool = crate::Pool::open(&path).unwrap();
    let catalog = pool.scan(&scant_io::Limits::default()).unwrap();
    assert_eq!(catalog.entries.len(), 24);
    assert!(catalog.problems.is_empty(), "{:?}", catalog.problems);
    let groups: BTreeSet<&str> = catalog.entries.iter().map(|e| e.id.group.as_str()).collect();
    assert!(groups.len() < 24 && groups.iter().all(|g| g.starts_with('p')), "{groups:?}");
}

/// Speckle is finer or coarser with the resolution of a site: the mean difference of neighbouring rows
/// in the part that every image has.
#[test]
fn the_shift_between_sites_grows_with_its_strength() {
    let roughness = |config: &PhantomConfig, site: usize| {
        let frames = config.frames(site).unwrap();
        mean(frames.iter().flat_map(|f| {
            let (rows, columns) = f.image.dim();
            (rows / 4..rows / 2).map(move |r| {
                let step = |c| f64::from(f.image[[r, c]]) - f64::from(f.image[[r + 1, c]]);
                mean((columns / 3..columns / 2).map(|c: usize| step(c).abs()))
            })
        }))
    };
    let distance = |shift: f64| {
        let config = PhantomConfig { shift, images_per_site: 12, ..small(3) };
        let ratio = roughness(&config, 1) / roughness(&config, 0);
        ratio.ln().abs()
    };
    let [none, some, full] = [0.0, 0.5, 1.0].map(distance);
    assert!(none < 0.1 && none < some && some < full, "{none} {some} {full}");
    let alike = PhantomConfig { shift: 0.0, ..small(3) };
    assert_eq!(alike.frames(1).unwrap()[0].image.dim(), (96, 96));
    assert!(PhantomConfig { shift: -0.1, ..small(3) }.validate().is_err());
}
