//! Viridis, the perceptually uniform colour map of heatmaps.
//!
//! By Nathaniel Smith and Stéfan van der Walt for matplotlib (2015, CC0). Lightness rises evenly
//! from dark violet (lowest) to yellow (highest), also in grey and under colour vision deficiency.
//! Kept as every eighth of its 256 colours; between them interpolation is within 2/255.

const ANCHORS: [[u8; 3]; 33] = [
    [68, 1, 84],
    [71, 13, 96],
    [72, 24, 106],
    [72, 35, 116],
    [71, 45, 123],
    [69, 55, 129],
    [66, 64, 134],
    [62, 73, 137],
    [59, 82, 139],
    [55, 91, 141],
    [51, 99, 141],
    [47, 107, 142],
    [44, 114, 142],
    [41, 122, 142],
    [38, 130, 142],
    [35, 137, 142],
    [33, 145, 140],
    [31, 151, 139],
    [31, 159, 136],
    [33, 166, 133],
    [39, 173, 129],
    [49, 181, 123],
    [61, 188, 116],
    [76, 194, 108],
    [92, 200, 99],
    [110, 206, 88],
    [129, 211, 77],
    [149, 216, 64],
    [170, 220, 50],
    [192, 223, 37],
    [213, 226, 26],
    [234, 229, 26],
    [253, 231, 37],
];

/// The 256 colours as RGB triples.
pub(crate) fn palette() -> Vec<u8> {
    (0..=255u32)
        .flat_map(|i| {
            let position = i * 32;
            let (below, rest) = ((position / 255) as usize, position % 255);
            let above = (below + 1).min(32);
            (0..3).map(move |c| {
                let (a, b) = (u32::from(ANCHORS[below][c]), u32::from(ANCHORS[above][c]));
                u8::try_from((a * (255 - rest) + b * rest + 127) / 255).unwrap_or(u8::MAX)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lightness_rises_all_the_way() {
        let p = palette();
        assert_eq!(p.len(), 768);
        assert_eq!((&p[..3], &p[765..]), (&[68, 1, 84][..], &[253, 231, 37][..]));
        let luma = |c: &[u8]| {
            0.2126 * f64::from(c[0]) + 0.7152 * f64::from(c[1]) + 0.0722 * f64::from(c[2])
        };
        let values: Vec<f64> = p.chunks(3).map(luma).collect();
        assert!(values.windows(8).all(|w| w[7] > w[0]));
        // matplotlib's own colours at 100 and 200.
        for (i, want) in [(100, [42, 118, 142]), (200, [112, 207, 87])] {
            for c in 0..3 {
                assert!((i32::from(p[i * 3 + c]) - want[c]).abs() <= 2, "{i} {:?}", &p[i * 3..]);
            }
        }
    }
}
