use burn::tensor::Device;

use super::*;
use crate::loss::feature_discrepancy::FdForm;

/// Mean features of `n` images of `c` channels and one region, straight from numbers.
fn regions(fg: &[f32], bg: &[f32], valid: &[f32]) -> (RegionFeatures, Tensor<3>, Tensor<3>) {
    let (n, device) = (valid.len(), Device::flex().autodiff());
    let tensor = |v: &[f32]| {
        let data = TensorData::new(v.to_vec(), [n, v.len() / n, 1]);
        Tensor::<3>::from_data(data, &device).require_grad()
    };
    let (fg, bg) = (tensor(fg), tensor(bg));
    let valid = Tensor::from_data(TensorData::new(valid.to_vec(), [n, 1]), &device);
    let form = FdForm::Prototype;
    (RegionFeatures { fg: fg.clone(), bg: bg.clone(), valid, form }, fg, bg)
}

fn others(n: usize) -> Vec<Vec<usize>> {
    (0..n).map(|i| (0..n).filter(|&j| j != i).collect()).collect()
}

/// The definition, image by image.
fn literal(fg: &[f64], bg: &[f64], valid: &[f64], peers: &[Vec<usize>], t: f64) -> f64 {
    let c = fg.len() / valid.len();
    let unit = |v: Vec<f64>| -> Vec<f64> {
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter().map(|x| x / norm).collect()
    };
    let row = |v: &[f64], i: usize| unit(v[i * c..(i + 1) * c].to_vec());
    let prototype = |v: &[f64], peers: &[usize]| {
        let mut sum = vec![0.0; c];
        for &j in peers.iter().filter(|&&j| valid[j] > 0.0) {
            for (s, x) in sum.iter_mut().zip(row(v, j)) {
                *s += x;
            }
        }
        unit(sum)
    };
    let mut losses = Vec::new();
    for (i, peers) in peers.iter().enumerate() {
        if valid[i] == 0.0 || !peers.iter().any(|&j| valid[j] > 0.0) {
            continue;
        }
        let (p, q) = (prototype(fg, peers), prototype(bg, peers));
        let score = |x: Vec<f64>| -> f64 {
            x.iter().zip(p.iter().zip(&q)).map(|(x, (p, q))| x * (p - q)).sum::<f64>() / t
        };
        let log_sigmoid = |x: f64| -(1.0 + (-x).exp()).ln();
        losses.push(-0.5 * (log_sigmoid(score(row(fg, i))) + log_sigmoid(-score(row(bg, i)))));
    }
    losses.iter().sum::<f64>() / losses.len() as f64
}

const FG: [f32; 9] = [1.0, 0.2, 0.1, 0.8, -0.3, 0.4, 0.9, 0.5, -0.2];
const BG: [f32; 9] = [0.1, 0.9, 0.3, -0.2, 1.1, 0.6, 0.3, 0.7, 0.5];

#[test]
fn values_and_gradients_are_those_of_the_definition() {
    let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let (f, b) = (wide(&FG), wide(&BG));
    for (valid, peers) in [
        ([1.0_f32; 3], others(3)),
        ([1.0, 0.0, 1.0], others(3)),
        ([1.0; 3], vec![vec![1, 2], vec![0], vec![0]]),
    ] {
        let (regions, fg, bg) = regions(&FG, &BG, &valid);
        let loss = prototype_discrepancy(&regions, &peers, 0.5);
        let valid = wide(&valid);
        let value = |f: &[f64], b: &[f64]| literal(f, b, &valid, &peers, 0.5);
        let want = value(&f, &b);
        let got = f64::from(loss.value.clone().into_scalar::<f32>());
        assert!((got - want).abs() < 1e-6, "{got} {want}");
        let gradients = loss.value.backward();
        for (leaf, at_fg) in [(fg, true), (bg, false)] {
            let got: Vec<f32> = leaf.grad(&gradients).unwrap().to_data().iter::<f32>().collect();
            for (i, got) in got.into_iter().enumerate() {
                let moved = |by: f64| {
                    let (mut f, mut b) = (f.clone(), b.clone());
                    if at_fg {
                        f[i] += by
                    } else {
                        b[i] += by
                    }
                    value(&f, &b)
                };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((f64::from(got) - want).abs() < 1e-5, "{i}: {got} {want}");
            }
        }
    }
}

#[test]
fn the_scale_of_the_features_does_not_matter_and_agreement_is_asked_for() {
    let value = |fg: &[f32], bg: &[f32]| {
        let (regions, _, _) = regions(fg, bg, &[1.0; 3]);
        prototype_discrepancy(&regions, &others(3), 0.1).value.into_scalar::<f32>()
    };
    let scaled = |v: &[f32]| v.iter().map(|x| 7.0 * x).collect::<Vec<_>>();
    assert!((value(&FG, &BG) - value(&scaled(&FG), &scaled(&BG))).abs() < 1e-5);
    // Every image separates its regions as well as another, but the first along the opposite direction.
    let (agree, not) = ([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
    let (rest, not_rest) = ([0.0, 1.0, 0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
    assert!(value(&agree, &rest) < 1e-3);
    assert!(value(&not, &not_rest) > 1.0);
    // Nothing told apart.
    assert!((value(&FG, &FG) - std::f32::consts::LN_2).abs() < 1e-6);
}

#[test]
fn without_peers_there_is_no_loss_and_no_gradient() {
    let (regions, fg, _) = regions(&FG, &BG, &[1.0; 3]);
    let loss = prototype_discrepancy(&regions, &vec![vec![]; 3], 0.1);
    assert_eq!(loss.contributed(), 0);
    let gradients = (loss.value.clone() + fg.clone().sum() * 0.0).backward();
    assert_eq!(loss.value.into_scalar::<f32>(), 0.0);
    let gradient: Vec<f32> = fg.grad(&gradients).unwrap().to_data().iter::<f32>().collect();
    assert_eq!(gradient, [0.0; 9]);
}
