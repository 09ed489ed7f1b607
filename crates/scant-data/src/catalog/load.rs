//! Reading a case: pixels, and mask values turned into class ids.

use std::path::Path;

use ndarray::Array2;
use scant_core::{Geometry, LabelMap, Role, Sample};
use scant_io::{Limits, MaskEncoding, RawMask};

use super::Entry;
use crate::{DataError, MaskValue, Pool};

impl Entry {
    /// Reads the image and unites its masks.
    ///
    /// # Errors
    /// When a file cannot be read, sizes differ, a mask value is not listed in `values`, or two masks
    /// give different foreground classes to one pixel.
    pub fn load(&self, pool: &Pool, limits: &Limits) -> Result<Sample, DataError> {
        let mut image = scant_io::read_image(&self.image, limits)?;
        if let Some([row, column]) = self.spacing {
            image.geometry = Geometry::planar_mm(row, column);
        }
        let label = match self.role {
            Role::Unlabelled => None,
            Role::Base | Role::Novel => {
                let shape = image.spatial_shape();
                let size = match shape {
                    [rows, columns] => (*rows, *columns),
                    _ => self.size,
                };
                Some(LabelMap::planar(self.load_label(pool, size, limits)?))
            }
        };
        Ok(Sample {
            id: self.id.clone(),
            source: self.source,
            role: self.role,
            image,
            label,
            annotated: self.annotated.clone(),
        })
    }

    fn load_label(
        &self,
        pool: &Pool,
        size: (usize, usize),
        limits: &Limits,
    ) -> Result<Array2<u8>, DataError> {
        let mut ids = Array2::zeros(size);
        for path in &self.masks {
            let mask = scant_io::read_mask(path, limits)?;
            unite(pool, self, path, &mask, &mut ids)?;
        }
        Ok(ids)
    }
}

/// Class ids of a mask, `None` at pixels whose value is not listed.
pub(crate) fn map_mask(pool: &Pool, source: usize, mask: &RawMask) -> Array2<Option<u8>> {
    let values = &pool.sources[source].values;
    // Neighbouring pixels mostly agree, so remembering the last answer saves the look-up.
    let mut last = (u32::MAX, None);
    mask.values.map(|&value| {
        if last.0 != value || last.1.is_none() {
            last = (value, values.class_of(value, mask.encoding));
        }
        last.1
    })
}

fn unite(
    pool: &Pool,
    entry: &Entry,
    path: &Path,
    mask: &RawMask,
    ids: &mut Array2<u8>,
) -> Result<(), DataError> {
    if mask.values.dim() != ids.dim() {
        return Err(DataError::SizeMismatch {
            image: entry.image.clone(),
            mask: path.into(),
            image_size: ids.dim(),
            mask_size: mask.values.dim(),
        });
    }
    let mapped = map_mask(pool, entry.source, mask);
    for ((at, new), old) in mapped.indexed_iter().zip(ids.iter_mut()) {
        match *new {
            None => return Err(unlisted(pool, entry, path, mask, mask.values[at])),
            Some(0) => {}
            Some(class) if *old == 0 || *old == class => *old = class,
            Some(class) => {
                return Err(DataError::ContradictingMasks {
                    mask: path.into(),
                    row: at.0,
                    column: at.1,
                    first: pool.classes.name(*old).into(),
                    second: pool.classes.name(class).into(),
                });
            }
        }
    }
    Ok(())
}

fn unlisted(pool: &Pool, entry: &Entry, path: &Path, mask: &RawMask, value: u32) -> DataError {
    let source = &pool.sources[entry.source];
    let pixels = mask.values.iter().filter(|v| **v == value).count() as u64;
    let distinct: std::collections::BTreeSet<u32> = mask.values.iter().copied().collect();
    let many = mask.encoding == MaskEncoding::Grey && distinct.len() > 24;
    DataError::UnlistedValue {
        path: path.into(),
        value: MaskValue::of_pixel(value, mask.encoding).to_string(),
        pixels,
        source_name: source.name.clone(),
        listed: source.values.listed(),
        many,
    }
}
