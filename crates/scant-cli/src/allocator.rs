//! Memory for large arrays, which is kept and used again.
//!
//! A training step allocates and frees the same large buffers again and again. General allocators
//! give each back to the system, which clears the pages anew: a quarter of the step. Here blocks of
//! a megabyte and more are kept in a list, on large pages where the system has them, and the list
//! makes the process at most an eighth larger than the arrays alone have once made it. Everything else is
//! mimalloc's.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};

use mimalloc::MiMalloc;

/// The allocator of the program.
pub(crate) struct Allocator;

/// Smallest block that is kept.
const LARGE: usize = 1 << 20;

#[cfg(unix)]
mod large {
    use std::ptr::null_mut;
    use std::sync::{Mutex, PoisonError};

    /// Blocks are whole numbers of these: pages of two megabytes where there are such.
    const GRAIN: usize = 1 << 21;
    /// Blocks that can be kept.
    const PLACES: usize = 256;

    /// Free blocks in the order in which they became free, and how many bytes are in use.
    struct State {
        free: [(usize, usize); PLACES],
        count: usize,
        kept: usize,
        used: usize,
        most: usize,
    }

    static STATE: Mutex<State> =
        Mutex::new(State { free: [(0, 0); PLACES], count: 0, kept: 0, used: 0, most: 0 });

    fn size_of_block(size: usize) -> usize {
        // Small blocks in quarters of a grain, so that little is lost to rounding.
        let grain = if size < 4 * GRAIN { GRAIN / 4 } else { GRAIN };
        size.next_multiple_of(grain)
    }

    /// A block of at least `size` bytes, and whether it is known to be zero; null if there is none.
    pub(super) fn take(size: usize) -> (*mut u8, bool) {
        let size = size_of_block(size);
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        state.used += size;
        state.most = state.most.max(state.used);
        // The last freed first: it may still be in a cache.
        if let Some(i) = (0..state.count).rev().find(|&i| state.free[i].1 == size) {
            return (state.remove(i), false);
        }
        while let Some(excess) = state.excess() {
            // The smallest block that is enough, else the largest: giving back the oldest would give
            // back what the next step of a training asks for first.
            let sizes = || state.free[..state.count].iter().map(|b| b.1).enumerate();
            let enough = sizes().filter(|b| b.1 >= excess).min_by_key(|b| b.1);
            let Some((i, bytes)) = enough.or_else(|| sizes().max_by_key(|b| b.1)) else { break };
            let block = state.remove(i);
            // SAFETY: the block was mapped with this size and nobody has it.
            unsafe { libc::munmap(block.cast(), bytes) };
        }
        let block = map(size);
        if block.is_null() {
            state.used -= size;
        }
        (block, true)
    }

    /// Takes back a block that [`take`] gave for `size` bytes.
    pub(super) fn give_back(block: *mut u8, size: usize) {
        let size = size_of_block(size);
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        state.used -= size;
        if state.count == PLACES {
            // SAFETY: the block was mapped with this size and its owner has given it up.
            unsafe { libc::munmap(block.cast(), size) };
            return;
        }
        let end = state.count;
        state.free[end] = (block as usize, size);
        state.count += 1;
        state.kept += size;
    }

    impl State {
        /// Bytes by which blocks in use and kept exceed what has been in use at once, and an eighth.
        fn excess(&self) -> Option<usize> {
            let excess = (self.used + self.kept).checked_sub(self.most + self.most / 8)?;
            (excess > 0 && self.count > 0).then_some(excess)
        }

        fn remove(&mut self, i: usize) -> *mut u8 {
            let (block, size) = self.free[i];
            self.free.copy_within(i + 1..self.count, i);
            self.count -= 1;
            self.kept -= size;
            block as *mut u8
        }
    }

    /// Fresh zeros from the system, starting at a large page if `size` is large.
    fn map(size: usize) -> *mut u8 {
        let spare = if size >= GRAIN { GRAIN } else { 0 };
        // SAFETY: an anonymous mapping wherever there is room; what is cut off belongs to it.
        unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(null_mut(), size + spare, protection, flags, -1, 0);
            if start == libc::MAP_FAILED {
                return null_mut();
            }
            if spare == 0 {
                return start.cast();
            }
            let before = (start as usize).next_multiple_of(GRAIN) - start as usize;
            let block = start.cast::<u8>().add(before);
            if before > 0 {
                libc::munmap(start, before);
            }
            if spare > before {
                libc::munmap(block.add(size).cast(), spare - before);
            }
            #[cfg(target_os = "linux")]
            libc::madvise(block.cast(), size, libc::MADV_HUGEPAGE);
            block
        }
    }
}

#[cfg(unix)]
fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= 4096
}

// SAFETY: large blocks are mapped memory of at least the size, aligned to a page, that `large` lends
// to one owner at a time; the size alone decides, the same way at both ends, whose a block is. All
// other requests are mimalloc's.
#[cfg(unix)]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            large::take(layout.size()).0
        } else {
            unsafe { MiMalloc.alloc(layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_large(layout) {
            return unsafe { MiMalloc.alloc_zeroed(layout) };
        }
        let (block, zero) = large::take(layout.size());
        if !zero {
            // SAFETY: the block is at least this large.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(layout) {
            large::give_back(block, layout.size());
        } else {
            unsafe { MiMalloc.dealloc(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return std::ptr::null_mut();
        };
        if !is_large(layout) && !is_large(new) {
            return unsafe { MiMalloc.realloc(block, layout, size) };
        }
        // SAFETY: both blocks hold what is copied, and the old one is given up after that.
        unsafe {
            let to = self.alloc(new);
            if !to.is_null() {
                std::ptr::copy_nonoverlapping(block, to, layout.size().min(size));
                self.dealloc(block, layout);
            }
            to
        }
    }
}

// SAFETY: mimalloc's own.
#[cfg(not(unix))]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe { MiMalloc.realloc(block, layout, size) }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn large_arrays_are_zero_apart_and_survive_growing() {
        let threads: Vec<_> = (0..4_u8)
            .map(|id| {
                std::thread::spawn(move || {
                    for round in 0..50 {
                        let len = LARGE + 4096 * (usize::from(id) * 50 + round);
                        let zeros = vec![0_u8; len];
                        assert!(zeros.iter().all(|&v| v == 0), "a reused block was not cleared");
                        let mut values = vec![id; len];
                        values.resize(len + 3 * LARGE, id);
                        let other = vec![id + 100; len];
                        assert!(values.iter().all(|&v| v == id));
                        assert!(other.iter().all(|&v| v == id + 100));
                        values.truncate(10);
                        values.shrink_to_fit();
                        assert_eq!(values, [id; 10]);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no thread saw another's values");
        }
    }

    #[test]
    fn a_request_that_cannot_be_met_is_refused() {
        let layout = Layout::from_size_align(1 << 60, 64).expect("a valid layout");
        // SAFETY: the layout is not empty.
        assert!(unsafe { Allocator.alloc(layout) }.is_null());
    }
}
