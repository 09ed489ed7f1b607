//! sRGB and CIE L\*a\*b\* (D65, 2 degrees), as in scikit-image.

const WHITE: [f64; 3] = [0.95047, 1.0, 1.08883];
/// From linear red, green, blue to X, Y, Z: IEC 61966-2-1.
const TO_XYZ: [[f64; 3]; 3] = [
    [0.412453, 0.357580, 0.180423],
    [0.212671, 0.715160, 0.072169],
    [0.019334, 0.119193, 0.950227],
];
/// Its inverse.
const TO_RGB: [[f64; 3]; 3] = [
    [3.240_481_34, -1.537_151_52, -0.498_536_33],
    [-0.969_254_95, 1.875_990_00, 0.041_555_93],
    [0.055_646_64, -0.204_041_34, 1.057_311_07],
];

fn times(matrix: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

/// Intensities from 0 to 1 to L (0 to 100), a and b.
pub(super) fn from_rgb(rgb: [f64; 3]) -> [f64; 3] {
    let linear = rgb.map(|v| if v > 0.04045 { ((v + 0.055) / 1.055).powf(2.4) } else { v / 12.92 });
    let xyz = times(&TO_XYZ, linear);
    let f = [0, 1, 2].map(|i| {
        let t: f64 = xyz[i] / WHITE[i];
        if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 }
    });
    [116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])]
}

/// And back; colours that do not exist are cut to 0 to 1.
pub(super) fn to_rgb([l, a, b]: [f64; 3]) -> [f64; 3] {
    let y = (l + 16.0) / 116.0;
    let f = [y + a / 500.0, y, (y - b / 200.0).max(0.0)];
    let xyz = [0, 1, 2].map(|i| {
        let t = if f[i] > 0.206_896_6 { f[i].powi(3) } else { (f[i] - 16.0 / 116.0) / 7.787 };
        t * WHITE[i]
    });
    times(&TO_RGB, xyz).map(|v| {
        let v = if v > 0.003_130_8 { 1.055 * v.powf(1.0 / 2.4) - 0.055 } else { 12.92 * v };
        v.clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scikit_image_and_goes_back() {
        // skimage.color.rgb2lab
        for (rgb, lab) in [
            ([0.7, 0.3, 0.6], [48.340690, 50.717530, -22.051160]),
            ([0.02, 0.01, 0.03], [0.948743, 1.375903, -1.694923]),
            ([1.0, 1.0, 1.0], [100.0, -0.002_454_94, 0.004_653_42]),
        ] {
            let found = from_rgb(rgb);
            for (x, y) in found.iter().zip(lab) {
                assert!((x - y).abs() < 1e-5, "{found:?}");
            }
            for (x, y) in to_rgb(found).iter().zip(rgb) {
                assert!((x - y).abs() < 1e-5, "{rgb:?}");
            }
        }
    }
}
