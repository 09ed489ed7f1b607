//! Weights in the order and layout of Keras.
//!
//! Keras has no stable names for the weights of a network: it numbers layers as they are created.
//! What identifies a tensor is its position in `model.weights`. So a network whose reference is
//! written in Keras lists its tensors in that order, each with our name, its path in a fresh Keras
//! session and its layout. The order is that of Keras 3: layers as the functional model sorts them,
//! inside a layer of the author's own its parts as they were assigned, and all four tensors of a
//! batch norm together. Keras 2 has the same order for networks without such layers; with them it
//! puts the running statistics of a layer behind all its parameters.

use std::collections::BTreeMap;

use burn::module::Module;

use super::named::{Named, PathVisitor};
use super::{HostTensor, WeightError, Weights, export};
use crate::Model;
use crate::model::Shapes;

/// How Keras lays out the axes of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KerasLayout {
    /// `[n]`: biases, scales, running statistics.
    Vector,
    /// Kernel of a dense layer, `[input, output]`; here `[output, input]`.
    Dense,
    /// Kernel of a convolution, `[rows, columns, input, output]`; here `[output, input, rows,
    /// columns]`. The same moves the axes of a transposed convolution: `[rows, columns, output,
    /// input]`, here `[input, output, rows, columns]`.
    Convolution,
    /// Kernel of a depthwise convolution with one filter per channel, `[rows, columns, channels,
    /// 1]`; here `[channels, 1, rows, columns]`.
    Depthwise,
}

impl KerasLayout {
    /// For each of our axes, the axis of Keras.
    fn axes(self) -> &'static [usize] {
        match self {
            Self::Vector => &[0],
            Self::Dense => &[1, 0],
            Self::Convolution => &[3, 2, 0, 1],
            Self::Depthwise => &[2, 3, 0, 1],
        }
    }

    /// Our sizes from those of Keras; `None` where the number of axes is another.
    fn shape_from(self, keras: &[usize]) -> Option<Vec<usize>> {
        let axes = self.axes();
        (axes.len() == keras.len()).then(|| axes.iter().map(|&axis| keras[axis]).collect())
    }

    /// The sizes of Keras from ours.
    fn shape_to(self, ours: &[usize]) -> Vec<usize> {
        let mut keras = vec![0; ours.len()];
        for (&axis, &size) in self.axes().iter().zip(ours) {
            keras[axis] = size;
        }
        keras
    }

    /// The tensor with its axes as here. It has as many as the layout.
    fn tensor_from(self, keras: &HostTensor) -> HostTensor {
        permute(keras, self.axes())
    }

    /// The tensor with its axes as in Keras.
    fn tensor_to(self, ours: &HostTensor) -> HostTensor {
        let mut back = vec![0; self.axes().len()];
        for (here, &axis) in self.axes().iter().enumerate() {
            back[axis] = here;
        }
        permute(ours, &back)
    }
}

/// Axis `i` of the result is axis `axes[i]` of the tensor.
fn permute(tensor: &HostTensor, axes: &[usize]) -> HostTensor {
    let mut strides = vec![1; tensor.shape.len()];
    for axis in (1..strides.len()).rev() {
        strides[axis - 1] = strides[axis] * tensor.shape[axis];
    }
    let shape: Vec<usize> = axes.iter().map(|&axis| tensor.shape[axis]).collect();
    let strides: Vec<usize> = axes.iter().map(|&axis| strides[axis]).collect();
    let mut offsets = vec![0];
    for (&size, &stride) in shape.iter().zip(&strides) {
        offsets = offsets.iter().flat_map(|o| (0..size).map(move |i| o + i * stride)).collect();
    }
    HostTensor { shape, data: offsets.into_iter().map(|offset| tensor.data[offset]).collect() }
}

/// One entry of `model.weights`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KerasTensor {
    /// Name here.
    pub name: String,
    /// Layer and variable in Keras where the network is the first of its session, without the
    /// layers around it: `conv2d_3/kernel`. The numbers count the layers of a class in the order of
    /// their creation.
    pub path: String,
    /// Its axes.
    pub layout: KerasLayout,
}

/// Writes the list of a network's tensors, layer by layer.
#[derive(Debug, Default)]
pub(crate) struct KerasOrder(Vec<KerasTensor>);

impl KerasOrder {
    /// The list.
    pub(crate) fn finish(self) -> Vec<KerasTensor> {
        self.0
    }

    /// The `number`th `Conv2D`.
    pub(crate) fn conv(&mut self, number: usize, name: &str) {
        self.conv_called(&numbered("conv2d", number), name);
    }

    /// A `Conv2D` that the author named.
    pub(crate) fn conv_called(&mut self, layer: &str, name: &str) {
        self.push(layer, "kernel", format!("{name}.weight"), KerasLayout::Convolution);
        self.push(layer, "bias", format!("{name}.bias"), KerasLayout::Vector);
    }

    /// The `number`th `Conv2DTranspose`.
    pub(crate) fn transposed(&mut self, number: usize, name: &str) {
        self.conv_called(&numbered("conv2d_transpose", number), name);
    }

    /// The `number`th `SeparableConv2D`: two convolutions here, the first without bias.
    pub(crate) fn separable(&mut self, number: usize, depthwise: &str, pointwise: &str) {
        let layer = numbered("separable_conv2d", number);
        let kernels = [
            ("depthwise_kernel", depthwise, KerasLayout::Depthwise),
            ("pointwise_kernel", pointwise, KerasLayout::Convolution),
        ];
        for (variable, name, layout) in kernels {
            self.push(&layer, variable, format!("{name}.weight"), layout);
        }
        self.push(&layer, "bias", format!("{pointwise}.bias"), KerasLayout::Vector);
    }

    /// The `number`th `BatchNormalization`.
    pub(crate) fn norm(&mut self, number: usize, name: &str) {
        let layer = numbered("batch_normalization", number);
        for (variable, field) in [
            ("gamma", "weight"),
            ("beta", "bias"),
            ("moving_mean", "running_mean"),
            ("moving_variance", "running_var"),
        ] {
            self.push(&layer, variable, format!("{name}.{field}"), KerasLayout::Vector);
        }
    }

    fn push(&mut self, layer: &str, variable: &str, name: String, layout: KerasLayout) {
        self.0.push(KerasTensor { name, path: format!("{layer}/{variable}"), layout });
    }
}

/// The name that Keras gives to a layer of its own accord.
fn numbered(class: &str, number: usize) -> String {
    if number == 0 { class.to_owned() } else { format!("{class}_{number}") }
}

/// Sizes by name from sizes in Keras' order; `None` where they are not such a list.
pub(crate) fn named_shapes(order: &[KerasTensor], keras: &[Vec<usize>]) -> Option<Shapes> {
    if order.len() != keras.len() {
        return None;
    }
    let named = order.iter().zip(keras);
    named.map(|(t, shape)| Some((t.name.clone(), t.layout.shape_from(shape)?))).collect()
}

/// The weights that a list in Keras' order is, by name.
///
/// # Shapes
/// Those of [`KerasLayout`], in the order of [`Model::keras_order`].
///
/// # Errors
/// When the network has no reference in Keras, or the list is not one of its tensors.
pub fn from_keras(model: &Model, tensors: &[HostTensor]) -> Result<Weights, WeightError> {
    let order = model.keras_order().ok_or(WeightError::NotKeras)?;
    if order.len() != tensors.len() {
        return Err(WeightError::Count { expected: order.len(), got: tensors.len() });
    }
    let shapes = shapes(model);
    let mut weights = Weights::new();
    for (entry, tensor) in order.into_iter().zip(tensors) {
        let expected = entry.layout.shape_to(&shapes[&entry.name]);
        if tensor.shape != expected {
            let got = tensor.shape.clone();
            return Err(WeightError::Shape { name: entry.path, expected, got });
        }
        weights.insert(entry.name, entry.layout.tensor_from(tensor));
    }
    Ok(weights)
}

/// Copies every parameter and running statistic to the host, in the order and layout of Keras:
/// what `model.set_weights` takes there.
///
/// # Errors
/// When the network has no reference in Keras.
pub fn to_keras(model: &Model) -> Result<Vec<HostTensor>, WeightError> {
    let order = model.keras_order().ok_or(WeightError::NotKeras)?;
    let weights = export(model);
    Ok(order.iter().map(|entry| entry.layout.tensor_to(&weights[&entry.name])).collect())
}

/// Sizes of all parameters and running statistics, by name.
fn shapes(model: &Model) -> Shapes {
    let mut shapes = BTreeMap::new();
    let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
        if let Some(name) = model.official_name(path) {
            shapes.insert(name, tensor.shape());
        }
    });
    model.visit(&mut visitor);
    shapes
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::ModelConfig;
    use crate::model::UNetConfig;

    fn tensor(shape: &[usize]) -> HostTensor {
        let count = shape.iter().product::<usize>();
        HostTensor { shape: shape.to_vec(), data: (0..count).map(|i| i as f32).collect() }
    }

    #[test]
    fn kernels_are_turned_axis_by_axis() {
        // Value at [row, column, input, output] is 8 row + 4 column + 2 input + output.
        let ours = KerasLayout::Convolution.tensor_from(&tensor(&[1, 2, 2, 2]));
        assert_eq!(ours.shape, [2, 2, 1, 2]);
        assert_eq!(ours.data, [0.0, 4.0, 2.0, 6.0, 1.0, 5.0, 3.0, 7.0]);
        // Value at [row, column, channel, 0] is 2 row + channel.
        let ours = KerasLayout::Depthwise.tensor_from(&tensor(&[3, 1, 2, 1]));
        assert_eq!((ours.shape.as_slice(), ours.data[1]), ([2, 1, 3, 1].as_slice(), 2.0));
        assert_eq!(ours.data[3..], [1.0, 3.0, 5.0]);
        let ours = KerasLayout::Dense.tensor_from(&tensor(&[2, 3]));
        assert_eq!(ours.data, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn layouts_lead_back() {
        for (layout, shape) in [
            (KerasLayout::Vector, &[5][..]),
            (KerasLayout::Dense, &[2, 3]),
            (KerasLayout::Convolution, &[3, 2, 4, 5]),
            (KerasLayout::Depthwise, &[3, 2, 4, 1]),
        ] {
            let keras = tensor(shape);
            let ours = layout.tensor_from(&keras);
            assert_eq!(layout.shape_from(shape), Some(ours.shape.clone()), "{layout:?}");
            assert_eq!(layout.shape_to(&ours.shape), shape, "{layout:?}");
            assert_eq!(layout.tensor_to(&ours), keras, "{layout:?}");
            assert_eq!(layout.shape_from(&[1, 2, 3]), None, "{layout:?}");
        }
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let device = Device::flex();
        let unet = UNetConfig { width: 2, depth: 1, ..Default::default() };
        let unet = ModelConfig::UNet(unet).init(&device, 0).unwrap();
        assert_eq!(from_keras(&unet, &[]), Err(WeightError::NotKeras));
        assert_eq!(to_keras(&unet), Err(WeightError::NotKeras));

        let text = r#"{"name": "attention-unet-roy", "width": 2, "depth": 1}"#;
        let config: ModelConfig = serde_json::from_str(text).unwrap();
        let model = config.init(&device, 3).unwrap();
        let mut list = to_keras(&model).unwrap();
        assert_eq!(from_keras(&model, &list).unwrap(), export(&model));
        let shapes: Vec<Vec<usize>> = list.iter().map(|t| t.shape.clone()).collect();
        assert_eq!(ModelConfig::deduce_keras(config.name(), &shapes).unwrap(), config);
        list[0].shape.reverse();
        let WeightError::Shape { name, expected, got } = from_keras(&model, &list).unwrap_err()
        else {
            panic!("another error");
        };
        assert_eq!(
            (name.as_str(), expected, got),
            ("conv2d/kernel", vec![3, 3, 3, 2], vec![2, 3, 3, 3])
        );
        list.pop();
        let count = WeightError::Count { expected: shapes.len(), got: shapes.len() - 1 };
        assert_eq!(from_keras(&model, &list), Err(count));
        let foreign = ModelConfig::deduce_keras(config.name(), &shapes[1..]);
        assert!(foreign.is_err(), "{foreign:?}");
    }
}
