//! Pooling and resampling.

use burn_ir::{InterpolateModeIr, InterpolateOpIr, ModuleOperationIr, TensorIr};

use super::{Step, Translator};
use crate::element::{Constant, signed};
use crate::graph::{Attribute, Operand, float, int, ints, text};

/// Windows over the last axes of a map.
struct Windows<'a> {
    kernel: &'a [usize],
    stride: &'a [usize],
    padding: &'a [usize],
    dilation: &'a [usize],
    /// Whether a window that does not fit gives a value as well.
    ceil: bool,
}

impl Windows<'_> {
    /// ONNX must come to the same number of windows.
    fn check(&self, x: &TensorIr, out: &TensorIr) -> Step {
        for (i, (&kernel, &stride)) in self.kernel.iter().zip(self.stride).enumerate() {
            let room = x.shape[2 + i] + 2 * self.padding[i];
            let room = room - (self.dilation[i] * (kernel - 1) + 1);
            let steps = if self.ceil { room.div_ceil(stride) } else { room / stride };
            let (got, want) = (steps + 1, out.shape[2 + i]);
            if got != want {
                return Err(format!("ONNX has {got} windows where burn has {want}"));
            }
        }
        Ok(())
    }

    fn attributes(&self) -> Vec<Attribute> {
        let twice = self.padding.iter().chain(self.padding).copied();
        let mut attributes = vec![
            ints("kernel_shape", self.kernel.iter().copied()),
            ints("strides", self.stride.iter().copied()),
            ints("pads", twice),
        ];
        if self.ceil {
            attributes.push(int("ceil_mode", 1));
        }
        attributes
    }
}

impl Translator<'_> {
    pub(super) fn sampling(&mut self, op: &ModuleOperationIr) -> Step {
        use ModuleOperationIr as Op;
        // Without indices as with them, one axis as two.
        macro_rules! max_pool {
            ($op:ident) => {{
                let windows = Windows {
                    kernel: $op.kernel_size.as_ref(),
                    stride: $op.stride.as_ref(),
                    padding: $op.padding.as_ref(),
                    dilation: $op.dilation.as_ref(),
                    ceil: $op.ceil_mode,
                };
                self.max_pool(&$op.x, &windows, &$op.out)
            }};
        }
        match op {
            Op::MaxPool2d(op) => max_pool!(op),
            // Places of the largest values stay without a value: whoever reads them is refused.
            Op::MaxPool2dWithIndices(op) => max_pool!(op),
            Op::MaxPool1d(op) => {
                let windows = Windows {
                    kernel: &[op.kernel_size],
                    stride: &[op.stride],
                    padding: &[op.padding],
                    dilation: &[op.dilation],
                    ceil: op.ceil_mode,
                };
                self.max_pool(&op.x, &windows, &op.out)
            }
            Op::AvgPool2d(op) => {
                let windows = Windows {
                    kernel: &op.kernel_size,
                    stride: &op.stride,
                    padding: &op.padding,
                    dilation: &[1, 1],
                    ceil: op.ceil_mode,
                };
                self.average_pool(&op.x, &windows, op.count_include_pad, &op.out)
            }
            Op::AvgPool1d(op) => {
                let windows = Windows {
                    kernel: &[op.kernel_size],
                    stride: &[op.stride],
                    padding: &[op.padding],
                    dilation: &[1],
                    ceil: op.ceil_mode,
                };
                self.average_pool(&op.x, &windows, op.count_include_pad, &op.out)
            }
            Op::AdaptiveAvgPool1d(op) => self.adaptive(&op.x, &[op.output_size], &op.out),
            Op::AdaptiveAvgPool2d(op) => self.adaptive(&op.x, &op.output_size, &op.out),
            Op::AdaptiveAvgPool3d(op) => self.adaptive(&op.x, &op.output_size, &op.out),
            Op::Interpolate(op) => self.interpolate(op),
            _ => Err("ONNX has no such pooling".into()),
        }
    }

    fn max_pool(&mut self, x: &TensorIr, windows: &Windows<'_>, out: &TensorIr) -> Step {
        windows.check(x, out)?;
        let mut attributes = windows.attributes();
        attributes.push(ints("dilations", windows.dilation.iter().copied()));
        let inputs = vec![self.read(x)?];
        self.write("MaxPool", inputs, attributes, out)
    }

    fn average_pool(
        &mut self,
        x: &TensorIr,
        windows: &Windows<'_>,
        count_padding: bool,
        out: &TensorIr,
    ) -> Step {
        windows.check(x, out)?;
        let mut attributes = windows.attributes();
        attributes.push(int("count_include_pad", usize::from(count_padding)));
        let inputs = vec![self.read(x)?];
        self.write("AveragePool", inputs, attributes, out)
    }

    /// Means over as many windows as are asked for: of equal size where they divide the map, else by
    /// products with matrices of shares along the last two axes.
    fn adaptive(&mut self, x: &TensorIr, size: &[usize], out: &TensorIr) -> Step {
        let map = self.read(x)?;
        let from = &x.shape[2..];
        if size.iter().all(|&s| s == 1) {
            return self.write("GlobalAveragePool", vec![map], Vec::new(), out);
        }
        if from.iter().zip(size).all(|(from, to)| from.is_multiple_of(*to)) {
            let kernel: Vec<usize> = from.iter().zip(size).map(|(from, to)| from / to).collect();
            let attributes =
                vec![ints("kernel_shape", kernel.iter().copied()), ints("strides", kernel)];
            return self.write("AveragePool", vec![map], attributes, out);
        }
        let shares = |from: usize, to: usize| {
            let mut matrix = vec![0.0; to * from];
            for row in 0..to {
                let (start, end) = (row * from / to, ((row + 1) * from).div_ceil(to));
                matrix[row * from + start..row * from + end].fill(1.0 / (end - start) as f32);
            }
            matrix
        };
        match (from, size) {
            (&[rows, columns], &[to_rows, to_columns]) => {
                let down = Constant::floats(&shares(rows, to_rows), &[to_rows, rows]);
                let across = shares(columns, to_columns);
                let turned: Vec<f32> = (0..columns)
                    .flat_map(|c| (0..to_columns).map(move |t| t * columns + c))
                    .map(|i| across[i])
                    .collect();
                let across = Constant::floats(&turned, &[columns, to_columns]);
                let map = self.node("MatMul", vec![Operand::Constant(down), map], Vec::new());
                self.write("MatMul", vec![map, Operand::Constant(across)], Vec::new(), out)
            }
            _ => Err(format!("{from:?} values do not divide into {size:?} windows")),
        }
    }

    fn interpolate(&mut self, op: &InterpolateOpIr) -> Step {
        let x = self.read(&op.x)?;
        let from = [op.x.shape[2], op.x.shape[3]];
        let to = op.output_size;
        if from == to {
            return self.set(&op.out, x);
        }
        let corners = op.options.align_corners;
        let positions = if corners { "align_corners" } else { "half_pixel" };
        let attributes = match op.options.mode {
            InterpolateModeIr::Nearest => {
                if !(0..2).all(|axis| exact(from[axis], to[axis])) {
                    return self.nearest_by_places(x, from, to, &op.out);
                }
                vec![
                    text("mode", "nearest"),
                    text("coordinate_transformation_mode", "asymmetric"),
                    text("nearest_mode", "floor"),
                ]
            }
            InterpolateModeIr::NearestExact | InterpolateModeIr::Lanczos3 => {
                return Err(format!("resampling in mode {:?}", op.options.mode));
            }
            InterpolateModeIr::Bilinear => {
                vec![text("mode", "linear"), text("coordinate_transformation_mode", positions)]
            }
            InterpolateModeIr::Bicubic => vec![
                text("mode", "cubic"),
                text("coordinate_transformation_mode", positions),
                float("cubic_coeff_a", -0.75),
            ],
        };
        // By factors where they are whole, which leaves batch and channels open; else by sizes.
        let inputs = if (0..2).all(|axis| to[axis].is_multiple_of(from[axis])) {
            let factors = [1, 1, to[0] / from[0], to[1] / from[1]].map(|f| f as f32);
            vec![x, Operand::Absent, Operand::Constant(Constant::floats(&factors, &[4]))]
        } else {
            let sizes = Operand::sizes(signed(&op.out.shape));
            vec![x, Operand::Absent, Operand::Absent, sizes]
        };
        self.write("Resize", inputs, attributes, &op.out)
    }

    /// Chosen rows, then chosen columns, at the places where burn's own backend finds them. Runtimes find
    /// places by divisions in single precision, which may miss a whole number by the last digit.
    fn nearest_by_places(
        &mut self,
        mut x: Operand,
        from: [usize; 2],
        to: [usize; 2],
        out: &TensorIr,
    ) -> Step {
        for axis in 0..2 {
            let (from, to) = (from[axis], to[axis]);
            if from != to {
                let ratio = from as f64 / to as f64;
                let place = |i: usize| ((i as f64 * ratio).floor() as i64).min(from as i64 - 1);
                let places: Vec<i64> = (0..to).map(place).collect();
                let places = Operand::Constant(Constant::ints(&places, &[to]));
                x = self.node("Gather", vec![x, places], vec![int("axis", 2 + axis)]);
            }
        }
        self.set(out, x)
    }
}

/// Whether dividing by the ratio of these sizes is exact in single precision.
fn exact(from: usize, to: usize) -> bool {
    let ratio = |large: usize, small: usize| {
        (large.is_multiple_of(small)).then(|| large / small).is_some_and(usize::is_power_of_two)
    };
    ratio(to, from) || ratio(from, to)
}
