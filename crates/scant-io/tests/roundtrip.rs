//! What is written is read back, exactly.

// Helpers of tests are tests too, which clippy cannot see.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use image::codecs::bmp::BmpEncoder;
use ndarray::{Array2, Array3, ArrayD};
use proptest::collection::vec;
use proptest::prelude::*;
use scant_core::PixelType;
use scant_io::{
    Format, IoError, Limits, MaskEncoding, encode_grey8_png, read_header, read_image, read_mask,
    write_atomic, write_grey8, write_grey16, write_indexed, write_rgb8,
};
use tempfile::TempDir;
use tiff::encoder::{TiffEncoder, colortype};

/// Rows, columns and that many samples of `channels` channels.
fn sized<T: Arbitrary>(channels: usize) -> impl Strategy<Value = (usize, usize, Vec<T>)> {
    (1..18_usize, 1..18_usize)
        .prop_flat_map(move |(h, w)| (Just(h), Just(w), vec(any::<T>(), h * w * channels)))
}

fn place(dir: &TempDir) -> PathBuf {
    dir.path().join("a.png")
}

/// Channel-first intensities out of interleaved samples.
fn planes(h: usize, w: usize, c: usize, samples: &[f32]) -> ArrayD<f32> {
    Array3::from_shape_fn((c, h, w), |(k, y, x)| samples[(y * w + x) * c + k]).into_dyn()
}

fn check_image(path: &Path, expected: &ArrayD<f32>, stored: PixelType, format: Format) {
    let limits = Limits::default();
    let image = read_image(path, &limits).unwrap();
    assert_eq!(&image.pixels, expected);
    assert_eq!(image.stored, stored);
    let header = read_header(path, &limits).unwrap();
    assert_eq!(header.format, format);
    assert_eq!([header.height as usize, header.width as usize], image.spatial_shape());
    assert_eq!(usize::from(header.channels), image.channels());
    assert_eq!(header.pixel_type, stored);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn grey8((h, w, v) in sized::<u8>(1)) {
        let dir = TempDir::new().unwrap();
        let path = place(&dir);
        let pixels = Array2::from_shape_vec((h, w), v.clone()).unwrap();
        write_grey8(&path, pixels.view()).unwrap();
        let unit: Vec<f32> = v.iter().map(|&x| f32::from(x) / 255.0).collect();
        check_image(&path, &planes(h, w, 1, &unit), PixelType::U8, Format::Png);
        let mask = read_mask(&path, &Limits::default()).unwrap();
        prop_assert_eq!(mask.values, pixels.mapv(u32::from));
        prop_assert_eq!(mask.encoding, MaskEncoding::Grey);
        prop_assert_eq!(std::fs::read(&path).unwrap(), encode_grey8_png(pixels.view()).unwrap());
    }

    #[test]
    fn grey16_also_from_a_transposed_view((h, w, v) in sized::<u16>(1)) {
        let dir = TempDir::new().unwrap();
        let path = place(&dir);
        let pixels = Array2::from_shape_vec((w, h), v).unwrap().reversed_axes();
        write_grey16(&path, pixels.view()).unwrap();
        let unit: Vec<f32> = pixels.iter().map(|&x| f32::from(x) / 65_535.0).collect();
        check_image(&path, &planes(h, w, 1, &unit), PixelType::U16, Format::Png);
        prop_assert_eq!(
            read_mask(&path, &Limits::default()).unwrap().values, pixels.mapv(u32::from));
    }

    #[test]
    fn rgb8((h, w, v) in sized::<u8>(3)) {
        let dir = TempDir::new().unwrap();
        let path = place(&dir);
        let pixels = Array3::from_shape_vec((h, w, 3), v.clone()).unwrap();
        write_rgb8(&path, pixels.view()).unwrap();
        let unit: Vec<f32> = v.iter().map(|&x| f32::from(x) / 255.0).collect();
        check_image(&path, &planes(h, w, 3, &unit), PixelType::U8, Format::Png);
        let mask = read_mask(&path, &Limits::default()).unwrap();
        let grey = v.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]);
        prop_assert_eq!(mask.encoding, if grey { MaskEncoding::Grey } else { MaskEncoding::Rgb });
        if !grey {
            let packed: Vec<u32> =
                v.chunks(3).map(|p| u32::from_be_bytes([0, p[0], p[1], p[2]])).collect();
            prop_assert_eq!(mask.values.into_raw_vec_and_offset().0, packed);
        }
    }

    #[test]
    fn indexed((h, w, v) in sized::<u8>(1), colours in 1..=256_usize) {
        let dir = TempDir::new().unwrap();
        let path = place(&dir);
        let palette: Vec<[u8; 3]> =
            (0..colours).map(|i| [(i % 256) as u8, (i * 7 % 256) as u8, 200]).collect();
        let pixels = Array2::from_shape_vec((h, w), v).unwrap()
            .mapv(|x| (usize::from(x) % colours) as u8);
        write_indexed(&path, pixels.view(), &palette).unwrap();
        let mask = read_mask(&path, &Limits::default()).unwrap();
        prop_assert_eq!(mask.values, pixels.mapv(u32::from));
        prop_assert_eq!(mask.encoding, MaskEncoding::Index);
        let unit: Vec<f32> = pixels.iter()
            .flat_map(|&i| palette[usize::from(i)].map(|c| f32::from(c) / 255.0)).collect();
        check_image(&path, &planes(h, w, 3, &unit), PixelType::U8, Format::Png);
    }

    #[test]
    fn bmp_grey_palette_and_rgb((h, w, v) in sized::<u8>(3)) {
        let dir = TempDir::new().unwrap();
        let path = place(&dir);
        let (w32, h32) = (w as u32, h as u32);
        let mut rgb = Vec::new();
        BmpEncoder::new(&mut rgb).encode(&v, w32, h32, image::ExtendedColorType::Rgb8).unwrap();
        std::fs::write(&path, rgb).unwrap();
        let unit: Vec<f32> = v.iter().map(|&x| f32::from(x) / 255.0).collect();
        check_image(&path, &planes(h, w, 3, &unit), PixelType::U8, Format::Bmp);

        // Grey is written with a ramp for a palette.
        let g = &v[..h * w];
        let mut grey = Vec::new();
        BmpEncoder::new(&mut grey).encode(g, w32, h32, image::ExtendedColorType::L8).unwrap();
        std::fs::write(&path, grey).unwrap();
        check_image(&path, &planes(h, w, 1, &unit[..h * w]), PixelType::U8, Format::Bmp);

        let palette: Vec<[u8; 3]> = (0..256).map(|i| [i as u8, 0, 255 - i as u8]).collect();
        let mut indexed = Vec::new();
        BmpEncoder::new(&mut indexed)
            .encode_with_palette(g, w32, h32, image::ExtendedColorType::L8, Some(&palette)).unwrap();
        std::fs::write(&path, indexed).unwrap();
        let mask = read_mask(&path, &Limits::default()).unwrap();
        prop_assert_eq!(mask.encoding, MaskEncoding::Index);
        prop_assert_eq!(
            mask.values.into_raw_vec_and_offset().0,
            g.iter().map(|&x| u32::from(x)).collect::<Vec<_>>());
    }

    #[test]
    fn tiff_of_every_sample_type((h, w, v) in sized::<u16>(4)) {
        let dir = TempDir::new().unwrap();
        let path = place(&dir);
        let low: Vec<u8> = v.iter().map(|&x| x as u8).collect();
        let unit8: Vec<f32> = low.iter().map(|&x| f32::from(x) / 255.0).collect();
        let unit16: Vec<f32> = v.iter().map(|&x| f32::from(x) / 65_535.0).collect();
        let n = h * w;
        let write = |f: &dyn Fn(&mut TiffEncoder<std::fs::File>, u32, u32)| {
            let mut encoder = TiffEncoder::new(std::fs::File::create(&path).unwrap()).unwrap();
            f(&mut encoder, w as u32, h as u32);
        };
        write(&|e, w, h| e.write_image::<colortype::Gray8>(w, h, &low[..n]).unwrap());
        check_image(&path, &planes(h, w, 1, &unit8[..n]), PixelType::U8, Format::Tiff);
        write(&|e, w, h| e.write_image::<colortype::Gray16>(w, h, &v[..n]).unwrap());
        check_image(&path, &planes(h, w, 1, &unit16[..n]), PixelType::U16, Format::Tiff);
        prop_assert_eq!(
            read_mask(&path, &Limits::default()).unwrap().values.into_raw_vec_and_offset().0,
            v[..n].iter().map(|&x| u32::from(x)).collect::<Vec<_>>());
        write(&|e, w, h| e.write_image::<colortype::RGB8>(w, h, &low[..3 * n]).unwrap());
        check_image(&path, &planes(h, w, 3, &unit8[..3 * n]), PixelType::U8, Format::Tiff);
        write(&|e, w, h| e.write_image::<colortype::RGB16>(w, h, &v[..3 * n]).unwrap());
        check_image(&path, &planes(h, w, 3, &unit16[..3 * n]), PixelType::U16, Format::Tiff);
        write(&|e, w, h| e.write_image::<colortype::RGBA8>(w, h, &low).unwrap());
        let opaque: Vec<f32> =
            unit8.chunks(4).flat_map(|p| p[..3].iter().copied()).collect();
        check_image(&path, &planes(h, w, 3, &opaque), PixelType::U8, Format::Tiff);
        let float: Vec<f32> = v[..n].iter().map(|&x| f32::from(x) * 3.5 - 1000.0).collect();
        write(&|e, w, h| e.write_image::<colortype::Gray32Float>(w, h, &float).unwrap());
        check_image(&path, &planes(h, w, 1, &float), PixelType::F32, Format::Tiff);
    }

    #[test]
    fn png_of_few_bits_and_alpha(
        (h, w, v) in sized::<u8>(2),
        bits in prop::sample::select(vec![1_u8, 2, 4]),
        palette in any::<bool>(),
    ) {
        let dir = TempDir::new().unwrap();
        let path = place(&dir);
        let top = (1_u8 << bits) - 1;
        let values: Vec<u8> = v[..h * w].iter().map(|x| x & top).collect();
        let per_byte = usize::from(8 / bits);
        let packed: Vec<u8> = values.chunks(w).flat_map(|row| {
            row.chunks(per_byte).map(|c| {
                c.iter().enumerate().fold(0, |b, (i, x)| b | x << (8 - bits * (1 + i as u8)))
            }).collect::<Vec<u8>>()
        }).collect();
        let depth = png::BitDepth::from_u8(bits).unwrap();
        let colours: Vec<u8> = (0..3 * (1_u16 << bits)).map(|i| (i * 5) as u8).collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, w as u32, h as u32);
        encoder.set_depth(depth);
        encoder.set_color(if palette { png::ColorType::Indexed } else { png::ColorType::Grayscale });
        if palette {
            encoder.set_palette(colours);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&packed).unwrap();
        writer.finish().unwrap();
        write_atomic(&path, &bytes).unwrap();
        let mask = read_mask(&path, &Limits::default()).unwrap();
        prop_assert_eq!(
            mask.values.into_raw_vec_and_offset().0,
            values.iter().map(|&x| u32::from(x)).collect::<Vec<_>>());
        prop_assert_eq!(
            mask.encoding, if palette { MaskEncoding::Index } else { MaskEncoding::Grey });
        if !palette {
            let unit: Vec<f32> = values.iter().map(|&x| f32::from(x) / f32::from(top)).collect();
            let stored = if bits == 1 { PixelType::U1 } else { PixelType::U8 };
            check_image(&path, &planes(h, w, 1, &unit), stored, Format::Png);
        }

        // Grey and alpha: the grey stays as it is, however transparent.
        image::save_buffer_with_format(
            &path, &v, w as u32, h as u32, image::ExtendedColorType::La8, image::ImageFormat::Png,
        ).unwrap();
        let grey: Vec<f32> = v.iter().step_by(2).map(|&x| f32::from(x) / 255.0).collect();
        check_image(&path, &planes(h, w, 1, &grey), PixelType::U8, Format::Png);
        prop_assert!(read_header(&path, &Limits::default()).unwrap().alpha);
    }
}

#[test]
fn a_write_replaces_the_old_file_and_leaves_nothing_else() {
    let dir = TempDir::new().unwrap();
    let path = place(&dir);
    write_atomic(&path, b"old").unwrap();
    write_atomic(&path, b"new").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("no/such/folder.png");
    assert!(matches!(write_atomic(&missing, b"x"), Err(IoError::NotFound { .. })));
    assert!(matches!(write_atomic(dir.path(), b"x"), Err(IoError::NotAFile { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn pixels_that_do_not_fit_are_refused() {
    let dir = TempDir::new().unwrap();
    let path = place(&dir);
    let refused = |r: Result<(), IoError>| matches!(r, Err(IoError::InvalidPixels { .. }));
    assert!(refused(write_grey8(&path, Array2::zeros((0, 3)).view())));
    assert!(refused(write_rgb8(&path, Array3::zeros((2, 2, 4)).view())));
    assert!(refused(write_indexed(&path, Array2::from_elem((1, 1), 2).view(), &[[0; 3]; 2])));
    assert!(refused(write_indexed(&path, Array2::zeros((1, 1)).view(), &[])));
    assert!(refused(write_indexed(&path, Array2::zeros((1, 1)).view(), &[[0; 3]; 257])));
    let tif = dir.path().join("a.TIF");
    let e = write_grey8(&tif, Array2::zeros((1, 1)).view()).unwrap_err();
    assert!(matches!(e, IoError::Unsupported { .. }) && e.path() == tif, "{e}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
