//! Forward passes for the stopwatch.

use burn::tensor::{Device, Tensor, TensorData};
use scant_nn::{Model, ModelConfig, ModelError, Precision, weights, with_precision};

/// A network in evaluation mode that sees one and the same generated batch again and again, as a
/// prediction runs it: without gradients, without test-time augmentation. A prediction is in single
/// precision always; this pass may be measured in another.
#[derive(Debug)]
pub struct RepeatedForward {
    precision: Precision,
    model: Model,
    input: Input,
}

#[derive(Debug)]
enum Input {
    Images(Tensor<4>),
    Volumes(Tensor<5>),
}

impl RepeatedForward {
    /// `batch` images of the given rows and columns, or volumes of the given depth, rows and columns;
    /// `device` without autodiff.
    ///
    /// # Errors
    /// When the network cannot be built.
    ///
    /// # Panics
    /// When `size` has another number of axes than what the network takes.
    pub fn new(
        config: &ModelConfig,
        batch: usize,
        size: &[usize],
        precision: Precision,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let model = weights::set_training(config.init(device, 0)?, false);
        assert_eq!(size.len(), config.dimensions(), "axes of the input of {}", config.name());
        let shape = [&[batch, config.input_channels()], size].concat();
        // Multiples of the golden ratio are spread evenly over 0..1 and repeat nowhere.
        let golden = 0.618_033_988_749_894_9_f64;
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|i| ((i as f64 * golden).fract() * 2.0 - 1.0) as f32);
        let planar = shape.len() == 4;
        let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
        let input = if planar {
            Input::Images(Tensor::from_data(data, device))
        } else {
            Input::Volumes(Tensor::from_data(data, device))
        };
        Ok(Self { precision, model, input })
    }

    /// The logits of the batch, flat.
    ///
    /// # Shapes
    /// `[batch * logit channels * pixels]`
    #[must_use]
    pub fn forward(&self) -> Tensor<1> {
        with_precision(self.precision, || match &self.input {
            Input::Images(images) => self.model.forward(images.clone()).logits.flatten(0, 3),
            Input::Volumes(v) => self.model.forward_volume(v.clone()).logits.flatten(0, 4),
        })
    }

    /// Trainable parameters of the network.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.model.parameters()
    }
}

#[cfg(test)]
mod tests {
    use scant_nn::model::UNetConfig;

    use super::*;

    #[test]
    fn every_pass_is_that_of_a_network_in_evaluation_mode() {
        let config = ModelConfig::UNet(UNetConfig {
            width: 2,
            depth: 1,
            input_channels: 3,
            output_channels: 2,
        });
        let device = Device::flex();
        let repeated =
            RepeatedForward::new(&config, 2, &[6, 9], Precision::Single, &device).unwrap();
        let first = repeated.forward();
        assert_eq!(first.dims(), [2 * 2 * 6 * 9]);
        let values: Vec<f32> = first.into_data().try_to_vec().unwrap();
        assert!(values.iter().any(|&v| v != values[0]), "constant logits");
        // Batch statistics would move the running ones, and with them the next pass.
        assert_eq!(repeated.forward().into_data().try_to_vec::<f32>().unwrap(), values);
        let training = config.init(&device.clone().autodiff(), 0).unwrap();
        let Input::Images(images) = &repeated.input else { panic!("images") };
        let other = training.forward(Tensor::from_inner(images.clone())).logits;
        assert_ne!(other.into_data().try_to_vec::<f32>().unwrap(), values);
        assert_eq!(repeated.parameters(), training.parameters());
        let rounded = RepeatedForward::new(&config, 2, &[6, 9], Precision::Bfloat16, &device);
        let rounded: Vec<f32> = rounded.unwrap().forward().into_data().try_to_vec().unwrap();
        assert_ne!(rounded, values);
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 0.1 * b.abs().max(1.0);
        assert!(rounded.iter().zip(&values).all(near), "{rounded:?} for {values:?}");
    }
}
