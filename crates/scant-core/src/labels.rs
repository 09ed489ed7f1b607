//! Classes: their names, where they are, and whether anybody drew them.

use ndarray::{Array2, ArrayD, ArrayView2, Ix2};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What can be wrong with a list of class names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelError {
    /// Fewer than two classes.
    #[error("a label space needs a background and at least one class, got {0} name(s)")]
    TooFew(usize),
    /// More classes than a label map can hold.
    #[error("a label space holds at most 255 classes, got {0}")]
    TooMany(usize),
    /// A name stands twice.
    #[error("class name \"{0}\" stands twice")]
    Duplicate(String),
    /// A name is not in the space.
    #[error("\"{name}\" is not a class of this pool (classes: {known})")]
    Unknown {
        /// The name asked for.
        name: String,
        /// All names, comma separated.
        known: String,
    },
}

/// The classes of a pool: the id of a class is its position, and position 0 is the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelSpace {
    names: Vec<String>,
}

impl LabelSpace {
    /// Checks and keeps `names`.
    ///
    /// # Errors
    /// When there are fewer than 2 or more than 255 names, or a name stands twice.
    pub fn new(names: Vec<String>) -> Result<Self, LabelError> {
        if names.len() < 2 {
            return Err(LabelError::TooFew(names.len()));
        }
        if names.len() > 255 {
            return Err(LabelError::TooMany(names.len()));
        }
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(LabelError::Duplicate(name.clone()));
            }
        }
        Ok(Self { names })
    }

    /// All names, background first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of classes with the background.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Always false: a label space has at least two classes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Ids of the classes that are not background.
    pub fn foreground(&self) -> impl Iterator<Item = u8> + use<> {
        1..u8::try_from(self.names.len()).unwrap_or(u8::MAX)
    }

    /// The id of a class.
    ///
    /// # Errors
    /// When the name is not in the space.
    pub fn id(&self, name: &str) -> Result<u8, LabelError> {
        self.names
            .iter()
            .position(|n| n == name)
            .and_then(|i| u8::try_from(i).ok())
            .ok_or_else(|| LabelError::Unknown { name: name.into(), known: self.names.join(", ") })
    }

    /// The name of a class; `id` must be one of this space.
    #[must_use]
    pub fn name(&self, id: u8) -> &str {
        &self.names[usize::from(id)]
    }

    /// Channels a network needs: one logit for a single foreground class, else one per class.
    #[must_use]
    pub fn logit_channels(&self) -> usize {
        if self.names.len() == 2 { 1 } else { self.names.len() }
    }
}

/// A class id at every pixel.
///
/// # Shapes
/// `[rows, columns]` or `[slices, rows, columns]`; ids index a [`LabelSpace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    /// Class ids.
    pub ids: ArrayD<u8>,
}

impl LabelMap {
    /// A planar label map.
    #[must_use]
    pub fn planar(ids: Array2<u8>) -> Self {
        Self { ids: ids.into_dyn() }
    }

    /// The ids as `[rows, columns]`, or `None` for a volume.
    #[must_use]
    pub fn as_planar(&self) -> Option<ArrayView2<'_, u8>> {
        self.ids.view().into_dimensionality::<Ix2>().ok()
    }

    /// Pixels per class for `classes` classes.
    #[must_use]
    pub fn histogram(&self, classes: usize) -> Vec<u64> {
        let mut counts = vec![0; classes];
        for &id in &self.ids {
            if let Some(c) = counts.get_mut(usize::from(id)) {
                *c += 1;
            }
        }
        counts
    }
}

/// Which classes were looked for when a label map was drawn.
///
/// "Class 3 is absent" and "nobody drew class 3" look the same in a mask; this mask is what tells
/// them apart. The background counts as drawn only when every foreground class was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Annotated {
    drawn: Vec<bool>,
}

impl Annotated {
    /// Every class drawn.
    #[must_use]
    pub fn all(classes: usize) -> Self {
        Self { drawn: vec![true; classes] }
    }

    /// Nothing drawn: an unlabelled image.
    #[must_use]
    pub fn none(classes: usize) -> Self {
        Self { drawn: vec![false; classes] }
    }

    /// Only the given foreground class ids drawn.
    #[must_use]
    pub fn only(classes: usize, ids: &[u8]) -> Self {
        let mut drawn: Vec<bool> =
            (0..classes).map(|c| ids.iter().any(|&i| usize::from(i) == c)).collect();
        drawn[0] = drawn[1..].iter().all(|&d| d);
        Self { drawn }
    }

    /// Whether this class was drawn.
    #[must_use]
    pub fn has(&self, class: u8) -> bool {
        self.drawn.get(usize::from(class)).copied().unwrap_or(false)
    }

    /// Whether every class was drawn.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.drawn.iter().all(|&d| d)
    }

    /// One flag per class.
    #[must_use]
    pub fn flags(&self) -> &[bool] {
        &self.drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_space_refuses_what_it_cannot_mean() {
        let names = |n: &[&str]| n.iter().map(|s| (*s).to_string()).collect::<Vec<_>>();
        assert_eq!(LabelSpace::new(names(&["bg"])), Err(LabelError::TooFew(1)));
        assert_eq!(
            LabelSpace::new(names(&["bg", "a", "a"])),
            Err(LabelError::Duplicate("a".into()))
        );
        let space = LabelSpace::new(names(&["bg", "a", "b"])).unwrap();
        assert_eq!(space.id("b"), Ok(2));
        assert!(space.id("c").unwrap_err().to_string().contains("bg, a, b"));
        assert_eq!(space.foreground().collect::<Vec<_>>(), vec![1, 2]);
        assert_eq!(space.logit_channels(), 3);
    }

    #[test]
    fn background_is_drawn_only_when_everything_is() {
        let partial = Annotated::only(3, &[2]);
        assert_eq!(partial.flags(), [false, false, true]);
        assert!(Annotated::only(3, &[1, 2]).is_complete());
        assert!(!Annotated::none(2).has(1));
    }
}
