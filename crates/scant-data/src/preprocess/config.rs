//! What a network expects of an image.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PreprocessError;
use super::harmonise::Harmonise;

/// What happens to the aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Rows and columns are scaled independently.
    #[default]
    Stretch,
    /// One scale for both axes; what is left over becomes a border.
    Pad,
}

/// What happens to the intensities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// Kept as decoded: `[0, 1]` for integer files.
    None,
    /// Mean 0 and standard deviation 1 per image and channel.
    #[default]
    #[serde(alias = "zscore")]
    ZScore,
    /// The 1st and 99th percentile of the image (all channels together) become 0 and 1; what lies
    /// outside is clipped.
    Percentile,
    /// The smallest and largest sample of the image (all channels together) become 0 and 1.
    #[serde(alias = "minmax")]
    MinMax,
}

/// How images are made fit for a network; part of every model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreprocessConfig {
    /// Rows and columns of the network's grid; `None` (written `"keep"`) leaves the size alone.
    #[serde(with = "size_or_keep")]
    pub size: Option<[usize; 2]>,
    /// 1 (colour becomes grey) or 3 (grey is repeated).
    pub channels: usize,
    /// What happens to the aspect ratio when `size` is given.
    pub fit: Fit,
    /// What happens to the intensities.
    pub normalise: Normalise,
    /// What images are made to look like before that, as fitted on the training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harmonise: Option<Harmonise>,
}

impl Default for PreprocessConfig {
    /// Size kept, three channels (which loses nothing of a grey or a colour image), z-score.
    fn default() -> Self {
        Self {
            size: None,
            channels: 3,
            fit: Fit::Stretch,
            normalise: Normalise::ZScore,
            harmonise: None,
        }
    }
}

impl PreprocessConfig {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// When `channels` is neither 1 nor 3, a size is 0 or above 65 536, or `harmonise` was fitted on
    /// other channels.
    pub fn validate(&self) -> Result<(), PreprocessError> {
        if self.channels != 1 && self.channels != 3 {
            return Err(PreprocessError::Config(format!(
                "channels = {} is not possible: write 1 (grey) or 3 (colour)",
                self.channels
            )));
        }
        if let Some(size) = self.size
            && size.iter().any(|n| !(1..=65_536).contains(n))
        {
            return Err(PreprocessError::Config(format!(
                "size = [{}, {}] is not possible: rows and columns lie between 1 and 65536, or \
                 write \"keep\"",
                size[0], size[1]
            )));
        }
        match &self.harmonise {
            Some(harmonise) => harmonise.validate(self.channels),
            None => Ok(()),
        }
    }
}

/// `[rows, columns]` or `"keep"`, because TOML knows no null.
pub mod size_or_keep {
    use super::{Deserializer, Serializer, SizeVisitor};

    /// Writes the size as a pair, or `"keep"`.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(
        size: &Option<[usize; 2]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => serializer.collect_seq(size),
            None => serializer.serialize_str("keep"),
        }
    }

    /// Reads a pair or `"keep"`.
    ///
    /// # Errors
    /// For anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[usize; 2]>, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl<'de> Visitor<'de> for SizeVisitor {
    type Value = Option<[usize; 2]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[rows, columns] or \"keep\"")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
        if word == "keep" {
            Ok(None)
        } else {
            Err(E::invalid_value(de::Unexpected::Str(word), &self))
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let rows = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let columns = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
        if seq.next_element::<usize>()?.is_some() {
            return Err(de::Error::invalid_length(3, &self));
        }
        Ok(Some([rows, columns]))
    }
}
