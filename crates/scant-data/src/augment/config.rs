//! Which changes are made, how strong and how often.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::strong::StrongIntensity;

/// What can be wrong with an augmentation configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AugmentError {
    /// A name that is no augmentation.
    #[error("\"{name}\" is not an augmentation; did you mean \"{nearest}\"? (known: {known})")]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The known name nearest to it.
        nearest: &'static str,
        /// All names, comma separated.
        known: String,
    },
    /// A value out of its range.
    #[error("augment.{field} = {value} is not possible: {rule}")]
    OutOfRange {
        /// Block and key.
        field: &'static str,
        /// The value as written.
        value: String,
        /// The values that are possible.
        rule: &'static str,
    },
}

/// Mirroring. Each allowed axis is mirrored independently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flips {
    /// Left and right may change places.
    pub horizontal: bool,
    /// Top and bottom may change places.
    pub vertical: bool,
    /// Probability per allowed axis.
    pub p: f64,
}

impl Default for Flips {
    fn default() -> Self {
        Self { horizontal: true, vertical: true, p: 0.5 }
    }
}

/// Anticlockwise quarter turns.
///
/// A square image is turned by 90, 180 or 270 degrees with equal probability. Any other image is
/// turned by 180 degrees only, so that the shape of a batch never depends on chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rot90 {
    /// Probability of a turn.
    pub p: f64,
}

impl Default for Rot90 {
    /// All four orientations of a square image equally likely.
    fn default() -> Self {
        Self { p: 0.75 }
    }
}

/// Rotation, scale, shift and shear about the centre of the image, each drawn uniformly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Affine {
    /// Largest rotation either way, in degrees.
    pub rotate_deg: f64,
    /// Smallest and largest magnification of both axes.
    pub scale: [f64; 2],
    /// Largest shift either way, as a share of rows and of columns.
    pub shift: f64,
    /// Largest shear of columns over rows either way, in degrees.
    pub shear_deg: f64,
    /// Probability.
    pub p: f64,
}

impl Default for Affine {
    fn default() -> Self {
        Self { rotate_deg: 15.0, scale: [0.85, 1.15], shift: 0.05, shear_deg: 0.0, p: 0.5 }
    }
}

/// A smooth random displacement field (Simard et al. 2003, section 2).
///
/// Deviation: the field is scaled so that its longest displacement has the drawn length, because
/// the alpha of the paper means a different number of pixels at every sigma. Lengths well above
/// `sigma` fold the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Elastic {
    /// Longest displacement in pixels; the length is drawn uniformly between 0 and this.
    pub alpha: f64,
    /// Standard deviation of the Gaussian that smooths the field, in pixels.
    pub sigma: f64,
    /// Probability.
    pub p: f64,
}

impl Default for Elastic {
    fn default() -> Self {
        Self { alpha: 8.0, sigma: 10.0, p: 0.3 }
    }
}

/// Brightness, contrast and gamma, each drawn uniformly (gamma uniformly in its logarithm).
///
/// Amounts are relative to the image itself, so they mean the same whatever the normalisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intensity {
    /// Largest offset either way, in standard deviations of the image.
    pub brightness: f64,
    /// Largest change of the factor 1 about the mean, in `[0, 1]`.
    pub contrast: f64,
    /// The exponent lies between `1 / (1 + gamma)` and `1 + gamma`, over the range of the image.
    pub gamma: f64,
    /// Probability.
    pub p: f64,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { brightness: 0.2, contrast: 0.25, gamma: 0.3, p: 0.5 }
    }
}

/// Additive Gaussian noise. A grey image repeated over channels stays grey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Smallest and largest standard deviation, in standard deviations of the image.
    pub sigma: [f64; 2],
    /// Whether the result is cut to the range the image had before.
    pub clip: bool,
    /// Probability.
    pub p: f64,
}

impl Default for Noise {
    fn default() -> Self {
        Self { sigma: [0.0, 0.1], clip: false, p: 0.15 }
    }
}

/// Gaussian blur.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Blur {
    /// Smallest and largest standard deviation, in pixels.
    pub sigma: [f64; 2],
    /// Probability.
    pub p: f64,
}

impl Default for Blur {
    fn default() -> Self {
        Self { sigma: [0.5, 1.0], p: 0.2 }
    }
}

/// All augmentations; an absent block never happens.
///
/// Written either as a table of blocks (`augment = { flips = {}, noise = { p = 0.3 } }`) or as a
/// list of names with default strengths (`augment = ["flip", "rot90"]`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Mirroring.
    pub flips: Option<Flips>,
    /// Quarter turns.
    pub rot90: Option<Rot90>,
    /// Rotation, scale, shift, shear.
    pub affine: Option<Affine>,
    /// Smooth random displacement.
    pub elastic: Option<Elastic>,
    /// Brightness, contrast, gamma.
    pub intensity: Option<Intensity>,
    /// Gaussian noise.
    pub noise: Option<Noise>,
    /// Gaussian blur.
    pub blur: Option<Blur>,
    /// Strong changes of intensity for sites nobody has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strong_intensity: Option<StrongIntensity>,
}

/// Names for [`AugmentConfig::from_names`].
const NAMES: [&str; 10] = [
    "flip",
    "flip-horizontal",
    "flip-vertical",
    "rot90",
    "affine",
    "elastic",
    "intensity",
    "noise",
    "blur",
    "strong-intensity",
];

impl AugmentConfig {
    /// The named augmentations at their default strengths.
    ///
    /// # Errors
    /// When a name is unknown; the error tells the nearest known one.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Result<Self, AugmentError> {
        let mut config = Self::default();
        for name in names {
            config.add(name.as_ref())?;
        }
        Ok(config)
    }

    fn add(&mut self, name: &str) -> Result<(), AugmentError> {
        let unflipped = || Flips { horizontal: false, vertical: false, ..Flips::default() };
        match name {
            "flip" => self.flips = Some(Flips::default()),
            "flip-horizontal" => self.flips.get_or_insert_with(unflipped).horizontal = true,
            "flip-vertical" => self.flips.get_or_insert_with(unflipped).vertical = true,
            "rot90" => self.rot90 = Some(Rot90::default()),
            "affine" => self.affine = Some(Affine::default()),
            "elastic" => self.elastic = Some(Elastic::default()),
            "intensity" => self.intensity = Some(Intensity::default()),
            "noise" => self.noise = Some(Noise::default()),
            "blur" => self.blur = Some(Blur::default()),
            "strong-intensity" => self.strong_intensity = Some(StrongIntensity::default()),
            _ => {
                let nearest = NAMES
                    .into_iter()
                    .min_by_key(|known| strsim::damerau_levenshtein(name, known))
                    .unwrap_or(NAMES[0]);
                return Err(AugmentError::UnknownName {
                    name: name.into(),
                    nearest,
                    known: NAMES.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Whether no augmentation is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every number.
    ///
    /// # Errors
    /// Names the first value out of its range.
    pub fn validate(&self) -> Result<(), AugmentError> {
        if let Some(flips) = &self.flips {
            probability("flips.p", flips.p)?;
        }
        if let Some(turn) = &self.rot90 {
            probability("rot90.p", turn.p)?;
        }
        if let Some(affine) = &self.affine {
            probability("affine.p", affine.p)?;
            within("affine.rotate_deg", affine.rotate_deg, 0.0, 180.0, "0 to 180 degrees")?;
            within("affine.shift", affine.shift, 0.0, 1.0, "a share of the image, 0 to 1")?;
            within("affine.shear_deg", affine.shear_deg, 0.0, 60.0, "0 to 60 degrees")?;
            range("affine.scale", affine.scale, 0.05, 20.0, "[low, high] within 0.05 to 20")?;
        }
        if let Some(elastic) = &self.elastic {
            probability("elastic.p", elastic.p)?;
            within("elastic.alpha", elastic.alpha, 0.0, 1e4, "0 to 10000 pixels")?;
            within("elastic.sigma", elastic.sigma, 0.5, 1e3, "0.5 to 1000 pixels")?;
        }
        if let Some(intensity) = &self.intensity {
            probability("intensity.p", intensity.p)?;
            within("intensity.brightness", intensity.brightness, 0.0, 100.0, "0 to 100")?;
            within("intensity.contrast", intensity.contrast, 0.0, 1.0, "0 to 1")?;
            within("intensity.gamma", intensity.gamma, 0.0, 10.0, "0 to 10")?;
        }
        if let Some(noise) = &self.noise {
            probability("noise.p", noise.p)?;
            range("noise.sigma", noise.sigma, 0.0, 100.0, "[low, high] within 0 to 100")?;
        }
        if let Some(blur) = &self.blur {
            probability("blur.p", blur.p)?;
            range("blur.sigma", blur.sigma, 0.0, 100.0, "[low, high] within 0 to 100 pixels")?;
        }
        self.strong_intensity.as_ref().map_or(Ok(()), StrongIntensity::validate)
    }
}

pub(super) fn within(
    field: &'static str,
    value: f64,
    low: f64,
    high: f64,
    rule: &'static str,
) -> Result<(), AugmentError> {
    // Written so that NaN is refused too.
    if value >= low && value <= high {
        Ok(())
    } else {
        Err(AugmentError::OutOfRange { field, value: value.to_string(), rule })
    }
}

pub(super) fn probability(field: &'static str, value: f64) -> Result<(), AugmentError> {
    within(field, value, 0.0, 1.0, "a probability lies between 0 and 1")
}

pub(super) fn range(
    field: &'static str,
    [low, high]: [f64; 2],
    least: f64,
    most: f64,
    rule: &'static str,
) -> Result<(), AugmentError> {
    if low >= least && low <= high && high <= most {
        Ok(())
    } else {
        Err(AugmentError::OutOfRange { field, value: format!("[{low}, {high}]"), rule })
    }
}

impl Serialize for AugmentConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The inherent function that `remote = "Self"` derives.
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for AugmentConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesOrBlocks)
    }
}

struct NamesOrBlocks;

impl<'de> Visitor<'de> for NamesOrBlocks {
    type Value = AugmentConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of augmentation names or a table of augmentation blocks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<AugmentConfig, A::Error> {
        let mut config = AugmentConfig::default();
        while let Some(name) = seq.next_element::<String>()? {
            config.add(&name).map_err(de::Error::custom)?;
        }
        Ok(config)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AugmentConfig, A::Error> {
        AugmentConfig::deserialize(MapAccessDeserializer::new(map))
    }
}
