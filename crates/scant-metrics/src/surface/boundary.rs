//! The boundary of a mask.

use ndarray::{Array3, Axis};

/// Pixels of `mask` that have a neighbour outside the mask along one of the last `axes` axes.
///
/// That is the mask XOR its erosion with the cross-shaped element of connectivity 1 and a border
/// of background (`scipy.ndimage.binary_erosion`). The leading `3 - axes` axes have length one and
/// are not eroded: along them every pixel would be boundary.
pub(super) fn of(mask: &Array3<bool>, axes: usize) -> Array3<bool> {
    let mut boundary = Array3::from_elem(mask.dim(), false);
    for axis in (3 - axes)..3 {
        for (out, lane) in boundary.lanes_mut(Axis(axis)).into_iter().zip(mask.lanes(Axis(axis))) {
            let last = lane.len() - 1;
            for (i, edge) in out.into_iter().enumerate() {
                let inner = i > 0 && i < last && lane[i - 1] && lane[i + 1];
                *edge |= lane[i] && !inner;
            }
        }
    }
    boundary
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::of;

    #[test]
    fn a_filled_square_keeps_its_rim() {
        let mask = Array3::from_elem((1, 4, 5), true);
        let rim = of(&mask, 2);
        assert_eq!(rim.iter().filter(|&&b| b).count(), 14);
        assert!(!rim[[0, 1, 1]] && !rim[[0, 2, 3]] && rim[[0, 0, 2]] && rim[[0, 3, 4]]);
        // As a volume of one slice everything is boundary.
        assert!(of(&mask, 3).iter().all(|&b| b));
    }

    #[test]
    fn diagonal_neighbours_do_not_open_a_boundary() {
        let mut mask = Array3::from_elem((1, 5, 5), true);
        mask[[0, 0, 0]] = false;
        // (1, 1) touches the hole by its corner only.
        assert!(!of(&mask, 2)[[0, 1, 1]]);
        mask[[0, 0, 1]] = false;
        assert!(of(&mask, 2)[[0, 1, 1]]);
    }

    #[test]
    fn a_line_has_two_ends() {
        let mut mask = Array3::from_elem((1, 1, 7), true);
        mask[[0, 0, 0]] = false;
        let ends: Vec<bool> = of(&mask, 1).iter().copied().collect();
        assert_eq!(ends, [false, true, false, false, false, false, true]);
    }
}
