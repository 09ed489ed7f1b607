//! Sizes of what a forward pass leaves behind, from a recorded pass: nothing is computed.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::ModelConfig;
use crate::capture::{record, recorded_id};

/// What a network of images offers to a loss besides its logits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stages {
    /// Name and `[channels, rows, columns]` of every tap, encoder to decoder.
    pub taps: Vec<(String, [usize; 3])>,
    /// Number of auxiliary logits.
    pub aux: usize,
    /// Rows and columns added to the end of the image.
    pub padding: [usize; 2],
}

impl ModelConfig {
    /// Taps and auxiliary logits of a network of images on images of this size.
    ///
    /// # Panics
    /// When a size of the network is outside what the architecture allows, or it takes volumes.
    #[must_use]
    pub fn stages(&self, [rows, columns]: [usize; 2]) -> Stages {
        let found = RefCell::new(Stages::default());
        let captured = record(
            [1, self.input_channels(), rows, columns],
            &[1],
            |device| {
                let model = self.zeros(device).unwrap_or_else(|error| panic!("{error}"));
                (model, BTreeMap::new())
            },
            |model, image| {
                let output = model.forward(image);
                let size = |tap: &crate::Tap| {
                    let [_, c, h, w] = tap.features.dims();
                    (tap.name.clone(), [c, h, w])
                };
                *found.borrow_mut() = Stages {
                    taps: output.taps.iter().map(size).collect(),
                    aux: output.aux.len(),
                    padding: [output.padding[0], output.padding[1]],
                };
                let logits = vec![("logits".to_owned(), recorded_id(&output.logits))];
                (output, logits)
            },
        );
        captured.unwrap_or_else(|error| panic!("{error}"));
        found.into_inner()
    }
}

impl Stages {
    /// `[channels, rows, columns]` of a tap.
    #[must_use]
    pub fn size(&self, tap: &str) -> Option<[usize; 3]> {
        self.taps.iter().find(|(name, _)| name == tap).map(|(_, size)| *size)
    }

    /// Names of the decoder's taps, deepest first.
    #[must_use]
    pub fn decoder(&self) -> Vec<&str> {
        let names = self.taps.iter().map(|(name, _)| name.as_str());
        names.filter(|name| name.starts_with("dec")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NAMES, UNetConfig};

    #[test]
    fn sizes_are_those_of_the_padded_image() {
        let unet = UNetConfig { width: 4, depth: 2, input_channels: 1, output_channels: 1 };
        let stages = ModelConfig::UNet(unet).stages([30, 16]);
        let of = |name: &str, size| (name.to_owned(), size);
        let wanted = [
            of("enc1", [4, 32, 16]),
            of("enc2", [8, 16, 8]),
            of("bottleneck", [16, 8, 4]),
            of("dec2", [8, 16, 8]),
            of("dec1", [4, 32, 16]),
        ];
        assert_eq!((stages.taps.as_slice(), stages.aux), (wanted.as_slice(), 0));
        assert_eq!(stages.padding, [2, 0]);
        assert_eq!(stages.decoder(), ["dec2", "dec1"]);
        assert_eq!(stages.size("dec1"), Some([4, 32, 16]));
        assert_eq!(stages.size("dec3"), None);
    }

    #[test]
    fn every_network_of_images_tells_its_stages() {
        for name in NAMES {
            let config = ModelConfig::published(name).unwrap();
            if config.dimensions() == 2 {
                let stages = config.clone().for_size(&[224, 224]).stages([224, 224]);
                let names: Vec<String> = stages.taps.iter().map(|t| t.0.clone()).collect();
                assert_eq!(names, config.tap_names(), "{name}");
                assert_eq!(stages.aux > 0, name.starts_with("nnunet"), "{name}");
            }
        }
    }
}
