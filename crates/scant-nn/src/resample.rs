//! Fitting any input size to a network that halves it several times.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

/// Pads the image axes of `[B, C, ...]` at their end by repeating the edge, so that each divides by
/// its `multiple`. Returns what was added to each.
pub(crate) fn pad_to_multiple<const D: usize>(
    x: Tensor<D>,
    multiple: &[usize],
) -> (Tensor<D>, Vec<usize>) {
    let dims = x.dims();
    let axes = dims[2..].iter().zip(multiple);
    let padding: Vec<usize> = axes.map(|(&n, &m)| n.next_multiple_of(m) - n).collect();
    assert_eq!(padding.len() + 2, D, "a multiple per image axis, got {multiple:?} for {dims:?}");
    if padding.iter().all(|&p| p == 0) {
        return (x, padding);
    }
    let pairs: Vec<(usize, usize)> = padding.iter().map(|&p| (0, p)).collect();
    (x.pad(pairs.as_slice(), PadMode::Edge), padding)
}

/// Undoes [`pad_to_multiple`] on a map of the padded size.
pub(crate) fn crop<const D: usize>(x: Tensor<D>, padding: &[usize]) -> Tensor<D> {
    if padding.iter().all(|&p| p == 0) {
        return x;
    }
    let dims = x.dims();
    let kept = |axis: usize| dims[axis] - axis.checked_sub(2).map_or(0, |i| padding[i]);
    x.slice(std::array::from_fn::<_, D, _>(|axis| 0..kept(axis)))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_edge_is_repeated_and_cut_off_again() {
        let x = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &Device::flex());
        let x: Tensor<5> = x.reshape([1, 1, 1, 2, 3]);
        let (padded, padding) = pad_to_multiple(x.clone(), &[1, 4, 2]);
        assert_eq!((padded.dims(), padding.as_slice()), ([1, 1, 1, 4, 4], [0, 2, 1].as_slice()));
        let row = [4.0, 5.0, 6.0, 6.0];
        let values: Vec<f32> = padded.to_data().iter::<f32>().collect();
        assert_eq!(values, [[1.0, 2.0, 3.0, 3.0], row, row, row].concat());
        assert_eq!(crop(padded, &padding).to_data(), x.to_data());
    }
}
