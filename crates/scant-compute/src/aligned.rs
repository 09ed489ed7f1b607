//! Working memory that starts on a cache line, so that no vector straddles two, and is used again.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Buffers a thread keeps: as many as one operator holds at once.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A slice of `f32` whose first value lies on a cache line. What it holds at first is arbitrary: a
/// layer asks for megabytes which it then overwrites, and clearing them (or fetching them from the
/// system) would cost as much as the arithmetic.
#[derive(Debug)]
pub(crate) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    /// `len` arbitrary numbers.
    pub(crate) fn take(len: usize) -> Self {
        let count = len.div_ceil(16);
        let mut lines = FREE.with_borrow_mut(|free| {
            let fits = (0..free.len()).filter(|&i| free[i].len() >= count);
            let best = fits.min_by_key(|&i| free[i].len());
            best.map(|i| free.swap_remove(i)).unwrap_or_default()
        });
        if lines.len() < count {
            lines = vec![Line([0.0; 16]); count];
        }
        Self { lines, len }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // Where the thread is ending, there is no list any more and the buffer is just freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            free.push(lines);
            if free.len() > KEPT {
                let least = (0..free.len()).min_by_key(|&i| free[i].len());
                least.map(|i| free.swap_remove(i));
            }
        });
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is sixteen `f32` without padding, and there are enough lines.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_cache_line_and_is_used_again() {
        let mut a = Aligned::take(100);
        assert_eq!((a.len(), a.as_ptr().align_offset(64)), (100, 0));
        a.fill(1.0);
        let place = a.as_ptr();
        drop(a);
        let b = Aligned::take(90);
        assert_eq!((b.len(), b.as_ptr()), (90, place));
        assert_ne!(Aligned::take(90).as_ptr(), place, "one buffer was lent twice");
    }
}
