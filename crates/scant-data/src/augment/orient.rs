//! Mirroring and quarter turns: exact, no interpolation.

use ndarray::{Array, Array2, Array3, Axis, Dimension, RemoveAxis};

use super::Params;

/// Mirrors, then turns.
pub(super) fn orient(params: &Params, image: &mut Array3<f32>, label: Option<&mut Array2<u8>>) {
    if !params.flip_horizontal && !params.flip_vertical && params.quarter_turns.is_multiple_of(4) {
        return;
    }
    oriented(params, image);
    if let Some(label) = label {
        oriented(params, label);
    }
}

/// Changes the last two axes, rows and columns.
fn oriented<T: Clone, D: Dimension + RemoveAxis>(params: &Params, array: &mut Array<T, D>) {
    let (rows, columns) = (Axis(array.ndim() - 2), Axis(array.ndim() - 1));
    let turns = params.quarter_turns % 4;
    let square = array.len_of(rows) == array.len_of(columns);
    assert!(square || turns.is_multiple_of(2), "an odd quarter turn needs a square image");
    let mut view = array.view();
    if params.flip_horizontal {
        view.invert_axis(columns);
    }
    if params.flip_vertical {
        view.invert_axis(rows);
    }
    // Anticlockwise: one turn is a transpose, then the rows reversed.
    match turns {
        1 => {
            view.swap_axes(rows.index(), columns.index());
            view.invert_axis(rows);
        }
        2 => {
            view.invert_axis(rows);
            view.invert_axis(columns);
        }
        3 => {
            view.swap_axes(rows.index(), columns.index());
            view.invert_axis(columns);
        }
        _ => {}
    }
    let turned = view.as_standard_layout().into_owned();
    *array = turned;
}

#[cfg(test)]
mod tests {
    use ndarray::{array, s};

    use super::*;

    fn turned(turns: u8, horizontal: bool, vertical: bool) -> Array2<u8> {
        let mut image = Array3::<f32>::zeros((1, 2, 2));
        let mut label = array![[1, 2], [3, 4]];
        let params = Params {
            quarter_turns: turns,
            flip_horizontal: horizontal,
            flip_vertical: vertical,
            ..Params::identity((2, 2))
        };
        image.slice_mut(s![0, .., ..]).assign(&label.mapv(f32::from));
        params.apply(&mut image, Some(&mut label));
        assert_eq!(image.slice(s![0, .., ..]), label.mapv(f32::from));
        label
    }

    #[test]
    fn turns_are_anticlockwise_like_numpy_rot90() {
        assert_eq!(turned(0, false, false), array![[1, 2], [3, 4]]);
        assert_eq!(turned(1, false, false), array![[2, 4], [1, 3]]);
        assert_eq!(turned(2, false, false), array![[4, 3], [2, 1]]);
        assert_eq!(turned(3, false, false), array![[3, 1], [4, 2]]);
    }

    #[test]
    fn horizontal_swaps_left_and_right() {
        assert_eq!(turned(0, true, false), array![[2, 1], [4, 3]]);
        assert_eq!(turned(0, false, true), array![[3, 4], [1, 2]]);
        assert_eq!(turned(0, true, true), turned(2, false, false));
    }
}
