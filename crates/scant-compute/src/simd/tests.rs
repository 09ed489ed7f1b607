#![allow(unsafe_code)]

use super::*;
use crate::bf16::{round, rounded};
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
        let [mut packed, mut dots, mut nans] = [(); 3].map(|()| vec![0.0_f32; n]);
        let mut halves = vec![0.0_f32; n / 2];
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
            S::store(packed.as_mut_ptr(), S::pack_pairs(a, b));
            S::store_halves(halves.as_mut_ptr(), a);
            let dot = S::dot_pairs(S::pack_pairs(a, b), S::pack_pairs(b, b), S::splat(0.5));
            S::store(dots.as_mut_ptr(), dot);
            let nan = S::pack_pairs(S::splat(f32::from_bits(0x7FFF_FFFF)), a);
            S::store(nans.as_mut_ptr(), nan);
            S::store(shifted.as_mut_ptr(), S::shift_in(S::load(values.as_ptr()), 7.0));
            S::sum(S::load(values.as_ptr()))
        };
        let pair = |a: f32, b: f32| u32::from(round(a)) | u32::from(round(b)) << 16;
        for l in 0..n {
            let (a, b) = (values[l], values[n + l]);
            assert_eq!(packed[l].to_bits(), pair(a, b));
            let want = 0.5 + rounded(a) * rounded(b) + rounded(b) * rounded(b);
            assert!((dots[l] - want).abs() < 1e-6, "{} for {want}", dots[l]);
            assert!(f32::from_bits(nans[l].to_bits() << 16).is_nan());
            if l % 2 == 0 {
                assert_eq!(halves[l / 2].to_bits(), pair(a, values[l + 1]));
            }
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
        if is_x86_feature_detected!("avx512bf16") && Level::best() >= Level::Avx512 {
            run_avx512_bf16(Shuffles);
        }
    }
}
