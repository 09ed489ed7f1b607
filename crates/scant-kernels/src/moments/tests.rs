use burn::tensor::{Device, Distribution};

use super::*;

fn relative_error<const D: usize>(got: Tensor<D>, want: Tensor<D>) -> f32 {
    let norm = |t: Tensor<D>| t.square().sum().into_scalar::<f32>().sqrt();
    norm(got - want.clone()) / norm(want)
}

fn noise<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex().autodiff())
}

fn mask<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    noise(shape).greater_elem(0.3).float()
}

fn weighted((inside, outside): (Tensor<3>, Tensor<3>), weights: &Tensor<3>) -> Tensor<1> {
    (Tensor::cat(vec![inside, outside], 2) * weights.clone()).sum()
}

#[test]
fn sums_and_gradients_equal_those_of_burns_operators() {
    for ([b, c, h, w], r) in [([2, 3, 9, 7], 1), ([1, 17, 8, 8], 3), ([3, 1, 1, 1], 2)] {
        let (x, m) = (noise([b, c, h, w]).require_grad(), mask([b, r, h, w]));
        let weights = noise([b, c, 2 * r]);
        let (inside, outside) = masked_sums(x.clone(), m.clone());
        assert_eq!([inside.dims(), outside.dims()], [[b, c, r]; 2]);
        let slow = sums_by_tensors(x.clone(), m);
        let fast = Tensor::cat(vec![inside, outside], 2);
        assert!(relative_error(fast.clone(), slow.clone()) <= 1e-5);
        let gradient = |sums: Tensor<3>| {
            let gradients = (sums * weights.clone()).sum().backward();
            x.grad(&gradients).unwrap()
        };
        assert!(relative_error(gradient(fast), gradient(slow)) <= 1e-5);
    }
}

#[test]
fn volumes_are_planes_of_more_pixels() {
    let (x, m) = (noise([2, 3, 6, 10]), mask([2, 2, 6, 10]));
    let flat = masked_sums(x.clone(), m.clone());
    let deep = masked_sums::<5>(x.reshape([2, 3, 2, 3, 10]), m.reshape([2, 2, 2, 3, 10]));
    assert_eq!(flat.0.to_data(), deep.0.to_data());
    assert_eq!(flat.1.to_data(), deep.1.to_data());
}

#[test]
fn features_that_are_a_view_are_read_in_their_order() {
    let x = noise([2, 6, 10, 3]).permute([0, 3, 1, 2]);
    let copy = Tensor::<4>::from_data(x.to_data(), &x.device());
    let m = mask([2, 1, 6, 10]);
    assert_eq!(masked_sums(x, m.clone()).0.to_data(), masked_sums(copy, m).0.to_data());
}

#[test]
fn the_mask_gets_no_gradient() {
    let (x, m) = (noise([2, 3, 4, 4]).require_grad(), mask([2, 1, 4, 4]).require_grad());
    let gradients = masked_sums(x.clone(), m.clone()).0.sum().backward();
    assert!(x.grad(&gradients).is_some() && m.grad(&gradients).is_none());
}

/// How the network goes on from a map, and when: before or after the sums are taken, and how deep.
type Onwards = fn(Tensor<4>) -> Tensor<4>;

#[test]
fn a_tap_gives_the_gradient_of_a_map_used_twice() {
    const ONWARDS: [Onwards; 3] = [|x| x, |x| x.clone() * 2.0 + x, |x| (x.sin() + 1.0).cos().exp()];
    for onwards in ONWARDS {
        for (sums, twice) in [(1, false), (1, true), (2, false), (2, true)] {
            for leaf in [true, false] {
                let x = noise([2, 3, 9, 7]).require_grad();
                let masks: Vec<_> = (0..sums).map(|r| mask([2, 1 + r, 9, 7])).collect();
                let weights: Vec<_> = (0..sums).map(|r| noise([2, 3, 2 + 2 * r])).collect();
                let w = noise([2, 3, 9, 7]);
                let map = || if leaf { x.clone() } else { x.clone() * 1.5 };
                let gradient = |y: Tensor<4>, tap: Tap<4>| {
                    let mut total = (onwards(y.clone()) * w.clone()).sum();
                    if twice {
                        total = total + y.square().sum();
                    }
                    for (m, weights) in masks.iter().zip(&weights) {
                        // Through a root of its own depth, before and after the other terms.
                        let term = weighted(tap.masked_sums(m.clone()), weights);
                        total = if weights.dims()[2] == 2 { term + total } else { total + term };
                    }
                    let gradients = total.backward();
                    x.grad(&gradients).unwrap()
                };
                let (onwards_map, tapped) = tap(map());
                let link = tapped.link.clone();
                let fast = gradient(onwards_map, tapped);
                // The sums have met the rest in place, and nothing was left behind.
                assert!(link.with(|meeting| meeting.announced && meeting.waiting.is_empty()));
                let plain = map();
                let slow = gradient(plain.clone(), Tap::untied(plain));
                assert!(relative_error(fast, slow) <= 1e-6);
            }
        }
    }
}

#[test]
fn a_tap_that_only_one_side_uses_still_has_a_gradient() {
    let (x, m, weights) =
        (noise([2, 3, 5, 4]).require_grad(), mask([2, 1, 5, 4]), noise([2, 3, 2]));
    let want = {
        let gradients = weighted(masked_sums(x.clone(), m.clone()), &weights).backward();
        x.grad(&gradients).unwrap()
    };
    let (onwards, tapped) = tap(x.clone());
    let gradients = weighted(tapped.masked_sums(m.clone()), &weights).backward();
    assert_eq!(x.grad(&gradients).unwrap().to_data(), want.to_data());
    drop(onwards);
    let (onwards, tapped) = tap(x.clone());
    let _ = tapped.masked_sums(m);
    let gradients = (onwards * 3.0).sum().backward();
    assert_eq!(x.grad(&gradients).unwrap().to_data(), (x.zeros_like() + 3.0).to_data());
}

#[test]
fn a_shared_gradient_is_left_as_it_is() {
    // The sum hands one and the same tensor to both of its parents.
    let (x, z) = (noise([2, 3, 5, 4]).require_grad(), noise([2, 3, 5, 4]).require_grad());
    let (m, weights, w) = (mask([2, 1, 5, 4]), noise([2, 3, 2]), noise([2, 3, 5, 4]));
    let (onwards, tapped) = tap(x.clone() * 1.0);
    let term = weighted(tapped.masked_sums(m), &weights);
    let gradients = (((onwards + z.clone()) * w.clone()).sum() + term).backward();
    assert_eq!(z.grad(&gradients).unwrap().to_data(), w.to_data());
    assert_ne!(x.grad(&gradients).unwrap().to_data(), w.to_data());
}

#[test]
#[should_panic(expected = "differ in images or pixels")]
fn a_mask_of_another_size_is_refused() {
    let _ = masked_sums(noise([2, 3, 4, 4]), mask([2, 1, 4, 3]));
}

/// The map is descended by a sum of its own, `Σ w x`, whose gradient is `w`.
#[test]
fn a_watched_tap_knows_the_ratio_of_the_two_gradients() {
    let shape = [2, 3, 5, 7];
    let (x, w, m) = (noise(shape).require_grad(), noise(shape), mask([2, 2, 5, 7]));
    let weights = noise([2, 3, 4]);
    let (onwards, tapped) = tap(x.clone());
    let watch = tapped.watch();
    assert_eq!(watch.ratio(), None);
    let sums = weighted(tapped.masked_sums(m.clone()), &weights);
    let gradients = ((onwards * w.clone()).sum() + sums).backward();
    let alone = weighted(masked_sums(x.clone(), m), &weights).backward();
    let norm = |t: Tensor<4>| f64::from(t.square().sum().into_scalar::<f32>()).sqrt();
    let device = Device::flex();
    let inner = |t: Tensor<4>| Tensor::<4>::from_data(t.to_data(), &device);
    let of_sums = inner(x.grad(&alone).unwrap());
    let want = norm(of_sums.clone()) / norm(inner(w.clone()));
    assert!((watch.ratio().unwrap() / want - 1.0).abs() < 1e-5, "{watch:?} {want}");
    // Watching changes nothing.
    let got = inner(x.grad(&gradients).unwrap());
    assert!(relative_error(got, of_sums + inner(w)) <= 1e-6);
}
