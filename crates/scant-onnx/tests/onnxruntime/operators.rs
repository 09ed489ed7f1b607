//! Operators one by one, on small maps.

use burn::tensor::activation::{
    gelu, hard_sigmoid, leaky_relu, log_sigmoid, log_softmax, prelu, relu, sigmoid, softmax,
    softmin,
};
use burn::tensor::ops::{GridSampleOptions, InterpolateMode, InterpolateOptions, PadMode};
use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor, TensorData, module, s};

use crate::bench::{Bench, noise};

/// A constant that lies where `like` lies, so that it is recorded beside it.
pub(crate) fn constant<const D: usize, const R: usize>(
    shape: [usize; D],
    like: &Tensor<R>,
) -> Tensor<D> {
    Tensor::from_data(noise(&shape), &like.device())
}

fn places<const N: usize>(values: [i64; N], like: &Tensor<4>) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(values), &like.device())
}

const MAP: [usize; 4] = [1, 3, 5, 7];

/// Positive, away from zero.
fn positive(x: &Tensor<4>) -> Tensor<4> {
    x.clone().abs() + 0.5
}

fn one_map(x: &Tensor<4>) -> Tensor<4> {
    constant([1, 3, 5, 7], x)
}

fn arithmetic(bench: &mut Bench) {
    bench.case("add", MAP, |x: Tensor<4>| x.clone() + constant([1, 3, 1, 1], &x));
    bench.case("subtract-divide", MAP, |x: Tensor<4>| {
        (x.clone() - one_map(&x)) / (one_map(&x) * 3.0)
    });
    bench.case("scalars", MAP, |x: Tensor<4>| (((x + 1.5) * 2.0 - 0.25) / 3.0).neg());
    bench.case("remainder", MAP, |x: Tensor<4>| {
        let divisor = one_map(&x) * 2.0;
        (x.clone() * 7.0).remainder_scalar(1.5) + (x * 7.0).remainder(divisor)
    });
    bench.case("powers", MAP, |x: Tensor<4>| {
        let up = || positive(&x);
        let whole = x.clone().powi_scalar(3) + up().powi_scalar(-1) + up().powf_scalar(2.0);
        whole + up().powf_scalar(1.7) + up().powf_scalar(-0.5) + up().powf(one_map(&x))
    });
    bench.case("functions", MAP, |x: Tensor<4>| {
        let up = || positive(&x);
        let logarithms = up().log() + up().log1p() + up().sqrt() + up().recip();
        logarithms + x.clone().exp() + x.clone().erf() + x.clone().tanh()
    });
    bench.case("angles", MAP, |x: Tensor<4>| {
        let inside = || x.clone() * 0.9;
        let plain = x.clone().sin() + x.clone().cos() + x.clone().tan() + inside().atanh();
        let inverse = inside().asin() + inside().acos() + x.clone().atan();
        plain + inverse + x.clone().sinh() + x.clone().cosh() + x.clone().hypot(one_map(&x))
    });
    bench.case("rounding", MAP, |x: Tensor<4>| {
        let x = x * 9.0;
        let below = x.clone().floor() + x.clone().ceil() * 10.0;
        below + x.clone().round() * 100.0 + x.trunc() * 1000.0
    });
    bench.case("clamps", MAP, |x: Tensor<4>| {
        let both = x.clone().clamp(-0.25, 0.5) + x.clone().clamp_min(0.1);
        both + x.clone().clamp_max(-0.1) + x.sign()
    });
}

fn activations(bench: &mut Bench) {
    bench.case("relu", MAP, relu::<4>);
    bench.case("gelu", MAP, |x: Tensor<4>| gelu(x * 3.0));
    bench.case("sigmoids", MAP, |x: Tensor<4>| {
        let x = x * 4.0;
        sigmoid(x.clone()) + hard_sigmoid(x.clone(), 0.2, 0.5) + log_sigmoid(x)
    });
    bench.case("leaky-relu", MAP, |x: Tensor<4>| leaky_relu(x, 0.01));
    bench.case("prelu-each", MAP, |x: Tensor<4>| prelu(x.clone(), constant([3], &x)));
    bench.case("prelu-one", MAP, |x: Tensor<4>| prelu(x.clone(), constant([1], &x)));
    bench.case("softmax-channels", MAP, |x: Tensor<4>| softmax(x, 1));
    bench.case("softmax-others", MAP, |x: Tensor<4>| {
        softmax(x.clone(), 3) + log_softmax(x.clone(), 2) + softmin(x, 1)
    });
}

fn truth(bench: &mut Bench) {
    bench.case("comparisons", MAP, |x: Tensor<4>| {
        let y = || one_map(&x);
        let above =
            x.clone().greater(y()).float() + x.clone().greater_equal_elem(0.1).float() * 2.0;
        let below = x.clone().lower(y()).float() * 4.0 + x.clone().lower_elem(-0.2).float() * 8.0;
        let ends = x.clone().lower_equal(y()).float() + x.clone().lower_equal_elem(0.3).float();
        above
            + below
            + ends
            + x.clone().greater_elem(0.5).float()
            + x.clone().greater_equal(y()).float()
    });
    bench.case("equality", MAP, |x: Tensor<4>| {
        let whole = (x * 3.0).round();
        let one = whole.clone().equal_elem(1.0);
        let other = whole.clone().not_equal_elem(-1.0);
        let same = whole.clone().equal(whole.clone().abs());
        let differs = whole.clone().not_equal(whole.abs());
        one.int().float() + other.float() * 2.0 + same.float() * 4.0 + differs.float() * 8.0
    });
    bench.case("logic", MAP, |x: Tensor<4>| {
        let (a, b) = (x.clone().greater_elem(0.0), x.clone().lower_elem(0.5));
        let and = a.clone().bool_and(b.clone()).float();
        let or = a.clone().bool_or(b.clone()).float() * 2.0;
        and + or + a.clone().bool_xor(b).float() * 4.0 + a.bool_not().float() * 8.0
    });
    bench.case("any-all", MAP, |x: Tensor<4>| {
        let high = x.greater_elem(0.7);
        let low = high.clone().bool_not();
        high.any_dim(3).float() + low.all_dim(2).float().mean_dim(3)
    });
    bench.case("choices", MAP, |x: Tensor<4>| {
        let mask: Tensor<4, Bool> = x.clone().greater_elem(0.2);
        let filled = x.clone().mask_fill(mask.clone(), -5.0);
        filled + x.clone().mask_where(mask, x.abs() * 10.0)
    });
}

fn reductions(bench: &mut Bench) {
    bench.case("reduce-axis", MAP, |x: Tensor<4>| {
        let channels = x.clone().mean_dim(1) + x.clone().sum_dim(1) + x.clone().max_dim(1);
        channels + x.clone().min_dim(1) + x.clone().prod_dim(1) + x.max_abs_dim(1)
    });
    bench.case("reduce-axes", MAP, |x: Tensor<4>| {
        x.clone().sum_dims(&[2, 3]) + x.clone().mean_dims(&[2, 3]) + x.max_dims(&[2, 3])
    });
    bench.case("reduce-all", MAP, |x: Tensor<4>| {
        let constants = constant([2, 3], &x);
        let sums = constants.clone().sum() + constants.clone().mean() + constants.max();
        x * sums.reshape([1, 1, 1, 1])
    });
    bench.case("reduce-batch", MAP, |x: Tensor<4>| {
        x.clone().sum() + x.clone().mean() + x.clone().max() + x.clone().min() + x.max_abs()
    });
    bench.case("variance", MAP, |x: Tensor<4>| {
        let (variance, mean) = x.clone().var_mean_bias(3);
        variance + mean + x.var(3)
    });
    bench.case("places", MAP, |x: Tensor<4>| {
        let (largest, where_largest) = x.clone().max_dim_with_indices(3);
        let (_, where_smallest) = x.clone().min_dim_with_indices(3);
        largest
            + where_largest.float()
            + where_smallest.float() * 10.0
            + x.clone().argmax(3).float() * 100.0
            + x.argmin(3).float()
    });
    bench.case("running-sum", MAP, |x: Tensor<4>| x.cumsum(2));
}

fn shapes(bench: &mut Bench) {
    bench.case("reshape", MAP, |x: Tensor<4>| {
        let [b, c, h, w] = x.dims();
        x.reshape([b, c * h, w]).reshape([b * c, h * w]) * 2.0
    });
    bench.case("batch-behind", MAP, |x: Tensor<4>| {
        let [b, c, h, w] = x.dims();
        x.permute([1, 2, 0, 3]).reshape([c * h, b * w])
    });
    bench.case("swap", MAP, |x: Tensor<4>| x.swap_dims(1, 3).swap_dims(0, 2));
    bench.case("flip", MAP, |x: Tensor<4>| x.flip([1, 3]));
    bench.case("expand", MAP, |x: Tensor<4>| {
        let [b, c, h, w] = x.dims();
        let row: Tensor<4> = constant::<1, 4>([7], &x).expand([b, c, h, w]);
        x.clone().narrow(1, 0, 1).expand([b, c, h, w]) + row
    });
    bench.case("expand-the-batch", MAP, |x: Tensor<4>| {
        let [b, c, ..] = x.dims();
        let token: Tensor<3> = constant::<3, 4>([1, 2, 35], &x).expand([b, 2, 35]);
        Tensor::cat(vec![token, x.reshape([b, c, 35])], 1)
    });
    bench.case("fill-for-the-batch", MAP, |x: Tensor<4>| {
        let [b, c, h, w] = x.dims();
        let zeros = Tensor::<4>::zeros([b, c, 2, w], &x.device());
        let ones = Tensor::<4>::ones([b, c, 1, w], &x.device());
        let full = Tensor::<4>::full([2 * b, c, h, w], 0.25, &x.device()).narrow(0, 0, 1);
        Tensor::cat(vec![zeros, x.clone(), ones], 2) + full.mean_dim(2)
    });
    bench.case("slices", MAP, |x: Tensor<4>| {
        let [b, ..] = x.dims();
        let odd = x.clone().slice(s![.., .., 1..5;2, ..]);
        let reversed = x.clone().slice(s![0..b, .., 0..2, ..;-1]);
        odd + reversed + x.slice(s![.., .., 3..5;-1, 0..7])
    });
    bench.case("slice-the-batch", MAP, |x: Tensor<4>| {
        let [b, ..] = x.dims();
        let twice = Tensor::cat(vec![x.clone(), x * 2.0], 0);
        twice.clone().narrow(0, 0, b) + twice.narrow(0, b, b) * 10.0
    });
    bench.case("slice-assign", MAP, |x: Tensor<4>| {
        let part = x.clone().slice(s![.., 1..2, 1..4, 2..6]) * 10.0;
        let x = x.slice_assign(s![.., 1..2, 1..4, 2..6], part);
        x.clone().slice_fill(s![.., .., 0..2, ..], 3.0) + x
    });
    bench.case("roll", MAP, |x: Tensor<4>| x.roll(&[-2, 3], &[2, 3]));
    bench.case("tile", MAP, |x: Tensor<4>| x.repeat_dim(1, 2).repeat(&[2, 1, 1, 3]));
    bench.case("pad", MAP, |x: Tensor<4>| {
        let zeros = x.clone().pad((1, 2, 3, 0), 0.5);
        let edge = x.clone().pad((1, 2, 3, 0), PadMode::Edge);
        zeros + edge + x.pad((1, 2, 3, 0), PadMode::Reflect)
    });
    bench.case("windows", MAP, |x: Tensor<4>| -> Tensor<5> { x.unfold(2, 3, 2) });
    bench.case("triangle", [1, 4, 6], |x: Tensor<3>| x.clone().tril(0) - x.triu(1));
}

fn places_in(bench: &mut Bench) {
    bench.case("select", MAP, |x: Tensor<4>| {
        let columns = places([6, 0, 0, 3], &x);
        x.clone().select(3, columns).select(1, places([2, 1], &x))
    });
    bench.case("gather", MAP, |x: Tensor<4>| {
        let largest = x.clone().argmax(3);
        x.gather(3, largest)
    });
    bench.case("take", MAP, |x: Tensor<4>| -> Tensor<5> {
        let places = Tensor::<2, Int>::from_data([[0_i64, 4], [2, 2]], &x.device());
        x.take(2, places)
    });
    bench.case("scatter", MAP, |x: Tensor<4>| {
        let to = x.clone().argmax(3);
        let values = x.clone().max_dim(3) * 5.0;
        x.scatter(3, to, values, IndexingUpdateOp::Add)
    });
    bench.case("embedding", [1, 4], |x: Tensor<2>| {
        let words = (x.clone().abs() * 5.0).int();
        module::embedding(constant([5, 3], &x), words)
    });
    bench.case("integers", MAP, |x: Tensor<4>| {
        let n = (x * 20.0).int();
        let whole = n.clone().div_scalar(3) + n.clone().remainder_scalar(5) * 100;
        let rest = n.clone().mul_scalar(2).sub_scalar(1).abs().clamp(1, 9);
        (whole + rest.powi_scalar(2) + n.neg()).float()
    });
    bench.case("counted", MAP, |x: Tensor<4>| {
        let rows = Tensor::<1, Int>::arange(0..5, &x.device()).reshape([1, 1, 5, 1]);
        let columns = Tensor::<1, Int>::arange_step(0..14, 2, &x.device()).reshape([1, 1, 1, 7]);
        x + rows.float() * 10.0 + columns.float()
    });
}

fn resizes(bench: &mut Bench) {
    let to = |mode: InterpolateMode, size: [usize; 2], corners: bool| {
        InterpolateOptions::new(mode).with_output_size(size).with_align_corners(corners)
    };
    use InterpolateMode::{Bicubic, Bilinear, Nearest};
    // Twice the size, another multiple, no multiple, smaller, and one side alone.
    for size in [[10, 14], [15, 7], [8, 11], [3, 4], [5, 21], [1, 1]] {
        let name = |mode: &str| format!("{mode}-{}x{}", size[0], size[1]);
        let both = |x: Tensor<4>, mode: InterpolateMode| {
            let corners = module::interpolate(x.clone(), to(mode.clone(), size, true));
            corners + module::interpolate(x, to(mode, size, false)) * 10.0
        };
        bench.case(&name("bilinear"), MAP, |x: Tensor<4>| both(x, Bilinear));
        bench.case(&name("bicubic"), MAP, |x: Tensor<4>| both(x, Bicubic));
        bench.case(&name("nearest"), MAP, |x: Tensor<4>| {
            module::interpolate(x, to(Nearest, size, false))
        });
    }
    // Places that a division in single precision would miss.
    bench.case("nearest-places", [1, 2, 6, 41], |x: Tensor<4>| {
        module::interpolate(x, to(Nearest, [14, 47], false))
    });
    for corners in [false, true] {
        bench.case(&format!("grid-{corners}"), MAP, |x: Tensor<4>| {
            let [b, ..] = x.dims();
            let grid = constant::<4, 4>([1, 4, 6, 2], &x) * 1.2;
            let options = GridSampleOptions::new(Bilinear).with_align_corners(corners);
            x.grid_sample_2d(grid.expand([b, 4, 6, 2]), options)
        });
    }
}

#[test]
#[ignore = "needs ONNX Runtime: SCANT_PYTHON or SCANT_INSTALL=1"]
fn operators() {
    let mut bench = Bench::new();
    arithmetic(&mut bench);
    activations(&mut bench);
    truth(&mut bench);
    reductions(&mut bench);
    shapes(&mut bench);
    places_in(&mut bench);
    resizes(&mut bench);
    bench.compare();
}
