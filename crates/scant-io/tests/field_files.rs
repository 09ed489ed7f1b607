//! Files from other programs, against the sizes and means other readers found.
//!
//! The folder is named by `SCANT_FORMATS`; without it these tests say so and pass.

// Helpers of tests are tests too, which clippy cannot see.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::PathBuf;

use scant_io::{Format, IoError, Limits, read_header, read_image, read_mask};
use serde_json::Value;

fn folder() -> Option<PathBuf> {
    let root = std::env::var_os("SCANT_FORMATS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/formats"),
        PathBuf::from,
    );
    if root.join("expected.json").is_file() {
        return Some(root);
    }
    eprintln!("skipped: no expected.json in {} (set SCANT_FORMATS)", root.display());
    None
}

fn expected(root: &std::path::Path) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(root.join("expected.json")).unwrap();
    let Value::Object(all) = serde_json::from_str(&text).unwrap() else { panic!("not an object") };
    all.into_iter().collect()
}

#[test]
fn tiff_files_decode_right_or_are_refused_clearly() {
    let Some(root) = folder() else { return };
    let limits = Limits::default();
    for (name, want) in expected(&root) {
        if !name.starts_with("tiff/") && !name.starts_with("svs/") {
            continue;
        }
        let path = root.join(&name);
        let page = &want["page0"];
        let mask = read_mask(&path, &limits);
        let image = match read_image(&path, &limits) {
            Ok(image) => image,
            Err(e) => {
                eprintln!("{e}");
                let plain = matches!(page["dtype"].as_str(), Some("|u1" | "<u2" | "<f4" | "|b1"));
                assert!(!plain, "{name} is in scope: {e}");
                assert!(matches!(e, IoError::Unsupported { .. } | IoError::Corrupt { .. }), "{e}");
                assert!(!e.to_string().contains("gave up"), "{e}");
                assert!(mask.is_err(), "{name}");
                continue;
            }
        };
        // The page where it could be read elsewhere, the size from the tags otherwise.
        let shape = if page.is_null() { &want["series"][0]["shape"] } else { &page["shape"] };
        let shape: Vec<usize> =
            shape.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
        assert_eq!(image.spatial_shape(), &shape[..2], "{name}");
        let header = read_header(&path, &limits).unwrap();
        assert_eq!(usize::from(header.channels), image.channels(), "{name}");
        assert_eq!(header.pixel_type, image.stored, "{name}");
        let mean =
            image.pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / image.pixels.len() as f64;
        eprintln!("{name}: {:?} mean {mean:.5}", image.pixels.shape());
        let palette = name.contains("palette");
        if let Some(want_mean) = page["mean"].as_f64() {
            // White-is-zero is stored the other way round; palettes are compared as masks.
            let scale = match page["dtype"].as_str() {
                Some("|u1") => 255.0,
                Some("<u2") => 65_535.0,
                _ => 1.0,
            };
            let inverted = name.contains("miniswhite");
            let want_mean = if inverted { 1.0 - want_mean } else { want_mean / scale };
            if palette {
                let mask = mask.unwrap().values;
                let found = mask.iter().map(|&v| f64::from(v)).sum::<f64>() / mask.len() as f64;
                assert!((found / scale - want_mean).abs() < 1e-6, "{name}: {found}");
            } else {
                assert!((mean - want_mean).abs() < 1e-6, "{name}: {mean} for {want_mean}");
            }
        }
    }
}

#[test]
fn oddities_are_read_by_content() {
    let Some(root) = folder() else { return };
    let limits = Limits::default();
    for (name, want) in expected(&root) {
        if !name.starts_with("oddities/") {
            continue;
        }
        let path = root.join(&name);
        let header = read_header(&path, &limits).unwrap_or_else(|e| panic!("{e}"));
        let format = match want["format"].as_str().unwrap() {
            "PNG" => Format::Png,
            "JPEG" => Format::Jpeg,
            other => panic!("{other}"),
        };
        assert_eq!(header.format, format, "{name}");
        assert_eq!(u64::from(header.width), want["size"][0].as_u64().unwrap(), "{name}");
        assert_eq!(u64::from(header.height), want["size"][1].as_u64().unwrap(), "{name}");
        let image = read_image(&path, &limits).unwrap_or_else(|e| panic!("{e}"));
        let mode = want["mode"].as_str().unwrap();
        let channels = if matches!(mode, "L" | "LA" | "1" | "I;16") { 1 } else { 3 };
        assert_eq!(image.channels(), channels, "{name}");
        let mask = read_mask(&path, &limits).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(mask.values.shape(), image.spatial_shape(), "{name}");
        if mode == "P" {
            assert_eq!(mask.encoding, scant_io::MaskEncoding::Index, "{name}");
        }
    }
}
