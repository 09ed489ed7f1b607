//! Damaged, lying and misnamed files cost one clear error, never a panic and never the memory.

// Helpers of tests are tests too, which clippy cannot see.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::Cursor;
use std::path::Path;

use image::{ExtendedColorType, ImageFormat};
use scant_core::PixelType;
use scant_io::{Format, IoError, Limits, read_header, read_image, read_mask};
use tempfile::TempDir;

use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};

/// An image of `channels` channels that compresses neither to nothing nor not at all.
fn pattern(w: u32, h: u32, channels: u32) -> Vec<u8> {
    (0..w * h * channels).map(|i| (i * i / 7 + i / 3) as u8).collect()
}

fn encoded(format: ImageFormat, colour: ExtendedColorType, w: u32, h: u32) -> Vec<u8> {
    let channels = u32::from(colour.channel_count());
    let mut out = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut out, &pattern(w, h, channels), w, h, colour, format)
        .unwrap();
    out.into_inner()
}

fn compressed_tiff(compression: Compression) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    TiffEncoder::new(&mut out)
        .unwrap()
        .with_compression(compression)
        .write_image::<colortype::Gray8>(13, 11, &pattern(13, 11, 1))
        .unwrap();
    out.into_inner()
}

fn good_files() -> Vec<(&'static str, Vec<u8>)> {
    use ExtendedColorType::{L8, Rgb8, Rgba8};
    use ImageFormat::{Bmp, Jpeg, Png, Tiff};
    vec![
        ("png grey", encoded(Png, L8, 13, 11)),
        ("png rgba", encoded(Png, Rgba8, 7, 9)),
        ("jpeg grey", encoded(Jpeg, L8, 19, 11)),
        ("jpeg rgb", encoded(Jpeg, Rgb8, 17, 9)),
        ("bmp grey", encoded(Bmp, L8, 13, 11)),
        ("bmp rgb", encoded(Bmp, Rgb8, 7, 5)),
        ("tiff grey", encoded(Tiff, L8, 13, 11)),
        ("tiff rgb", encoded(Tiff, Rgb8, 7, 5)),
        ("tiff lzw", compressed_tiff(Compression::Lzw)),
        ("tiff deflate", compressed_tiff(Compression::Deflate(DeflateLevel::Balanced))),
        ("tiff packbits", compressed_tiff(Compression::Packbits)),
    ]
}

/// Small limits, so that a flipped bit in a size cannot ask for much.
const SMALL: Limits = Limits { max_side: 1024, max_pixels: 1 << 14, max_file_bytes: 1 << 20 };

/// Reads in every way there is; whatever fails has to fail with the path in the message.
fn poke(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    std::fs::write(path, bytes).unwrap();
    let results = [
        read_header(path, &SMALL).map(|_| ()),
        read_image(path, &SMALL).map(|i| {
            let n: usize = i.pixels.len();
            assert_eq!(n, i.channels() * i.spatial_shape().iter().product::<usize>());
        }),
        read_mask(path, &SMALL).map(|_| ()),
    ];
    for e in results.iter().filter_map(|r| r.as_ref().err()) {
        assert_eq!(e.path(), path);
        assert!(e.to_string().contains(&path.display().to_string()), "{e}");
        assert!(!e.to_string().contains("gave up"), "a decoder panicked: {e}");
    }
    results.into_iter().nth(1).unwrap()
}

#[test]
fn every_truncation_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cut.png");
    for (name, bytes) in good_files() {
        poke(&path, &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        // A file without its last bytes may lack nothing that matters (padding, a PNG's end
        // chunk, directory padding), but half a file always does.
        for len in 0..bytes.len() {
            let read = poke(&path, &bytes[..len]);
            assert!(
                read.is_err() || len > bytes.len() / 2,
                "{name} cut to {len} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn a_truncated_jpeg_is_not_filled_with_grey() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cut.jpg");
    let bytes = encoded(ImageFormat::Jpeg, ExtendedColorType::L8, 64, 64);
    for len in [bytes.len() - 2, bytes.len() - 10, bytes.len() * 3 / 4] {
        let e = poke(&path, &bytes[..len]).unwrap_err();
        assert!(matches!(e, IoError::Corrupt { .. }), "{e}");
    }
}

#[test]
fn flipped_bits_never_panic() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("flip.png");
    for (_, bytes) in good_files() {
        // Every byte of the headers and directories, a spread over the rest.
        for i in (0..bytes.len()).filter(|&i| i < 120 || i % 3 == 0 || i + 150 > bytes.len()) {
            let mut broken = bytes.clone();
            broken[i] ^= 1 << (i % 8);
            let _ = poke(&path, &broken);
            let mut broken = bytes.clone();
            broken[i] = if broken[i] == 0xff { 0 } else { 0xff };
            let _ = poke(&path, &broken);
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |c, &b| {
        (0..8).fold(c ^ u32::from(b), |c, _| (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg()))
    })
}

/// A PNG that announces any size and holds the given coded pixels.
fn lying_png(w: u32, h: u32) -> Vec<u8> {
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let body = [name.as_slice(), data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
    };
    let ihdr = [&w.to_be_bytes()[..], &h.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    let coded = [0x78, 0x9c, 0x63, 0, 0, 0, 1, 0, 1];
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &ihdr),
        chunk(b"IDAT", &coded),
        chunk(b"IEND", &[]),
    ]
    .concat()
}

#[test]
fn announced_sizes_are_refused_before_memory_is_taken() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("bomb.png");
    let limits = Limits::default();
    for (w, h) in [(60_000, 60_000), (1, 40_000), (32_768, 32_768), (2_147_483_647, 1)] {
        std::fs::write(&path, lying_png(w, h)).unwrap();
        for e in [
            read_header(&path, &limits).unwrap_err(),
            read_image(&path, &limits).unwrap_err(),
            read_mask(&path, &limits).unwrap_err(),
        ] {
            assert!(matches!(e, IoError::TooLarge { .. }), "{e}");
        }
    }
    // Within the limits, but beyond what its bytes can hold: 2^28 RGBA pixels would be a gigabyte.
    std::fs::write(&path, lying_png(16_384, 16_384)).unwrap();
    let e = read_image(&path, &limits).unwrap_err();
    assert!(matches!(e, IoError::Corrupt { .. }), "{e}");
}

#[test]
fn limits_are_kept_to_the_pixel() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    for (_, bytes) in good_files() {
        std::fs::write(&path, &bytes).unwrap();
        let h = read_header(&path, &Limits::default()).unwrap();
        let exact = Limits {
            max_side: h.width.max(h.height),
            max_pixels: u64::from(h.width) * u64::from(h.height),
            max_file_bytes: bytes.len() as u64,
        };
        read_image(&path, &exact).unwrap();
        for less in [
            Limits { max_side: exact.max_side - 1, ..exact },
            Limits { max_pixels: exact.max_pixels - 1, ..exact },
            Limits { max_file_bytes: exact.max_file_bytes - 1, ..exact },
        ] {
            assert!(matches!(read_image(&path, &less), Err(IoError::TooLarge { .. })));
            assert!(matches!(read_header(&path, &less), Err(IoError::TooLarge { .. })));
        }
    }
}

#[test]
fn what_is_no_image_is_named_for_what_it_is() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.png");
    let limits = Limits::default();
    assert!(matches!(read_image(&path, &limits), Err(IoError::NotFound { .. })));
    assert!(matches!(read_image(dir.path(), &limits), Err(IoError::NotAFile { .. })));
    std::fs::write(&path, b"").unwrap();
    let e = read_image(&path, &limits).unwrap_err();
    assert!(matches!(e, IoError::Corrupt { .. }) && e.to_string().contains("empty"), "{e}");
    std::fs::write(&path, b"case,dice\n1,0.9\n").unwrap();
    let e = read_header(&path, &limits).unwrap_err();
    assert!(matches!(e, IoError::UnknownFormat { .. }) && e.to_string().contains("text"), "{e}");
}

#[test]
fn the_name_does_not_matter() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("photo.png");
    std::fs::write(&path, encoded(ImageFormat::Jpeg, ExtendedColorType::Rgb8, 17, 9)).unwrap();
    let h = read_header(&path, &Limits::default()).unwrap();
    assert_eq!((h.format, h.width, h.height, h.channels), (Format::Jpeg, 17, 9, 3));
    assert_eq!((h.pixel_type, h.alpha), (PixelType::U8, false));
    assert_eq!(read_image(&path, &Limits::default()).unwrap().pixels.shape(), [3, 9, 17]);
}

#[test]
fn white_is_zero_tiff_shows_white_as_one() {
    // A 2 x 1 bit image, little-endian, photometric 0: stored bits 0 1.
    let entry = |tag: u16, kind: u16, value: u32| {
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &1_u32.to_le_bytes(), &value.to_le_bytes()]
            .concat()
    };
    let tags =
        [(256, 3, 2), (257, 3, 1), (258, 3, 1), (262, 3, 0), (273, 4, 8), (278, 3, 1), (279, 4, 1)];
    let mut file = b"II*\0\x0a\0\0\0\x40\0".to_vec();
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, kind, value) in tags {
        file.extend(entry(tag, kind, value));
    }
    file.extend([0; 4]);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("fax.tif");
    std::fs::write(&path, file).unwrap();
    let image = read_image(&path, &Limits::default()).unwrap();
    assert_eq!(image.pixels.iter().copied().collect::<Vec<_>>(), [1.0, 0.0]);
    assert_eq!(image.stored, PixelType::U1);
    let mask = read_mask(&path, &Limits::default()).unwrap();
    assert_eq!(mask.values.into_raw_vec_and_offset().0, [1, 0]);
}
