//! Planar image files in and out: bytes on one side, [`scant_core::Image`] and class masks on the
//! other.
//!
//! A file is recognised by its content, so a JPEG named `.png` reads as what it is. Its size is
//! checked against [`Limits`] before memory is taken for its pixels, and whatever is wrong with it
//! comes back as one [`IoError`] that names the file, the fault and the remedy.
//!
//! - images: [`read_image`], and [`read_header`] for the size alone
//! - masks: [`read_mask`], which keeps palette positions and stored values
//! - writing: [`write_grey8`], [`write_grey16`], [`write_rgb8`], [`write_indexed`], all through
//!   [`write_atomic`]
//! - weights of other programs (PyTorch, Keras, NumPy, safetensors): [`weights`], with limits and
//!   errors of their own
//!
//! # What is read and written
//!
#![doc = include_str!("../status.md")]

mod error;
mod format;
mod limits;
mod mask;
mod raster;
mod read;
mod sniff;
pub mod weights;
mod write;

pub use error::IoError;
pub use format::{FormatStatus, formats};
pub use limits::Limits;
pub use mask::{MaskEncoding, RawMask, read_mask};
pub use read::{Header, read_header, read_image};
pub use sniff::{Format, sniff};
pub use write::{
    encode_grey8_png, write_atomic, write_grey8, write_grey16, write_indexed, write_rgb8,
};
