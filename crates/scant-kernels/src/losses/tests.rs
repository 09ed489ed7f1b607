use burn::tensor::{Device, Distribution};

use super::*;

const ALL: Terms = Terms { overlap: true, bce: true, ce: true };

fn relative_error<const D: usize>(got: Tensor<D>, want: Tensor<D>) -> f32 {
    let norm = |t: Tensor<D>| t.square().sum().into_scalar::<f32>().sqrt();
    norm(got - want.clone()) / norm(want)
}

fn check(shape: [usize; 4], terms: Terms, narrow_ids: bool) {
    let device = Device::flex().autodiff();
    let [b, k, h, w] = shape;
    let x = Tensor::<4>::random(shape, Distribution::Normal(0.0, 2.0), &device).require_grad();
    // One class more than there is.
    let range = Distribution::Uniform(0.0, k.max(2) as f64 + 0.99);
    let mut ids = Tensor::<3>::random([b, h, w], range, &device).int();
    if narrow_ids {
        ids = ids.cast(burn::tensor::IntDType::U8);
    }
    let weights = Tensor::<3>::random([b, k, SUMS], Distribution::Normal(0.0, 1.0), &device);
    let fast = Tensor::<3>::from_dispatch(<Dispatch as SegmentationOps>::segmentation_sums(
        x.clone().into_dispatch(),
        ids.clone().into_dispatch(),
        terms,
    ));
    assert_eq!(fast.dims(), [b, k, SUMS]);
    let slow = sums_by_tensors(x.clone(), ids, terms);
    assert!(relative_error(fast.clone(), slow.clone()) <= 1e-5, "{shape:?} {terms:?}");
    let gradient = |sums: Tensor<3>| {
        let gradients = (sums * weights.clone()).sum().backward();
        x.grad(&gradients).unwrap()
    };
    let error = relative_error(gradient(fast), gradient(slow));
    assert!(error <= 1e-5, "{shape:?} {terms:?}: {error}");
}

#[test]
fn sums_and_gradients_equal_those_of_burns_operators() {
    for narrow_ids in [false, true] {
        for shape in [[2, 3, 9, 7], [1, 2, 16, 16], [3, 5, 33, 20]] {
            check(shape, ALL, narrow_ids);
            for (overlap, bce, ce) in
                [(true, false, false), (false, true, false), (false, false, true)]
            {
                check(shape, Terms { overlap, bce, ce }, narrow_ids);
            }
        }
        for shape in [[2, 1, 9, 7], [1, 1, 1, 3], [3, 1, 40, 20]] {
            check(shape, Terms { ce: false, ..ALL }, narrow_ids);
            check(shape, Terms { overlap: true, bce: false, ce: false }, narrow_ids);
            check(shape, Terms { overlap: false, bce: true, ce: false }, narrow_ids);
        }
    }
}

#[test]
fn volumes_are_planes_of_more_pixels() {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::random([2, 3, 6, 10], Distribution::Normal(0.0, 2.0), &device);
    let ids = Tensor::<3>::random([2, 6, 10], Distribution::Uniform(0.0, 2.9), &device).int();
    let flat = segmentation_sums(x.clone(), ids.clone(), ALL);
    let volume: Tensor<5> = x.reshape([2, 3, 2, 3, 10]);
    let deep = segmentation_sums(volume, ids.reshape([2, 2, 3, 10]), ALL);
    assert_eq!(flat.ce.to_data(), deep.ce.to_data());
    assert_eq!(flat.both.to_data(), deep.both.to_data());
}

#[test]
fn logits_that_are_a_view_are_read_in_their_order() {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::random([2, 6, 10, 3], Distribution::Normal(0.0, 2.0), &device);
    let ids = Tensor::<3>::random([2, 6, 10], Distribution::Uniform(0.0, 2.9), &device).int();
    let view = x.permute([0, 3, 1, 2]);
    let copy = Tensor::<4>::from_data(view.to_data(), &device);
    let [a, b] = [view, copy].map(|x| segmentation_sums(x, ids.clone(), ALL).bce.to_data());
    assert_eq!(a, b);
}

#[test]
#[should_panic(expected = "differ in images or pixels")]
fn classes_of_another_size_are_refused() {
    let device = Device::flex();
    let ids = Tensor::<3, Int>::zeros([2, 4, 3], &device);
    let _ = segmentation_sums(Tensor::<4>::zeros([2, 3, 4, 4], &device), ids, ALL);
}
