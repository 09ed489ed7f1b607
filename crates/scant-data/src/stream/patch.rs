//! Cutting pieces out of images.

use ndarray::{Array2, Array3, s};
use rand::Rng;

use super::PatchConfig;

/// Rows and columns at which a piece begins.
fn corner(
    config: &PatchConfig,
    rng: &mut impl Rng,
    shape: (usize, usize),
    label: Option<&Array2<u8>>,
) -> (usize, usize) {
    let [rows, columns] = config.size;
    let (down, right) = (shape.0.saturating_sub(rows), shape.1.saturating_sub(columns));
    // Drawn in any case, so that one case's label does not change what follows.
    let anywhere = (rng.random_range(0..=down), rng.random_range(0..=right));
    let on_structure = rng.random::<f64>() < config.foreground;
    let (class_at, pixel_at) = (rng.random::<f64>(), rng.random::<f64>());
    let Some(label) = label.filter(|_| on_structure) else {
        return anywhere;
    };
    let mut counts = [0_usize; 256];
    label.iter().for_each(|&id| counts[usize::from(id)] += 1);
    let present: Vec<usize> = (1..256).filter(|&id| counts[id] > 0).collect();
    if present.is_empty() {
        return anywhere;
    }
    let class = present[((class_at * present.len() as f64) as usize).min(present.len() - 1)];
    let nth = ((pixel_at * counts[class] as f64) as usize).min(counts[class] - 1);
    let centre = label
        .indexed_iter()
        .filter(|(_, id)| usize::from(**id) == class)
        .map(|(at, _)| at)
        .nth(nth);
    centre.map_or(anywhere, |(r, c)| {
        (r.saturating_sub(rows / 2).min(down), c.saturating_sub(columns / 2).min(right))
    })
}

/// Cuts the same piece out of an image and its label.
///
/// # Shapes
/// `[C, H, W]` and `[H, W]` -> `[C, rows, columns]` and `[rows, columns]`.
pub(super) fn cut(
    config: &PatchConfig,
    rng: &mut impl Rng,
    image: &Array3<f32>,
    label: Option<&Array2<u8>>,
) -> (Array3<f32>, Option<Array2<u8>>) {
    let (channels, h, w) = image.dim();
    let [rows, columns] = config.size;
    let (top, left) = corner(config, rng, (h, w), label);
    let (inside_rows, inside_columns) = (rows.min(h - top), columns.min(w - left));
    let (bottom, side) = (top + inside_rows, left + inside_columns);
    let mut piece = Array3::zeros((channels, rows, columns));
    piece.slice_mut(s![.., ..inside_rows, ..inside_columns]).assign(&image.slice(s![
        ..,
        top..bottom,
        left..side
    ]));
    let ids = label.map(|label| {
        let mut ids = Array2::zeros((rows, columns));
        ids.slice_mut(s![..inside_rows, ..inside_columns])
            .assign(&label.slice(s![top..bottom, left..side]));
        ids
    });
    (piece, ids)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn coded(h: usize, w: usize) -> Array3<f32> {
        Array3::from_shape_fn((1, h, w), |(_, r, c)| 1.0 + (r * 1000 + c) as f32)
    }

    #[test]
    fn classes_are_balanced_whatever_their_size() {
        // Class 1 covers a quarter, class 2 one pixel, far from each other.
        let label = Array2::from_shape_fn((64, 64), |(r, c)| {
            if (r, c) == (60, 60) { 2 } else { u8::from(r < 32 && c < 32) }
        });
        let config = PatchConfig { size: [9, 9], foreground: 1.0 };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut seen = [0; 3];
        for _ in 0..400 {
            let (_, ids) = cut(&config, &mut rng, &coded(64, 64), Some(&label));
            let ids = ids.unwrap();
            assert!(ids.iter().any(|&id| id > 0));
            seen[usize::from(*ids.iter().max().unwrap())] += 1;
        }
        assert!((150..250).contains(&seen[2]), "{seen:?}");
    }

    #[test]
    fn without_structures_pieces_lie_anywhere() {
        let config = PatchConfig { size: [4, 4], foreground: 1.0 };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let empty = Array2::zeros((16, 16));
        let firsts: std::collections::BTreeSet<u32> = (0..200)
            .map(|_| cut(&config, &mut rng, &coded(16, 16), Some(&empty)).0[[0, 0, 0]] as u32)
            .collect();
        assert!(firsts.len() > 80, "{} of 169 corners", firsts.len());
    }

    proptest! {
        #[test]
        fn image_and_label_are_cut_alike(
            h in 1_usize..30, w in 1_usize..30, rows in 1_usize..30, columns in 1_usize..30,
            foreground in 0.0_f64..=1.0, seed in any::<u64>(),
        ) {
            let image = coded(h, w);
            let label = image.index_axis(ndarray::Axis(0), 0).map(|v| (*v as u32 % 7) as u8);
            let config = PatchConfig { size: [rows, columns], foreground };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (piece, ids) = cut(&config, &mut rng, &image, Some(&label));
            prop_assert_eq!(piece.dim(), (1, rows, columns));
            for (v, id) in piece.iter().zip(&ids.unwrap()) {
                prop_assert_eq!((*v as u32 % 7) as u8, *id);
            }
            let inside = piece.iter().filter(|v| **v > 0.0).count();
            prop_assert_eq!(inside, rows.min(h) * columns.min(w));
        }
    }
}
