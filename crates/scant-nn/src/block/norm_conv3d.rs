//! Convolutions of volumes with a normalisation and ReLU behind them.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Conv3d, ConvShape, ConvTranspose3d, ConvTransposeShape, Norm, NormKind};

/// conv → norm → ReLU.
#[derive(Module, Debug)]
pub struct NormConv3d {
    conv: Conv3d,
    norm: Norm,
}

impl NormConv3d {
    /// Three voxels a side, keeping the size.
    ///
    /// # Panics
    /// When the norm has groups and they do not divide `output`.
    #[must_use]
    pub fn same(input: usize, output: usize, norm: NormKind, device: &Device) -> Self {
        Self::new(ConvShape::new(input, output, [3; 3]).padded(), norm, device)
    }

    /// Kernel and stride two: every axis half as long.
    ///
    /// # Panics
    /// As [`same`](Self::same).
    #[must_use]
    pub fn halving(input: usize, output: usize, norm: NormKind, device: &Device) -> Self {
        Self::new(ConvShape::new(input, output, [2; 3]).strided([2; 3]), norm, device)
    }

    fn new(shape: ConvShape<3>, norm: NormKind, device: &Device) -> Self {
        Self { conv: Conv3d::new(shape, device), norm: Norm::new(norm, shape.output, device) }
    }

    /// # Shapes
    /// - x: `[B, input, D, H, W]`
    /// - output: `[B, output, D, H, W]`, or half of each axis
    #[must_use]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.norm.forward(self.conv.forward(x), 0.0)
    }
}

/// Transposed conv of kernel and stride two → norm → ReLU: every axis twice as long.
#[derive(Module, Debug)]
pub struct NormConvTranspose3d {
    conv: ConvTranspose3d,
    norm: Norm,
}

impl NormConvTranspose3d {
    /// From `input` to `output` channels.
    ///
    /// # Panics
    /// When the norm has groups and they do not divide `output`.
    #[must_use]
    pub fn doubling(input: usize, output: usize, norm: NormKind, device: &Device) -> Self {
        Self {
            conv: ConvTranspose3d::new(ConvTransposeShape::doubling(input, output), device),
            norm: Norm::new(norm, output, device),
        }
    }

    /// # Shapes
    /// - x: `[B, input, D, H, W]`
    /// - output: `[B, output, 2 D, 2 H, 2 W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.norm.forward(self.conv.forward(x), 0.0)
    }
}

/// Official place of a tensor in a sequence of conv, norm and activation: of `conv` at `first`, of
/// `norm` behind it. `path` is that below [`NormConv3d`] or [`NormConvTranspose3d`].
pub(crate) fn official(path: &[&str], first: usize) -> Option<String> {
    match *path {
        ["conv", field] => Some(format!("{first}.{field}")),
        ["norm", kind, field] => Some(format!("{}.{}", first + 1, Norm::official(kind, field)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_kept_halved_and_doubled() {
        let device = Device::flex();
        let x = || Tensor::<5>::ones([2, 3, 4, 2, 6], &device);
        let norm = NormKind::Batch;
        let same = NormConv3d::same(3, 5, norm, &device).forward(x());
        assert_eq!(same.dims(), [2, 5, 4, 2, 6]);
        let half = NormConv3d::halving(3, 5, norm, &device).forward(x());
        assert_eq!(half.dims(), [2, 5, 2, 1, 3]);
        let double = NormConvTranspose3d::doubling(3, 5, norm, &device).forward(x());
        assert_eq!(double.dims(), [2, 5, 8, 4, 12]);
    }

    #[test]
    fn names_are_places_in_a_sequence() {
        assert_eq!(official(&["conv", "bias"], 3).unwrap(), "3.bias");
        assert_eq!(official(&["norm", "batch", "gamma"], 3).unwrap(), "4.weight");
        assert_eq!(official(&["norm", "batch", "running_var"], 0).unwrap(), "1.running_var");
        assert_eq!(official(&["norm", "instance"], 0), None);
    }
}
