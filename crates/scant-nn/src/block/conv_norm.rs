//! Convolutions with batch norm and ReLU or LeakyReLU behind them.

use burn::nn::BatchNorm;
use burn::tensor::{DType, Tensor};
use scant_kernels::{BatchStatistics, ConvInput, ConvNorm, NormActivation, activate};

use super::Conv;

/// [`conv_norm_activation`] with ReLU.
///
/// # Shapes
/// As there.
pub(super) fn conv_norm_relu<const N: usize>(
    x: ConvInput,
    stages: [(&Conv, &BatchNorm); N],
) -> Tensor<4> {
    conv_norm_activation(x, stages, 0.0)
}

/// 3x3 convolution → batch norm → LeakyReLU of the given slope (0 makes it ReLU), once or twice.
///
/// While training, the norms use the statistics of the batch and move their running ones, the
/// variance without bias, as PyTorch does. On the CPU the parts are one operator, forward and
/// backward.
///
/// # Shapes
/// - x: see [`ConvInput`], of the first's input channels
/// - output: `[B, output of the last, H, W]`
pub(super) fn conv_norm_activation<const N: usize>(
    x: ConvInput,
    stages: [(&Conv, &BatchNorm); N],
    slope: f64,
) -> Tensor<4> {
    let like = x.representative();
    let tracked = like.device().is_autodiff();
    let training = stages.iter().filter(|(_, norm)| norm.training.is_enabled()).count();
    let epsilon = stages[0].1.epsilon;
    let alike = stages.iter().all(|(_, norm)| norm.epsilon == epsilon);
    let set = NormActivation { epsilon, slope };
    let fused = alike && scant_kernels::on_cpu(&like.device()) && like.dtype() == DType::F32;
    let count = x.values_per_channel();
    match N {
        _ if fused && !tracked => {
            let stages = stages.map(|(conv, norm)| {
                let (mean, variance) = (norm.running_mean.value(), norm.running_var.value());
                (parts(conv, norm), BatchStatistics { mean, variance })
            });
            scant_kernels::conv_norm_infer(x, stages.into(), set)
        }
        1 if fused && training == 1 => {
            let (conv, norm) = stages[0];
            let (y, statistics) = scant_kernels::conv_norm(x, parts(conv, norm), set);
            move_statistics(norm, statistics, count);
            y
        }
        2 if fused && training == 2 => {
            let both = [0, 1].map(|i: usize| parts(stages[i].0, stages[i].1));
            let (y, statistics) = scant_kernels::conv_norm_twice(x, both, set);
            for ((_, norm), statistics) in stages.iter().zip(statistics) {
                move_statistics(norm, statistics, count);
            }
            y
        }
        _ => stages.into_iter().fold(x.written_out(), |x, (conv, norm)| {
            normalise_activate(norm, conv.forward(x), slope)
        }),
    }
}

/// Batch norm: by the statistics of the batch while training, else by the running ones.
///
/// # Shapes
/// - z, output: `[B, C, ...]`
pub(super) fn normalise<const D: usize>(norm: &BatchNorm, z: Tensor<D>) -> Tensor<D> {
    normalise_activate(norm, z, 1.0)
}

/// [`normalise`], then [`activate`]; while training in one operator.
///
/// # Shapes
/// - z, output: `[B, C, ...]`
pub(super) fn normalise_activate<const D: usize>(
    norm: &BatchNorm,
    z: Tensor<D>,
    slope: f64,
) -> Tensor<D> {
    if !(z.device().is_autodiff() && norm.training.is_enabled()) {
        return activate(norm.forward(z), slope);
    }
    let count = values_per_channel(&z);
    let set = NormActivation { epsilon: norm.epsilon, slope };
    let (y, statistics) = scant_kernels::batch_norm(z, norm.gamma.val(), norm.beta.val(), set);
    move_statistics(norm, statistics, count);
    y
}

/// PyTorch's name for a field of a norm or convolution.
pub(crate) fn official_field(field: &str) -> &str {
    match field {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    }
}

pub(super) fn parts(conv: &Conv, norm: &BatchNorm) -> ConvNorm {
    let (weight, bias) = conv.parameters();
    ConvNorm { weight, bias, gamma: norm.gamma.val(), beta: norm.beta.val() }
}

pub(super) fn values_per_channel<const D: usize>(x: &Tensor<D>) -> usize {
    let dims = x.dims();
    dims[0] * dims[2..].iter().product::<usize>()
}

/// Moves the running statistics towards those of a batch of `count` values per channel.
pub(super) fn move_statistics(norm: &BatchNorm, batch: BatchStatistics, count: usize) {
    let unbiased = count as f64 / (count.max(2) - 1) as f64;
    let towards = |old: Tensor<1>, new: Tensor<1>| {
        let new = new.detach().to_device(&old.device());
        (old * (1.0 - norm.momentum) + new * norm.momentum).detach()
    };
    let mean = towards(norm.running_mean.value_sync(), batch.mean);
    let variance = towards(norm.running_var.value_sync(), batch.variance * unbiased);
    norm.running_mean.update(mean);
    norm.running_var.update(variance);
}

#[cfg(test)]
mod tests {
    use burn::nn::BatchNormConfig;
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// The fused path and the parts must leave the same running statistics.
    #[test]
    fn running_statistics_are_those_of_pytorch() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let norm = BatchNormConfig::new(2).init(&device);
        let conv = Conv::new(1, 2, 3, &device);
        let values = [1.0_f32, 2.0, 3.0, 6.0];
        let x = Tensor::<1>::from_floats(values, &device).reshape([1, 1, 2, 2]);
        // Filters of zeros and a bias: the output is the bias, its variance zero.
        let y = conv_norm_relu(ConvInput::Plain(x.clone()), [(&conv, &norm)]);
        assert_eq!(y.dims(), [1, 2, 2, 2]);
        let variance: Vec<f32> =
            norm.running_var.value_sync().into_data().try_to_vec().expect("floats");
        assert_eq!(variance, [0.9, 0.9]);

        // mean 3, sum of squared differences 14: 14 / 3 without bias, from a running variance of 1.
        let norm = BatchNormConfig::new(1).init(&device);
        let _ = normalise(&norm, x);
        let mean: f32 = norm.running_mean.value_sync().into_scalar();
        let variance: f32 = norm.running_var.value_sync().into_scalar();
        assert!((mean - 0.3).abs() < 1e-6, "{mean}");
        assert!((variance - (0.9 + 14.0 / 30.0)).abs() < 1e-6, "{variance}");
    }

    /// Six voxels and two volumes: the same statistics as of one image of twelve pixels.
    #[test]
    fn volumes_are_counted_with_all_their_axes() {
        let device = Device::flex().autodiff();
        let norm = BatchNormConfig::new(1).init(&device);
        let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let x = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([2, 1, 3, 2, 1]);
        let y: Tensor<5> = normalise_activate(&norm, x, 0.01);
        // Mean 5.5, variance 143 / 12, unbiased 143 / 11 = 13.
        let mean: f32 = norm.running_mean.value_sync().into_scalar();
        let variance: f32 = norm.running_var.value_sync().into_scalar();
        assert!((mean - 0.55).abs() < 1e-6, "{mean}");
        assert!((variance - (0.9 + 1.3)).abs() < 1e-6, "{variance}");
        let y: Vec<f32> = y.to_data().iter::<f32>().collect();
        let deviation = (143.0_f32 / 12.0).sqrt();
        assert!((y[0] + 0.01 * 5.5 / deviation).abs() < 1e-5, "{y:?}");
        assert!((y[11] - 5.5 / deviation).abs() < 1e-5, "{y:?}");
    }

    #[test]
    fn one_operator_equals_its_parts() {
        for slope in [0.0, 0.01] {
            one_operator_equals_its_parts_at(slope);
        }
    }

    /// Values, statistics and the gradient of the image.
    fn one_operator_equals_its_parts_at(slope: f64) {
        let device = Device::flex().autodiff();
        device.seed(4);
        let fill = |conv: &mut Conv| {
            let (weight, _) = conv.parameters();
            let noise = Tensor::random(weight.dims(), Distribution::Uniform(-1.0, 1.0), &device);
            conv.set_weight(noise);
        };
        let (mut first, mut second) = (Conv::new(3, 4, 3, &device), Conv::new(4, 5, 3, &device));
        fill(&mut first);
        fill(&mut second);
        let norms =
            || [BatchNormConfig::new(4).init(&device), BatchNormConfig::new(5).init(&device)];
        let (one, other) = (norms(), norms());
        let x = Tensor::<4>::random([2, 3, 7, 9], Distribution::Uniform(-1.0, 1.0), &device);
        let x = x.require_grad();
        let input = ConvInput::Plain(x.clone());
        let stages = [(&first, &one[0]), (&second, &one[1])];
        let fused = conv_norm_activation(input, stages, slope);
        let middle = activate(normalise(&other[0], first.forward(x.clone())), slope);
        let apart = activate(normalise(&other[1], second.forward(middle)), slope);
        let far = (fused.clone() - apart.clone()).abs().max().into_scalar::<f32>();
        assert!(far < 1e-4, "{far}");
        let cotangent = fused.random_like(Distribution::Uniform(-1.0, 1.0));
        let [by_one, by_parts] = [fused, apart].map(|y| {
            let gradients = (y * cotangent.clone()).sum().backward();
            x.grad(&gradients).unwrap()
        });
        let far = (by_one.clone() - by_parts).abs().max().into_scalar::<f32>();
        let scale = by_one.abs().max().into_scalar::<f32>();
        assert!(far < 1e-4 * scale, "{far} of {scale}");
        for (a, b) in one.iter().zip(&other) {
            let far = (a.running_var.value_sync() - b.running_var.value_sync()).abs().max();
            assert!(far.into_scalar::<f32>() < 1e-5);
        }
    }
}
