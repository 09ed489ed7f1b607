#![allow(missing_docs, clippy::all)]
use std::time::Instant;
use burn::tensor::{Device, Distribution, Int, Tensor};
use scant_nn::loss::feature_discrepancy::*;
use scant_nn::loss::mask_pyramid::mask_pyramid;
use scant_nn::loss::segmentation::*;
use scant_nn::loss::*;

fn median(mut v: Vec<f64>) -> f64 { v.sort_by(f64::total_cmp); print!("[min {:.2}] ", v[0]); v[v.len() / 2] }

fn main() {
    let device = Device::flex().autodiff();
    let reps: usize = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(15);
    for k in 1..=4usize {
        let logits = Tensor::<4>::random([2, k, 256, 256], Distribution::Normal(0.0, 2.0), &device).require_grad();
        let ids = Tensor::<3>::random([2, 256, 256], Distribution::Uniform(0.0, k.max(2) as f64 - 0.001), &device).int();
        let target = Target { classes: ids, annotated: Tensor::ones([2, k.max(2)], &device) };
        for (name, ce, bce) in [("dice+ce", 1.0, 0.0), ("dice+bce", 0.0, 1.0)] {
            let config = SegmentationLossConfig { ce, bce, ..Default::default() };
            let (mut f, mut b) = (vec![], vec![]);
            for _ in 0..reps {
                let t = Instant::now();
                let l = segmentation_loss(&Logits(logits.clone()), &target, &config);
                f.push(t.elapsed().as_secs_f64() * 1e3);
                let t = Instant::now();
                let g = l.total.backward();
                let _ = logits.grad(&g).unwrap();
                b.push(t.elapsed().as_secs_f64() * 1e3);
            }
            println!("{name} K={k}: forward {:.2} ms, backward {:.2} ms", median(f), median(b));
        }
    }
    // nine taps
    let shapes = [(32, 256), (64, 128), (128, 64), (256, 32), (512, 16), (256, 32), (128, 64), (64, 128), (32, 256)];
    let xs: Vec<_> = shapes.iter().map(|&(c, s)| Tensor::<4>::random([2, c, s, s], Distribution::Normal(0.1, 1.0), &device).require_grad()).collect();
    let ws: Vec<_> = xs.iter().map(|x| Tensor::<4>::random(x.dims(), Distribution::Normal(0.1, 1.0), &device)).collect();
    let ids: Tensor<3, Int> = Tensor::<3>::random([2, 256, 256], Distribution::Uniform(0.0, 1.2), &device).int();
    let target = Target { classes: ids, annotated: Tensor::ones([2, 2], &device) };
    let sizes: Vec<_> = shapes.iter().map(|&(_, s)| [s, s]).collect();
    for form in [FdForm::PaperSum, FdForm::RegionMean] {
        for (main_path, tapped) in [(false, false), (true, false), (true, true)] {
            let (mut pyr, mut f, mut b, mut b0) = (vec![], vec![], vec![], vec![]);
            for rep in 0..2 * reps {
                let with = rep % 2 == 0;
                let ys: Vec<_> = xs.iter().map(|x| x.clone().mul_scalar(1.0)).collect();
                let (ys, looks): (Vec<_>, Vec<_>) = ys.into_iter().map(|y| if tapped { scant_kernels::tap(y) } else { (y.clone(), scant_kernels::Tap::untied(y)) }).unzip();
                let main = main_path.then(|| ys.iter().zip(&ws).map(|(y, w)| (y.clone() * w.clone()).sum()).reduce(|a, b| a + b).unwrap());
                let mut total = main;
                if with {
                    let t = Instant::now();
                    let mask = ForegroundMask::from_target(&target, FdClasses::Foreground);
                    let masks = mask_pyramid(&mask, &sizes);
                    pyr.push(t.elapsed().as_secs_f64() * 1e3);
                    let t = Instant::now();
                    for (y, m) in looks.iter().zip(&masks) {
                        let r = tapped_region_features(y, m, form);
                        let d = feature_discrepancy(&r, MinusLog { squared: true, eps: 1e-12 });
                        total = Some(match total { Some(t) => t + d.value * 0.5, None => d.value * 0.5 });
                    }
                    f.push(t.elapsed().as_secs_f64() * 1e3);
                }
                drop(ys); drop(looks);
                let Some(total) = total else { continue };
                let t = Instant::now();
                let g = total.backward();
                let e = t.elapsed().as_secs_f64() * 1e3;
                if with { b.push(e) } else { b0.push(e) }
                drop(g);
            }
            println!("{form:?} main={main_path} tapped={tapped}: pyramid {:.2} forward {:.2} backward {:.2} (without fd {:.2})", median(pyr), median(f), median(b), if b0.is_empty() { 0.0 } else { median(b0) });
        }
    }
}
