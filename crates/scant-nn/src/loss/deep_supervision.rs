//! A segmentation loss on several stages of a decoder at once.
//!
//! Lee et al. 2015, arXiv:1409.5185, as nnU-Net does it (Isensee et al. 2021,
//! doi:10.1038/s41592-020-01008-z): the loss at full size has weight 1, each coarser stage half the
//! weight of the one above it, the coarsest none, and the weights are divided by their sum. With one
//! coarser stage only, it keeps its half: else nothing would be left of the idea.
//!
//! # Deviations
//! nnU-Net resamples the target by nearest neighbour at the centres of the coarse pixels; here a
//! coarse pixel takes the class of its first (upper left) fine pixel, which for strides of two is
//! one of the four it covers, as theirs is.

use burn::tensor::{Slice, Tensor};

use super::Target;

/// Weight of the full-size logits, then of the coarser ones from fine to coarse.
#[must_use]
pub fn weights(coarser: usize) -> Vec<f64> {
    let mut weights: Vec<f64> = (0..=coarser).map(|i| 0.5_f64.powi(i as i32)).collect();
    if coarser > 1 {
        weights[coarser] = 0.0;
    }
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// Coarse logits cut to the part that lies on the image, and the target at their pixels.
///
/// # Shapes
/// - coarse: `[B, K, h, w]`, of a network whose input `[H, W]` got `padding` at its end
/// - target: at `[H, W]`
/// - result: logits `[B, K, h', w']` with `h' = ceil(H / ((H + padding) / h))`, the target likewise
///
/// # Panics
/// When the padded input is no multiple of the coarse size.
#[must_use]
pub fn at_stage(coarse: Tensor<4>, target: &Target, padding: &[usize]) -> (Tensor<4>, Target) {
    let [b, k, h, w] = coarse.dims();
    let [_, rows, columns] = target.classes.dims();
    let along = |size: usize, padding: usize, coarse: usize| {
        assert!(
            (size + padding).is_multiple_of(coarse),
            "a stage of {coarse} pixels does not divide {size} padded by {padding}"
        );
        let step = (size + padding) / coarse;
        (size.div_ceil(step), Slice::new(0, Some(size as isize), step as isize))
    };
    let (h_kept, every_row) = along(rows, padding[0], h);
    let (w_kept, every_column) = along(columns, padding[1], w);
    let classes = target.classes.clone().slice([Slice::full(), every_row, every_column]);
    let coarse = coarse.slice([0..b, 0..k, 0..h_kept, 0..w_kept]);
    (coarse, Target { classes, annotated: target.annotated.clone() })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int};

    use super::*;

    #[test]
    fn weights_halve_add_up_to_one_and_leave_the_coarsest_out() {
        assert_eq!(weights(0), [1.0]);
        assert_eq!(weights(1), [2.0 / 3.0, 1.0 / 3.0]);
        let [a, b, c, d] = weights(3)[..] else { panic!("four weights") };
        assert_eq!((b, c, d), (a / 2.0, a / 4.0, 0.0));
        assert!((a + b + c - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_target_is_sampled_where_the_coarse_pixels_begin_and_padding_is_cut_off() {
        let device = Device::flex();
        let classes: Tensor<3, Int> = Tensor::arange(0..15, &device).reshape([1, 3, 5]);
        let target = Target { classes, annotated: Tensor::ones([1, 15], &device) };
        // 3 x 5 padded to 4 x 8; a stage of 2 x 4 has strides of two.
        let coarse = Tensor::arange(0..8, &device).float().reshape([1, 1, 2, 4]);
        let (logits, there) = at_stage(coarse, &target, &[1, 3]);
        assert_eq!(logits.dims(), [1, 1, 2, 3]);
        let logits: Vec<f32> = logits.to_data().iter::<f32>().collect();
        assert_eq!(logits, [0.0, 1.0, 2.0, 4.0, 5.0, 6.0]);
        let classes: Vec<i64> = there.classes.to_data().iter::<i64>().collect();
        assert_eq!(classes, [0, 2, 4, 10, 12, 14]);
        // Strides may differ by axis.
        let (logits, there) = at_stage(Tensor::ones([1, 2, 4, 2], &device), &target, &[1, 3]);
        assert_eq!((logits.dims(), there.classes.dims()), ([1, 2, 3, 2], [1, 3, 2]));
    }

    #[test]
    #[should_panic(expected = "does not divide")]
    fn a_stage_that_does_not_fit_is_refused() {
        let device = Device::flex();
        let target = Target {
            classes: Tensor::zeros([1, 4, 4], &device),
            annotated: Tensor::ones([1, 2], &device),
        };
        let _ = at_stage(Tensor::ones([1, 1, 3, 2], &device), &target, &[0, 0]);
    }
}
