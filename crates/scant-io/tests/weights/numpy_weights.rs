//! NumPy archives.

use scant_io::weights::{ReadOptions, WeightFormat, WeightLimits, WeightProblem};

use super::{assert_same, expected, open, refused};

#[test]
fn arrays_of_every_layout_are_read() {
    for file in ["stored.npz", "deflated.npz", "lone.npy", "objects.npz"] {
        let found = open(file);
        assert_eq!(found.format, WeightFormat::Npz, "{file}");
        assert_same(file, &found.tensors, &expected("numpy.json", file));
    }
}

#[test]
fn arrays_that_are_no_numbers_are_left_out() {
    let skipped = ["text (<U2)", "structure ([('a', '<i4'), ('b', '<f4')])", "complex (<c16)"];
    assert_eq!(open("stored.npz").skipped, skipped);
    assert_eq!(open("objects.npz").skipped, ["o (|O)"]);
}

#[test]
fn limits_hold_for_all_arrays_together() {
    let limits = WeightLimits { max_values: 60, ..WeightLimits::default() };
    let options = ReadOptions { limits, ..ReadOptions::default() };
    for file in ["stored.npz", "deflated.npz"] {
        assert!(matches!(refused(file, &options), WeightProblem::TooLarge(_)), "{file}");
    }
    let limits = WeightLimits { max_tensors: 3, ..WeightLimits::default() };
    let options = ReadOptions { limits, ..ReadOptions::default() };
    assert!(refused("stored.npz", &options).to_string().contains("more than the limit of 3"));
}
