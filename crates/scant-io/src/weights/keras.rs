//! Keras files.

/// A Keras layer that owns variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KerasLayer {
    /// Where the layer is in the file: `conv2d_1`, `robust_residual_block/conv2d` in `.h5`,
    /// `layers/conv2d_1` in Keras 3 files, whose numbers count the layers of a class in the order
    /// of the model and are not those of the names.
    pub path: String,
    /// The layer's own name, which Keras makes of class and number unless the author chose one:
    /// `conv2d_17`.
    pub name: String,
    /// Its class in the spelling of the names: `conv2d`, `batch_normalization`. Of a layer whose
    /// name the author chose it is known only where the file says so; else it is that name.
    pub class: String,
    /// The number in its name, which counts the layers of a class in the order of their creation:
    /// 17 for `conv2d_17`, 0 for `conv2d`. `None` for a name the author chose.
    pub number: Option<u32>,
    /// What each variable is to the layer (`kernel`, `gamma`, `moving_mean`; its position, `"0"`,
    /// where the file does not tell), and its position in [`WeightFile::tensors`](super::WeightFile::tensors).
    pub variables: Vec<(String, usize)>,
}
