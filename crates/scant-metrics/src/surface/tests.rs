use ndarray::{Array, ArrayD, Dimension, IxDyn, array};
use proptest::{collection::vec, prelude::*};

use super::*;

fn distances(a: &ArrayD<u8>, b: &ArrayD<u8>, spacing: Option<&[f64]>) -> Option<SurfaceDistances> {
    SurfaceDistances::of_class(&a.view(), &b.view(), spacing, 1).unwrap()
}

#[test]
fn two_points_by_hand() {
    let mut a = ArrayD::zeros(IxDyn(&[5, 9]));
    let mut b = a.clone();
    a[[1, 2]] = 1;
    b[[4, 6]] = 1;
    let d = distances(&a, &b, None).unwrap();
    assert_eq!((d.forward(), d.backward()), ([5.0].as_slice(), [5.0].as_slice()));
    for v in [d.hd(), d.hd95(Hd95Mode::MaxOfDirected), d.hd95(Hd95Mode::Pooled), d.assd()] {
        assert_eq!(v, 5.0);
    }
    assert_eq!((d.nsd(4.999), d.nsd(5.0)), (0.0, 1.0));
    let d = distances(&a, &b, Some(&[2.0, 0.5])).unwrap();
    assert_eq!(d.hd(), 40.0_f64.sqrt());
}

#[test]
fn directions_differ_by_hand() {
    // Prediction {0, 1, 2} on a line: boundary {0, 2}; truth {2}.
    let a = array![1u8, 1, 1, 0, 0].into_dyn();
    let b = array![0u8, 0, 1, 0, 0].into_dyn();
    let d = distances(&a, &b, Some(&[3.0])).unwrap();
    assert_eq!((d.forward(), d.backward()), ([0.0, 6.0].as_slice(), [0.0].as_slice()));
    assert_eq!(d.asd(), 3.0);
    assert_eq!(d.assd(), 2.0);
    assert_eq!(d.masd(), 1.5);
    // numpy.percentile([0, 6], 95) and numpy.percentile([0, 0, 6], 95)
    assert!((d.hd95(Hd95Mode::MaxOfDirected) - 5.7).abs() < 1e-12);
    assert!((d.hd95(Hd95Mode::Pooled) - 5.4).abs() < 1e-12);
    assert!((d.nsd(1.0) - 2.0 / 3.0).abs() < 1e-15);
}

#[test]
fn an_empty_side_has_no_distances() {
    let a = array![[1u8, 0], [0, 0]].into_dyn();
    let none = ArrayD::zeros(IxDyn(&[2, 2]));
    assert_eq!(distances(&a, &none, None), None);
    assert_eq!(distances(&none, &a, None), None);
    assert_eq!(distances(&none, &none, None), None);
}

#[test]
fn one_pixel_images_of_every_rank() {
    for axes in 1..=3 {
        let one: ArrayD<u8> = Array::ones(vec![1; axes]);
        let d = distances(&one, &one, Some(&vec![0.7; axes])).unwrap();
        assert_eq!((d.hd(), d.assd(), d.nsd(0.0)), (0.0, 0.0, 1.0));
    }
}

#[test]
fn bad_input_is_named() {
    let image = |shape: &[usize]| ArrayD::<u8>::ones(IxDyn(shape));
    let message = |a: &ArrayD<u8>, b: &ArrayD<u8>, spacing: Option<&[f64]>| {
        SurfaceDistances::of_class(&a.view(), &b.view(), spacing, 1).unwrap_err().to_string()
    };
    let (flat, deep) = (image(&[2, 3]), image(&[1, 1, 2, 3]));
    assert!(message(&flat, &image(&[3, 2]), None).contains("[2, 3]"));
    assert!(message(&deep, &deep, None).contains("1, 2 or 3 axes"));
    let scalar = ArrayD::<u8>::ones(IxDyn(&[]));
    assert!(message(&scalar, &scalar, None).contains("1, 2 or 3 axes"));
    assert!(message(&image(&[0, 4]), &image(&[0, 4]), None).contains("no pixels"));
    for spacing in [&[1.0][..], &[1.0, 0.0], &[1.0, -2.0], &[1.0, f64::NAN]] {
        assert!(message(&flat, &flat, Some(spacing)).contains("per axis"));
    }
}

#[test]
fn the_diagonal_is_longer_than_any_distance() {
    assert_eq!(image_diagonal(&[3, 4], None), 5.0);
    assert_eq!(image_diagonal(&[3, 4], Some(&[2.0, 0.5])), 40.0_f64.sqrt());
    assert!(image_diagonal(&[1], Some(&[0.3])) > 0.0);
    let mut a = ArrayD::zeros(IxDyn(&[3, 4]));
    let mut b = a.clone();
    a[[0, 0]] = 1;
    b[[2, 3]] = 1;
    assert!(distances(&a, &b, None).unwrap().hd() < image_diagonal(&[3, 4], None));
}

/// Boundary and distances by definition, without crop or transform.
fn slow(a: &ArrayD<u8>, b: &ArrayD<u8>, spacing: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let boundary = |mask: &ArrayD<u8>| -> Vec<Vec<f64>> {
        let inside = |at: &[usize], axis: usize, step: isize| {
            let mut at = at.to_vec();
            match at[axis].checked_add_signed(step) {
                Some(i) if i < mask.shape()[axis] => at[axis] = i,
                _ => return false,
            }
            mask[at.as_slice()] == 1
        };
        mask.indexed_iter()
            .filter(|(at, id)| {
                let at = at.slice();
                **id == 1 && !(0..at.len()).all(|k| inside(at, k, -1) && inside(at, k, 1))
            })
            .map(|(at, _)| at.slice().iter().zip(spacing).map(|(&i, s)| i as f64 * s).collect())
            .collect()
    };
    let (a, b) = (boundary(a), boundary(b));
    let directed = |from: &[Vec<f64>], to: &[Vec<f64>]| {
        let gap = |p: &[f64], q: &[f64]| {
            p.iter().zip(q).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
        };
        let mut d: Vec<f64> = from
            .iter()
            .map(|p| to.iter().map(|q| gap(p, q)).fold(f64::INFINITY, f64::min))
            .collect();
        d.sort_by(f64::total_cmp);
        d
    };
    (directed(&a, &b), directed(&b, &a))
}

fn pairs() -> impl Strategy<Value = (ArrayD<u8>, ArrayD<u8>, Vec<f64>)> {
    vec((1usize..8, 0.1f64..4.0), 1..=3).prop_flat_map(|axes| {
        let shape: Vec<usize> = axes.iter().map(|a| a.0).collect();
        let spacing: Vec<f64> = axes.iter().map(|a| a.1).collect();
        let pixels: usize = shape.iter().product();
        (0.0f64..1.0, vec((0.0f64..1.0, 0.0f64..1.0), pixels)).prop_map(move |(fill, noise)| {
            let mask = |f: fn(&(f64, f64)) -> f64| {
                let ids = noise.iter().map(|v| u8::from(f(v) < fill)).collect();
                ArrayD::from_shape_vec(IxDyn(&shape), ids).unwrap()
            };
            (mask(|v| v.0), mask(|v| v.1), spacing.clone())
        })
    })
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() <= 1e-12 * y.max(1.0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn equals_the_definition((a, b, spacing) in pairs()) {
        match distances(&a, &b, Some(&spacing)) {
            None => prop_assert!(a.iter().all(|&i| i == 0) || b.iter().all(|&i| i == 0)),
            Some(d) => {
                let (forward, backward) = slow(&a, &b, &spacing);
                prop_assert!(close(d.forward(), &forward), "{:?} {forward:?}", d.forward());
                prop_assert!(close(d.backward(), &backward));
            }
        }
    }

    #[test]
    fn symmetric_ordered_and_independent_of_axis_order((a, b, spacing) in pairs()) {
        let Some(d) = distances(&a, &b, Some(&spacing)) else { return Ok(()) };
        let swapped = distances(&b, &a, Some(&spacing)).unwrap();
        prop_assert_eq!(swapped.forward(), d.backward());
        prop_assert_eq!(swapped.hd(), d.hd());
        prop_assert!(d.hd95(Hd95Mode::MaxOfDirected) <= d.hd());
        prop_assert!(d.hd95(Hd95Mode::Pooled) <= d.hd());
        prop_assert!(d.assd() <= d.hd() + 1e-12);
        prop_assert!(d.hd() < image_diagonal(a.shape(), Some(&spacing)));
        prop_assert_eq!(d.nsd(d.hd()), 1.0);
        // Reversed axes with reversed spacing are the same picture, in another memory layout.
        let reversed: Vec<f64> = spacing.iter().rev().copied().collect();
        let turned = SurfaceDistances::of_class(&a.t(), &b.t(), Some(&reversed), 1);
        let turned = turned.unwrap().unwrap();
        prop_assert!(close(turned.forward(), d.forward()));
        prop_assert!(close(turned.backward(), d.backward()));
    }

    #[test]
    fn a_wider_frame_changes_nothing_but_the_edge((a, b, spacing) in pairs()) {
        let Some(d) = distances(&a, &b, Some(&spacing)) else { return Ok(()) };
        let frame = |m: &ArrayD<u8>| {
            let wide: Vec<usize> = m.shape().iter().map(|n| n + 5).collect();
            let mut out = ArrayD::zeros(IxDyn(&wide));
            for (at, &id) in m.indexed_iter() {
                let moved: Vec<usize> = at.slice().iter().map(|i| i + 2).collect();
                out[moved.as_slice()] = id;
            }
            out
        };
        let framed = distances(&frame(&a), &frame(&b), Some(&spacing)).unwrap();
        prop_assert_eq!(framed, d);
    }
}
