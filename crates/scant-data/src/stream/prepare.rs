//! One case from its files to what a batch stacks.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ndarray::{Array2, Array3};
use scant_core::{Annotated, Role, SampleId};

use super::order::{self, Draw, variation};
use super::{CaseSource, LoadError, StreamConfig, noise, patch};
use crate::preprocess::{Layout, PreprocessError};

/// A case on its way into a batch.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) id: SampleId,
    pub(super) source: usize,
    pub(super) role: Role,
    /// `[C, H, W]`
    pub(super) image: Array3<f32>,
    /// `[H, W]`
    pub(super) label: Option<Array2<u8>>,
    pub(super) annotated: Annotated,
    /// Where the image will lie in the network's grid, while its intensities are not scaled yet: noise
    /// differs from epoch to epoch and comes before that.
    unfinished: Option<Layout>,
}

impl Prepared {
    fn bytes(&self) -> usize {
        self.image.len() * size_of::<f32>() + self.label.as_ref().map_or(0, Array2::len)
    }
}

/// Loads, preprocesses, remembers and varies cases; shared by all workers and epochs.
pub(super) struct Preparer {
    pub(super) source: Arc<dyn CaseSource>,
    pub(super) config: StreamConfig,
    kept: Vec<OnceLock<Arc<Prepared>>>,
    kept_bytes: AtomicUsize,
}

impl Preparer {
    pub(super) fn new(source: Arc<dyn CaseSource>, config: StreamConfig) -> Self {
        let kept = (0..source.len()).map(|_| OnceLock::new()).collect();
        Self { source, config, kept, kept_bytes: AtomicUsize::new(0) }
    }

    /// The case as it enters the batch. A panic becomes an error that names the case.
    pub(super) fn prepare(&self, epoch: u64, draw: Draw) -> Result<Prepared, LoadError> {
        catch_unwind(AssertUnwindSafe(|| self.vary(epoch, draw))).unwrap_or_else(|panic| {
            Err(LoadError::new(
                self.name(draw.case),
                format!("the program failed while preparing this case: {}", said(&*panic)),
            ))
        })
    }

    fn name(&self, case: usize) -> String {
        self.source.id(case).to_string()
    }

    fn vary(&self, epoch: u64, draw: Draw) -> Result<Prepared, LoadError> {
        let mut rng = variation(self.config.seed, epoch, draw);
        let mut case = self.preprocessed(draw.case)?;
        if let Some(layout) = case.unfinished.take() {
            let mut rng = order::noise(self.config.seed, epoch, draw);
            noise::add(&mut case.image, self.config.noise_sigma, &mut rng);
            case.image = self.config.preprocess.finish(case.image, layout);
        }
        if let Some(patches) = &self.config.patches {
            (case.image, case.label) =
                patch::cut(patches, &mut rng, &case.image, case.label.as_ref());
        }
        if !self.config.augment.is_empty() {
            let (_, rows, columns) = case.image.dim();
            let params = self.config.augment.draw(&mut rng, (rows, columns));
            params.apply(&mut case.image, case.label.as_mut());
        }
        Ok(case)
    }

    /// The case on the network's grid, from memory when it is there.
    fn preprocessed(&self, case: usize) -> Result<Prepared, LoadError> {
        if let Some(kept) = self.kept[case].get() {
            return Ok(Prepared::clone(kept));
        }
        let fresh = self.load(case)?;
        if self.config.cache {
            let bytes = fresh.bytes();
            // Nothing is evicted: epochs visit every case once, so the oldest is as good as any.
            let fits = self.kept_bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
                sum.checked_add(bytes).filter(|&sum| sum <= self.config.cache_bytes)
            });
            if fits.is_ok() && self.kept[case].set(Arc::new(fresh.clone())).is_err() {
                // Another worker was faster with a repeated case.
                self.kept_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        Ok(fresh)
    }

    fn load(&self, case: usize) -> Result<Prepared, LoadError> {
        let sample = self.source.load(case)?;
        let preprocess = &self.config.preprocess;
        let (mut image, layout) = preprocess
            .resized(&sample.image)
            .map_err(|cause| LoadError::new(self.name(case), cause))?;
        let noisy = self.config.noise_sigma > 0.0;
        if !noisy {
            image = preprocess.finish(image, layout);
        } else if let Some(v) = image.iter().find(|v| !(0.0..=1.0).contains(*v)) {
            let cause = PreprocessError::OutsideUnit { what: "noise_sigma", value: v.to_string() };
            return Err(LoadError::new(self.name(case), cause));
        }
        let label = match &sample.label {
            None => None,
            Some(label) => {
                let shape = sample.image.spatial_shape();
                let planar = label.as_planar().filter(|ids| ids.shape() == shape);
                let planar = planar.ok_or_else(|| {
                    LoadError::new(
                        self.name(case),
                        format!(
                            "the label has the shape {:?} and the image {shape:?}: they must agree",
                            label.ids.shape(),
                        ),
                    )
                })?;
                Some(preprocess.apply_label(planar))
            }
        };
        Ok(Prepared {
            id: sample.id,
            source: sample.source,
            role: sample.role,
            image,
            label,
            annotated: sample.annotated,
            unfinished: noisy.then_some(layout),
        })
    }

    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes.load(Ordering::Relaxed)
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason was given")
}
