//! How much a file may ask for before it is refused.

use crate::error::Fault;

/// Upper bounds checked against the *header* of a file, before memory is taken for its pixels.
///
/// A few bytes can announce an image of many gigabytes; these bounds are what stands between such
/// a file and the memory of the machine. They are handed on to the decoders as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest width and largest height, in pixels.
    pub max_side: u32,
    /// Largest number of pixels (width times height).
    pub max_pixels: u64,
    /// Largest file, in bytes.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    /// 32768 pixels a side, 2^28 pixels, 1 GiB.
    fn default() -> Self {
        Self { max_side: 32_768, max_pixels: 1 << 28, max_file_bytes: 1 << 30 }
    }
}

impl Limits {
    /// Refuses sizes beyond the limits, and images without pixels.
    pub(crate) fn check_size(&self, width: u32, height: u32) -> Result<(), Fault> {
        if width == 0 || height == 0 {
            return Err(Fault::corrupt(format!("its size is {width} x {height} pixels")));
        }
        if width > self.max_side || height > self.max_side {
            return Err(Fault::TooLarge(format!(
                "it announces {width} x {height} pixels, more than the limit of {} a side",
                self.max_side
            )));
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(Fault::TooLarge(format!(
                "it announces {width} x {height} = {pixels} pixels, more than the limit of {}",
                self.max_pixels
            )));
        }
        Ok(())
    }

    /// Refuses files beyond the limit.
    pub(crate) fn check_file(&self, bytes: u64) -> Result<(), Fault> {
        if bytes > self.max_file_bytes {
            return Err(Fault::TooLarge(format!(
                "the file has {bytes} bytes, more than the limit of {}",
                self.max_file_bytes
            )));
        }
        Ok(())
    }
}

/// Length of a buffer of `count` factors, or the refusal to compute beyond the address space.
pub(crate) fn buffer_len(factors: &[u64]) -> Result<usize, Fault> {
    factors
        .iter()
        .try_fold(1_u64, |n, &f| n.checked_mul(f))
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| Fault::TooLarge("its pixels exceed the address space".into()))
}

/// A zeroed buffer, or a refusal where the system would have to abort.
pub(crate) fn zeroed<T: Copy + Default>(len: usize) -> Result<Vec<T>, Fault> {
    let mut v = Vec::new();
    v.try_reserve_exact(len)
        .map_err(|_| Fault::TooLarge("its pixels do not fit into the free memory".into()))?;
    v.resize(len, T::default());
    Ok(v)
}
