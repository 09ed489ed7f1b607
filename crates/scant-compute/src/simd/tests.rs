#![allow(unsafe_code)]

use super::*;
use crate::testing::noise;

struct Shuffles;

impl Kernel for Shuffles {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let n = S::LANES;
        let values = noise(3, 4 * n);
        let mut split = vec![0.0; 4 * n];
        let mut back = vec![0.0; 4 * n];
        let mut chosen = vec![0.0; n];
        let mut twice = [vec![0.0; n], vec![0.0; n]];
        let mut pairs = vec![0.0; 2 * n];
        let mut shifted = vec![0.0; n];
        let square = noise(4, n * (n + 3));
        let mut turned = vec![0.0; n * (n + 5)];
        // SAFETY: every slice holds the values the call reads or writes.
        let sum = unsafe {
            let v = S::deinterleave4(values.as_ptr());
            for (i, v) in v.into_iter().enumerate() {
                S::store(split.as_mut_ptr().add(i * n), v);
            }
            S::interleave4(back.as_mut_ptr(), v);
            S::transpose(square.as_ptr(), n + 3, turned.as_mut_ptr(), n + 5);
            let [a, b] = [S::load(values.as_ptr()), S::load(values.as_ptr().add(n))];
            S::store(chosen.as_mut_ptr(), S::where_positive(a, b, S::splat(9.0)));
            for (phase, twice) in twice.iter_mut().enumerate() {
                S::store(twice.as_mut_ptr(), S::load_twice(values.as_ptr(), phase));
            }
            S::interleave2(pairs.as_mut_ptr(), a, b);
            S::store(shifted.as_mut_ptr(), S::shift_in(S::load(values.as_ptr()), 7.0));
            S::sum(S::load(values.as_ptr()))
        };
        for l in 0..n {
            assert_eq!((pairs[2 * l], pairs[2 * l + 1]), (values[l], values[n + l]));
            assert_eq!((twice[0][l], twice[1][l]), (values[l / 2], values[l.div_ceil(2)]));
            assert_eq!(chosen[l], if values[l] > 0.0 { values[n + l] } else { 9.0 });
            for i in 0..4 {
                assert_eq!(split[i * n + l], values[4 * l + i]);
            }
            for c in 0..n {
                assert_eq!(turned[c * (n + 5) + l], square[l * (n + 3) + c]);
            }
        }
        assert_eq!(back, values);
        assert_eq!((&shifted[..n - 1], shifted[n - 1]), (&values[1..n], 7.0));
        assert!((sum - values[..n].iter().sum::<f32>()).abs() < 1e-5);
    }
}

#[test]
fn shuffles_of_every_instruction_set() {
    Shuffles.run::<Portable>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: asked before each call.
    unsafe {
        if Level::best() >= Level::Avx2 {
            run_avx2(Shuffles);
        }
        if Level::best() >= Level::Avx512 {
            run_avx512(Shuffles);
        }
    }
}
