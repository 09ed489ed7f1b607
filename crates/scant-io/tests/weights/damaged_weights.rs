//! Truncated, altered and lying files cost one clear error, never a panic and never the memory.

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use scant_io::weights::{ReadOptions, WeightFile, WeightFileError, WeightLimits, read};

use super::path;

/// Files of every layout.
const FILES: [&str; 17] = [
    "zip.pth",
    "legacy.pth",
    "views.pth",
    "views_legacy.pth",
    "types.pth",
    "training.pth",
    "training_legacy.pth",
    "plain.pkl",
    "evil_legacy.pth",
    "stored.npz",
    "deflated.npz",
    "lone.npy",
    "types.safetensors",
    "keras2_weights.h5",
    "packed.h5",
    "bfloat16.weights.h5",
    "nested.keras",
];

/// How many cuts or flips of one file are tried, spread over it.
const TRIES: usize = 400;

/// Replaces the content of a file. Making it anew each time would have the file system put each one
/// on the disk, which takes a hundred times as long.
fn overwrite(place: &Path, bytes: &[u8]) {
    let options = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(place);
    let mut file = options.unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

/// Reads bytes as a file, with limits under which a lie about a size cannot cost much. Whatever
/// fails has to fail with the path in the message.
fn poke(place: &Path, bytes: &[u8]) -> Result<WeightFile, WeightFileError> {
    overwrite(place, bytes);
    let limits = WeightLimits {
        max_file_bytes: 1 << 20,
        max_values: 1 << 14,
        max_tensors: 1000,
        max_header_bytes: 1 << 20,
    };
    let result = read(place, &ReadOptions { limits, ..ReadOptions::default() });
    match &result {
        Ok(file) => {
            assert!(file.value_count() <= limits.max_values);
            for (name, tensor) in &file.tensors {
                assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len(), "{name}");
            }
            for (_, at) in file.layers.iter().flat_map(|layer| &layer.variables) {
                assert!(*at < file.tensors.len());
            }
        }
        Err(e) => {
            assert!(e.to_string().contains(&place.display().to_string()), "{e}");
            assert!(!e.to_string().contains("gave up"), "a decoder panicked: {e}");
        }
    }
    result
}

#[test]
fn the_files_are_whole_to_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    for file in FILES {
        poke(&folder.path().join(file), &std::fs::read(path(file)).unwrap()).unwrap();
    }
}

#[test]
fn every_truncation_of_weights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for file in FILES {
        let bytes = std::fs::read(path(file)).unwrap();
        let place = folder.path().join(file);
        for len in (0..bytes.len()).step_by(bytes.len().div_ceil(TRIES)) {
            assert!(poke(&place, &bytes[..len]).is_err(), "{file}: {len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn flipped_bits_of_weights_are_survived() {
    let folder = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for file in FILES {
        let mut bytes = std::fs::read(path(file)).unwrap();
        let place = folder.path().join(file);
        for at in (0..bytes.len()).step_by(bytes.len().div_ceil(TRIES)) {
            let bit = 1 << (at * 5 % 8);
            bytes[at] ^= bit;
            refused += usize::from(poke(&place, &bytes).is_err());
            bytes[at] ^= bit;
        }
    }
    assert!(refused > 1000, "only {refused} of the flips were noticed");
}

#[test]
fn flipped_values_in_archives_are_noticed() {
    // ZIP archives have checksums, the other formats have none.
    let folder = tempfile::tempdir().unwrap();
    for (file, needle) in [("zip.pth", "FB"), ("stored.npz", "NUMPY")] {
        let bytes = std::fs::read(path(file)).unwrap();
        // PyTorch fills the space before the values with this, NumPy starts each array with that.
        let start = bytes.windows(needle.len()).position(|w| w == needle.as_bytes()).unwrap();
        let at = if file == "zip.pth" {
            // The entry data/0 holds the first kernel; its values follow the filling.
            let entry = bytes.windows(6).position(|w| w == b"data/0").unwrap();
            let filling = bytes[entry..].iter().position(|&b| b == b'Z').unwrap() + entry;
            bytes[filling..].iter().position(|&b| b != b'Z').unwrap() + filling
        } else {
            start + 140
        };
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        let e = poke(&folder.path().join(file), &altered).unwrap_err();
        assert!(e.to_string().contains("damaged"), "{file}: {e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Several bytes replaced, and a piece of the file repeated or removed.
    #[test]
    fn altered_weights_are_survived(
        file in 0..FILES.len(),
        bytes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        piece in any::<(prop::sample::Index, prop::sample::Index, bool)>(),
        shift in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut content = std::fs::read(path(FILES[file])).unwrap();
        for (at, value) in bytes {
            let at = at.index(content.len());
            content[at] = value;
        }
        if shift {
            let (a, b) = (piece.0.index(content.len()), piece.1.index(content.len()));
            let (a, b) = (a.min(b), a.max(b).min(a.min(b) + 40));
            let part = content[a..b].to_vec();
            if piece.2 {
                content.splice(a..a, part);
            } else {
                content.drain(a..b);
            }
        }
        let _ = poke(&folder.path().join("altered"), &content);
    }
}

#[test]
fn sizes_are_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("weights");
    let said = |bytes: &[u8]| poke(&place, bytes).unwrap_err().to_string();
    // 2^40 values in an array of no bytes.
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }";
    let mut npy = b"\x93NUMPY\x01\0".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    assert!(said(&npy).contains("beyond the limit"));
    // A safetensors header of 2^20 + 1 bytes.
    let mut safetensors = ((1_u64 << 20) + 1).to_le_bytes().to_vec();
    safetensors.extend([b'{'].iter().chain(&[b' '; 100]));
    assert!(said(&safetensors).contains("it starts with"), "longer than the file");
    // Offsets that overlap or leave the file.
    for offsets in ["[0,8],\"x\":1", "[0,400]", "[4,0]"] {
        let header =
            format!("{{\"w\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{offsets}}}}}");
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend([0; 4]);
        assert!(said(&file).contains("damaged"), "{offsets}");
    }
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let said = |path: &Path| read(path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(said(&folder.path().join("none.pth")).contains("no such file"));
    assert!(said(folder.path()).contains("folder"));
}
