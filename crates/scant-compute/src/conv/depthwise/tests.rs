//! Against the literal sum in f64; other depthwise shapes through the same door.

use proptest::prelude::*;

use super::super::tests::check;
use super::*;
use crate::bf16::Precision;

fn same(batch: usize, channels: usize, height: usize, width: usize, kernel: usize) -> Geometry {
    let size = [1, kernel, kernel];
    Geometry {
        groups: channels,
        padding: [0, kernel / 2, kernel / 2],
        ..Geometry::plain(batch, channels, channels, [1, height, width], size)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn sizes_that_are_kept_agree_with_the_literal_sum(
        batch in 1..3_usize, channels in 1..5_usize, height in 1..40_usize, width in 1..70_usize,
        half in 1..4_usize, seed in 1..1000_u64,
    ) {
        let g = same(batch, channels, height, width, 2 * half + 1);
        prop_assert!(applies(&g));
        check(&g, seed);
        // Never rounded, whatever is asked for.
        check(&Geometry { precision: Precision::Bfloat16, ..g }, seed);
    }

    #[test]
    fn other_depthwise_shapes_agree_as_well(
        channels in 1..5_usize, height in 9..20_usize, width in 9..20_usize, kernel in 1..10_usize,
        stride in 1..3_usize, multiplier in 1..3_usize, seed in 1..1000_u64,
    ) {
        let g = same(2, channels, height, width, kernel);
        check(&Geometry { stride: [1, stride, stride], outputs: channels * multiplier, ..g }, seed);
    }
}

#[test]
fn several_bands_agree() {
    for kernel in [3, 5, 7] {
        check(&same(2, 2, 131, 257, kernel), 3);
    }
}
