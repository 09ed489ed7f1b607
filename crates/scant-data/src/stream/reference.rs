//! What images are harmonised to, from the base cases of a source of cases.

use scant_core::{Role, SampleId};

use super::{CaseSource, LoadError};
use crate::preprocess::PreprocessConfig;
use crate::preprocess::harmonise::{Fitter, Harmonise, HarmoniseMethod};

/// A fitted reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// What images are made to look like.
    pub harmonise: Harmonise,
    /// Base images that it was fitted on.
    pub images: usize,
    /// Base images with too little to go by, such as those almost without tissue.
    pub passed_over: Vec<SampleId>,
}

/// Fits a method on the base cases, on the grid of `preprocess`.
///
/// # Errors
/// When a case cannot be read or is not what the method works on, or none of them can be used.
pub fn fit_harmonise(
    method: HarmoniseMethod,
    source: &dyn CaseSource,
    preprocess: &PreprocessConfig,
) -> Result<Fitted, LoadError> {
    let plain = PreprocessConfig { harmonise: None, ..preprocess.clone() };
    let cases: Vec<usize> =
        (0..source.len()).filter(|&case| source.role(case) == Role::Base).collect();
    let mut fitter = Fitter::new(method, cases.len());
    let mut passed_over = Vec::new();
    for &case in &cases {
        let name = |cause| LoadError::new(source.id(case).to_string(), cause);
        let pixels = plain.grid(&source.load(case)?.image).map_err(name)?;
        if !fitter.add(&pixels).map_err(name)? {
            passed_over.push(source.id(case).clone());
        }
    }
    let images = cases.len() - passed_over.len();
    let harmonise = fitter.finish().ok_or_else(|| {
        LoadError::new(
            format!("harmonise by {}", method.name()),
            format!(
                "none of the {} base training images can be fitted on: it needs base images, with \
                 tissue for stains",
                cases.len()
            ),
        )
    })?;
    Ok(Fitted { harmonise, images, passed_over })
}
