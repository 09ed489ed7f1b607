//! The most arithmetic the processor can do, to set other figures against.

use crate::simd::{Kernel, Simd, dispatch};

/// Multiply-adds of every round in each accumulator.
const UNROLLED: usize = 8;

/// Keeps every thread of the current rayon pool busy with fused multiply-adds between registers,
/// `rounds` times over, and returns how many floating-point operations that were (a multiply-add
/// counts as two).
///
/// Nothing is loaded or stored, so operations per second are the peak of the processor at this
/// moment, with the instruction set in use; convolutions by way of fewer multiplications (Winograd)
/// can seem to exceed it when they are counted as direct ones. The caller holds the clock.
#[must_use]
pub fn multiply_adds(rounds: u64) -> u64 {
    rayon::broadcast(|_| dispatch(Registers { rounds })).into_iter().sum()
}

struct Registers {
    rounds: u64,
}

impl Kernel for Registers {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self) -> u64 {
        // Enough independent chains to hide the latency of the instruction, with two registers left
        // for the factor and the summand: two units of four cycles need 8, of five 10.
        if S::REGISTERS >= 32 { chains::<S, 20>(self.rounds) } else { chains::<S, 10>(self.rounds) }
    }
}

#[inline(always)]
fn chains<S: Simd, const CHAINS: usize>(rounds: u64) -> u64 {
    // The fixed point of x ← 0.5 x + 0.5 is 1: the values stay ordinary numbers for ever. The
    // compiler must not know that.
    let (half, start) = (std::hint::black_box(0.5), std::hint::black_box(0.25));
    // SAFETY: `dispatch` has made sure of the instruction set; there are no pointers.
    #[allow(unsafe_code)]
    let total = unsafe {
        let factor = S::splat(half);
        let mut x = [S::splat(start); CHAINS];
        for _ in 0..rounds {
            for _ in 0..UNROLLED {
                for x in &mut x {
                    *x = S::fma(*x, factor, factor);
                }
            }
        }
        x.into_iter().map(|x| S::sum(x)).sum::<f32>()
    };
    std::hint::black_box(total);
    2 * rounds * (UNROLLED * CHAINS * S::LANES) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_that_of_the_rounds_and_the_threads() {
        let count = |threads: usize, rounds: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| multiply_adds(rounds))
        };
        assert_eq!(count(1, 0), 0);
        let one = count(1, 1);
        // Two operations for each lane of each chain.
        let possible = [10 * 8, 20 * 16].map(|lanes| 2 * UNROLLED as u64 * lanes);
        assert!(possible.contains(&one), "{one}");
        assert_eq!(count(1, 7), 7 * one);
        assert_eq!(count(3, 7), 21 * one);
    }
}
