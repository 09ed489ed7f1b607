//! Writing PNG files so that a file is either complete or not there.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{ArrayView2, ArrayView3};
use png::{BitDepth, ColorType, Encoder, EncodingError};

use crate::error::IoError;

/// Extensions under which a PNG would mislead whoever finds it.
const OTHER_EXTENSIONS: [&str; 12] =
    ["jpg", "jpeg", "bmp", "tif", "tiff", "gif", "webp", "dcm", "nii", "gz", "mha", "nrrd"];

/// Writes `bytes` to `path`, replacing what is there.
///
/// The bytes go to a temporary name in the same folder, are flushed to the disk and renamed, so a
/// crash at any moment leaves the old file or the new one. The folder has to exist.
///
/// # Errors
/// [`IoError::NotFound`] when the folder is missing, [`IoError::Permission`] or [`IoError::Io`]
/// when the system refuses; nothing is left behind then.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let system = |e| IoError::from_system(path, "writing", e);
    if path.is_dir() {
        return Err(IoError::NotAFile { path: path.to_path_buf() });
    }
    let temporary = temporary_beside(path)?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(e) = written {
        // Already failing: whether the remains can be removed changes nothing for the caller.
        let _ = fs::remove_file(&temporary);
        return Err(system(e));
    }
    // The new name is only safe once the folder is on the disk too; not every system can do that.
    if cfg!(unix)
        && let Some(folder) = folder_of(path)
    {
        File::open(folder).and_then(|f| f.sync_all()).map_err(system)?;
    }
    Ok(())
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })
}

/// A name in the same folder that no other thread or process uses.
fn temporary_beside(path: &Path) -> Result<PathBuf, IoError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (Some(folder), Some(name)) = (folder_of(path), path.file_name()) else {
        return Err(IoError::NotAFile { path: path.to_path_buf() });
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{count}.tmp", process::id()));
    Ok(folder.join(hidden))
}

/// Writes an 8-bit grey PNG from `[rows, columns]`.
///
/// # Errors
/// Those of [`write_atomic`]; [`IoError::InvalidPixels`] for an array without pixels; and
/// [`IoError::Unsupported`] when the name promises another format than PNG.
pub fn write_grey8(path: &Path, pixels: ArrayView2<'_, u8>) -> Result<(), IoError> {
    check_name(path)?;
    write_atomic(path, &grey8(path, pixels)?)
}

/// Writes a 16-bit grey PNG from `[rows, columns]`.
///
/// # Errors
/// As [`write_grey8`].
pub fn write_grey16(path: &Path, pixels: ArrayView2<'_, u16>) -> Result<(), IoError> {
    check_name(path)?;
    let bytes: Vec<u8> = pixels.iter().flat_map(|v| v.to_be_bytes()).collect();
    let (h, w) = pixels.dim();
    write_atomic(
        path,
        &encode(path, (w, h), ColorType::Grayscale, BitDepth::Sixteen, None, &bytes)?,
    )
}

/// Writes an 8-bit RGB PNG from `[rows, columns, 3]`.
///
/// # Errors
/// As [`write_grey8`]; [`IoError::InvalidPixels`] also when the last axis is not 3 long.
pub fn write_rgb8(path: &Path, pixels: ArrayView3<'_, u8>) -> Result<(), IoError> {
    check_name(path)?;
    let (h, w, c) = pixels.dim();
    if c != 3 {
        return Err(invalid(path, format!("RGB needs 3 channels on the last axis, got {c}")));
    }
    let bytes: Vec<u8> = pixels.iter().copied().collect();
    write_atomic(path, &encode(path, (w, h), ColorType::Rgb, BitDepth::Eight, None, &bytes)?)
}

/// Writes an 8-bit palette PNG: `pixels` `[rows, columns]` are positions in `palette`.
///
/// Viewers show the colours; [`read_mask`](crate::read_mask) gives back the positions.
///
/// # Errors
/// As [`write_grey8`]; [`IoError::InvalidPixels`] also for a palette that is empty or longer than
/// 256 colours, or a pixel beyond it.
pub fn write_indexed(
    path: &Path,
    pixels: ArrayView2<'_, u8>,
    palette: &[[u8; 3]],
) -> Result<(), IoError> {
    check_name(path)?;
    if palette.is_empty() || palette.len() > 256 {
        return Err(invalid(
            path,
            format!("a palette has 1 to 256 colours, got {}", palette.len()),
        ));
    }
    if let Some(stray) = pixels.iter().find(|&&v| usize::from(v) >= palette.len()) {
        return Err(invalid(
            path,
            format!("a pixel has index {stray}, but the palette has {} colours", palette.len()),
        ));
    }
    let bytes: Vec<u8> = pixels.iter().copied().collect();
    let (h, w) = pixels.dim();
    let palette = Some(palette.as_flattened());
    write_atomic(path, &encode(path, (w, h), ColorType::Indexed, BitDepth::Eight, palette, &bytes)?)
}

/// An 8-bit grey PNG of `[rows, columns]` in memory.
///
/// # Errors
/// [`IoError::InvalidPixels`] for an array without pixels.
pub fn encode_grey8_png(pixels: ArrayView2<'_, u8>) -> Result<Vec<u8>, IoError> {
    grey8(Path::new("(in memory)"), pixels)
}

fn grey8(path: &Path, pixels: ArrayView2<'_, u8>) -> Result<Vec<u8>, IoError> {
    let bytes: Vec<u8> = pixels.iter().copied().collect();
    let (h, w) = pixels.dim();
    encode(path, (w, h), ColorType::Grayscale, BitDepth::Eight, None, &bytes)
}

fn invalid(path: &Path, what: String) -> IoError {
    IoError::InvalidPixels { path: path.to_path_buf(), what }
}

fn check_name(path: &Path) -> Result<(), IoError> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    if OTHER_EXTENSIONS.contains(&extension.as_str()) {
        return Err(IoError::Unsupported {
            path: path.to_path_buf(),
            what: format!("writing .{extension}"),
            remedy: "give the file a name that ends in .png".into(),
        });
    }
    Ok(())
}

fn encode(
    path: &Path,
    (width, height): (usize, usize),
    colour: ColorType,
    depth: BitDepth,
    palette: Option<&[u8]>,
    data: &[u8],
) -> Result<Vec<u8>, IoError> {
    let side = |n: usize| u32::try_from(n).ok().filter(|&n| n > 0 && n <= i32::MAX as u32);
    let (Some(w), Some(h)) = (side(width), side(height)) else {
        return Err(invalid(path, format!("PNG cannot hold {width} x {height} pixels")));
    };
    let fail = |e: EncodingError| match e {
        EncodingError::IoError(e) => IoError::from_system(path, "writing", e),
        e => invalid(path, e.to_string()),
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, w, h);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header().map_err(fail)?;
    writer.write_image_data(data).map_err(fail)?;
    writer.finish().map_err(fail)?;
    Ok(bytes)
}
