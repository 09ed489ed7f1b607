//! Mask values and the classes they stand for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use scant_io::MaskEncoding;

/// A value in a mask, as written in a pool file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MaskValue {
    /// A grey level or palette index.
    Level(u32),
    /// A colour, `0xRRGGBB`.
    Colour(u32),
}

impl MaskValue {
    /// How a pixel of a decoded mask would be written.
    #[must_use]
    pub fn of_pixel(value: u32, encoding: MaskEncoding) -> Self {
        match encoding {
            MaskEncoding::Rgb => Self::Colour(value),
            MaskEncoding::Index | MaskEncoding::Grey => Self::Level(value),
        }
    }
}

impl fmt::Display for MaskValue {
    /// As the value would stand in a pool file: `7` or `"#ff0000"` (with its quotes).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(v) => write!(f, "{v}"),
            Self::Colour(c) => write!(f, "\"#{c:06x}\""),
        }
    }
}

impl FromStr for MaskValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(hex) = text.strip_prefix('#') {
            if hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return u32::from_str_radix(hex, 16).map(Self::Colour).map_err(|e| e.to_string());
            }
            return Err(format!("\"{text}\" is not a colour of the form \"#rrggbb\""));
        }
        text.parse().map(Self::Level).map_err(|_| {
            format!("\"{text}\" is neither a whole number nor a colour of the form \"#rrggbb\"")
        })
    }
}

/// Which class id each mask value stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ValueMap {
    map: BTreeMap<MaskValue, u8>,
}

impl ValueMap {
    /// A map from pairs; a later pair replaces an earlier one.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (MaskValue, u8)>) -> Self {
        Self { map: pairs.into_iter().collect() }
    }

    /// The class id of a decoded pixel, or `None` when its value is not listed.
    ///
    /// A colour mask in which every pixel happens to be grey decodes as grey, so a grey level `v`
    /// and the colour `#vvvvvv` stand for each other; palette indices never stand for colours.
    #[must_use]
    pub fn class_of(&self, value: u32, encoding: MaskEncoding) -> Option<u8> {
        let exact = self.map.get(&MaskValue::of_pixel(value, encoding)).copied();
        exact.or_else(|| match encoding {
            MaskEncoding::Grey if value <= 255 => {
                self.map.get(&MaskValue::Colour(value * 0x01_0101)).copied()
            }
            MaskEncoding::Rgb if value == (value & 255) * 0x01_0101 => {
                self.map.get(&MaskValue::Level(value & 255)).copied()
            }
            _ => None,
        })
    }

    /// Value and class id, sorted by value.
    pub fn iter(&self) -> impl Iterator<Item = (MaskValue, u8)> + '_ {
        self.map.iter().map(|(v, c)| (*v, *c))
    }

    /// Whether no value is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The listed values, comma separated.
    #[must_use]
    pub fn listed(&self) -> String {
        let all: Vec<String> = self.map.keys().map(ToString::to_string).collect();
        if all.is_empty() { "nothing".into() } else { all.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_whole_numbers_or_colours() {
        assert_eq!("255".parse(), Ok(MaskValue::Level(255)));
        assert_eq!("#00fF10".parse(), Ok(MaskValue::Colour(0x00_ff10)));
        for bad in ["", "-1", "1.5", "#fff", "#gg0000", "red", "#+12345"] {
            assert!(bad.parse::<MaskValue>().is_err(), "{bad}");
        }
        assert_eq!(MaskValue::Colour(0xff).to_string(), "\"#0000ff\"");
    }

    #[test]
    fn a_grey_level_and_its_colour_are_one_but_an_index_is_not() {
        let colours = ValueMap::new([(MaskValue::Colour(0), 0), (MaskValue::Colour(0xff_0000), 1)]);
        assert_eq!(colours.class_of(0, MaskEncoding::Grey), Some(0));
        assert_eq!(colours.class_of(0, MaskEncoding::Index), None);
        assert_eq!(colours.class_of(0xff_0000, MaskEncoding::Rgb), Some(1));
        let levels = ValueMap::new([(MaskValue::Level(0), 0), (MaskValue::Level(255), 1)]);
        assert_eq!(levels.class_of(0xff_ffff, MaskEncoding::Rgb), Some(1));
        assert_eq!(levels.class_of(0x00_00ff, MaskEncoding::Rgb), None);
        assert_eq!(levels.class_of(128, MaskEncoding::Grey), None);
        assert_eq!(levels.listed(), "0, 255");
    }
}
