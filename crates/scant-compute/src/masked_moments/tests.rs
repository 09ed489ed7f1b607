use proptest::prelude::*;

use super::*;
use crate::testing::{noise, relative_error};

/// Ones and zeros, or any weights between.
fn mask(seed: u64, count: usize, binary: bool) -> Vec<f32> {
    let weight = |v: f32| if binary { f32::from(u8::from(v > 0.2)) } else { 0.5 + 0.5 * v };
    noise(seed, count).into_iter().map(weight).collect()
}

/// The sums once more, literally.
fn literal_sums(s: MaskedMoments, x: &[f32], m: &[f32]) -> Vec<f64> {
    let mut sums = Vec::new();
    for b in 0..s.batch {
        for c in 0..s.channels {
            for inside in [true, false] {
                for r in 0..s.regions {
                    let pixel = |p: usize| {
                        let m = f64::from(m[(b * s.regions + r) * s.pixels + p]);
                        let x = f64::from(x[(b * s.channels + c) * s.pixels + p]);
                        if inside { x * m } else { x * (1.0 - m) }
                    };
                    sums.push((0..s.pixels).map(pixel).sum());
                }
            }
        }
    }
    sums
}

fn literal_gradient(s: MaskedMoments, m: &[f32], g: &[f32]) -> Vec<f64> {
    let mut gradient = Vec::new();
    for b in 0..s.batch {
        for c in 0..s.channels {
            let row = &g[(b * s.channels + c) * 2 * s.regions..][..2 * s.regions];
            for p in 0..s.pixels {
                let region = |r: usize| {
                    let m = f64::from(m[(b * s.regions + r) * s.pixels + p]);
                    m * f64::from(row[r]) + (1.0 - m) * f64::from(row[s.regions + r])
                };
                gradient.push((0..s.regions).map(region).sum());
            }
        }
    }
    gradient
}

fn check(s: MaskedMoments, binary: bool, seed: u64) {
    let x = noise(seed, s.batch * s.channels * s.pixels);
    let m = mask(seed + 1, s.batch * s.regions * s.pixels, binary);
    let g = noise(seed + 2, s.batch * s.channels * 2 * s.regions);
    assert!(relative_error(&s.sums(&x, &m), &literal_sums(s, &x, &m)) <= 1e-5, "{s:?}");
    let want = literal_gradient(s, &m, &g);
    assert!(relative_error(&s.gradient(&m, &g), &want) <= 1e-5, "{s:?}");
    let mut sum = x.clone();
    s.add_gradient(&m, &g, &mut sum);
    let want: Vec<f64> = x.iter().zip(&want).map(|(&x, w)| f64::from(x) + w).collect();
    assert!(relative_error(&sum, &want) <= 1e-5, "{s:?}");
    let want: f64 = literal_gradient(s, &m, &g).iter().map(|v| v * v).sum();
    let got = s.gradient_energy(&m, &g);
    assert!((got - want).abs() <= 1e-5 * want.max(1e-9), "{got} {want}");
    let got = energy(&x);
    let want: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    assert!((got - want).abs() <= 1e-5 * want.max(1e-9), "{got} {want}");
}

#[test]
fn several_blocks_and_groups() {
    for (channels, regions, pixels) in [(3, 1, 3 * BLOCK + 17), (19, 2, 2 * BLOCK), (200, 1, 256)] {
        let s = MaskedMoments { batch: 2, channels, regions, pixels };
        check(s, true, 5);
        check(s, false, 6);
    }
}

#[test]
fn left_out_values_leave_nothing_behind() {
    // A region of large values beside one of small ones: their sums must not disturb each other.
    let s = MaskedMoments { batch: 1, channels: 1, regions: 1, pixels: 2000 };
    let m: Vec<f32> = (0..2000).map(|p| f32::from(u8::from(p % 3 == 0))).collect();
    let x: Vec<f32> = m.iter().map(|&m| if m == 1.0 { 1e8 } else { 1e-8 }).collect();
    let [inside, outside] = s.sums(&x, &m)[..] else { panic!("two sums") };
    assert!((inside - 667.0 * 1e8).abs() < 1e5 && (outside - 1333.0 * 1e-8).abs() < 1e-11);
    let g = s.gradient(&m, &[1e8, 1e-8]);
    assert!(g.iter().zip(&x).all(|(g, x)| g == x));
}

#[test]
fn without_regions_or_pixels_there_are_no_sums() {
    let none = MaskedMoments { batch: 2, channels: 3, regions: 0, pixels: 4 };
    assert!(none.sums(&[1.0; 24], &[]).is_empty());
    assert_eq!(none.gradient(&[], &[]), [0.0; 24]);
    let flat = MaskedMoments { batch: 2, channels: 3, regions: 1, pixels: 0 };
    assert_eq!(flat.sums(&[], &[]), [0.0; 12]);
    assert!(flat.gradient(&[], &[1.0; 12]).is_empty());
}

#[test]
fn the_same_on_any_number_of_threads() {
    let s = MaskedMoments { batch: 3, channels: 21, regions: 2, pixels: 5001 };
    let (x, m) = (noise(1, 3 * 21 * 5001), mask(2, 3 * 2 * 5001, true));
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| s.sums(&x, &m))
    };
    assert_eq!(on(1), on(3));
}

#[test]
#[should_panic(expected = "values of [batch, regions, pixels]")]
fn a_mask_of_another_size_is_refused() {
    let s = MaskedMoments { batch: 1, channels: 1, regions: 1, pixels: 4 };
    let _ = s.sums(&[0.0; 4], &[0.0; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn equal_to_the_literal_sums(
        batch in 1_usize..4, channels in 1_usize..20, regions in 1_usize..4,
        pixels in 1_usize..400, binary in any::<bool>(), seed in 0_u64..1 << 40,
    ) {
        check(MaskedMoments { batch, channels, regions, pixels }, binary, seed);
    }
}
