//! Sizes of nnU-Net's networks: what its plans say of them.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::model::network::{Shapes, Sizes};
use crate::model::unet_config::tap_names;
use crate::model::{ModelError, check};

/// Sizes of an nnU-Net of images (`D` = 2) or volumes (`D` = 3), with a plain or a residual encoder. The
/// fields are those of `arch_kwargs` in a plans file. Stages are counted from full resolution; every list
/// has one entry per stage, `decoder_blocks` one less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    bound(serialize = "[usize; D]: Serialize", deserialize = "[usize; D]: Deserialize<'de>")
)]
pub struct NnUNetConfig<const D: usize, const RESIDUAL: bool> {
    /// Channels of each stage (`features_per_stage`). The planner doubles 32 up to 512 for images, up to
    /// 320 for volumes.
    pub features: Vec<usize>,
    /// Kernel of each stage along each axis (`kernel_sizes`), odd. 3 but where voxels are much deeper than
    /// wide, there 1.
    pub kernels: Vec<[usize; D]>,
    /// By how much each stage shrinks each axis (`strides`); the first does not.
    pub strides: Vec<[usize; D]>,
    /// Blocks of each stage of the encoder: convolutions (`n_conv_per_stage`, 2 everywhere), or pairs of
    /// them with a shortcut if it is residual (`n_blocks_per_stage`, 1, 3, 4, and 6 from there on).
    pub encoder_blocks: Vec<usize>,
    /// Convolutions of each stage of the decoder, deepest first (`n_conv_per_stage_decoder`): 2, behind a
    /// residual encoder 1.
    pub decoder_blocks: Vec<usize>,
    /// Whether every stage of the decoder gives logits at its own size. The heads are there in either
    /// case, so that the same weights fit. Not part of a plan; nnU-Net trains with it.
    pub deep_supervision: bool,
    /// Image channels.
    pub input_channels: usize,
    /// Logit channels: 1 for a single foreground class, else one per class with the background.
    pub output_channels: usize,
}

impl<const D: usize, const RESIDUAL: bool> Default for NnUNetConfig<D, RESIDUAL> {
    fn default() -> Self {
        let features: &[usize] = match D {
            2 => &[32, 64, 128, 256, 512, 512, 512, 512],
            _ => &[32, 64, 128, 256, 320, 320],
        };
        let stages = features.len();
        let mut strides = vec![[2; D]; stages];
        strides[0] = [1; D];
        let residual = [1, 3, 4, 6, 6, 6, 6, 6];
        Self {
            features: features.to_vec(),
            kernels: vec![[3; D]; stages],
            strides,
            encoder_blocks: if RESIDUAL { residual[..stages].to_vec() } else { vec![2; stages] },
            decoder_blocks: vec![if RESIDUAL { 1 } else { 2 }; stages - 1],
            deep_supervision: true,
            input_channels: if D == 2 { 3 } else { 1 },
            output_channels: 1,
        }
    }
}

impl<const D: usize, const RESIDUAL: bool> NnUNetConfig<D, RESIDUAL> {
    /// What the sides of an image must divide by.
    pub(super) fn multiple(&self) -> [usize; D] {
        let axis = |axis: usize| self.strides.iter().map(|s| s[axis]).product();
        std::array::from_fn(axis)
    }

    /// Checks the sizes for the architecture called `model`.
    pub(super) fn validate(&self, model: &'static str) -> Result<(), ModelError> {
        let refuse = |field: &'static str, allowed: String, got: String| {
            Err(ModelError::Config { model, field, allowed, got })
        };
        let stages = self.features.len();
        if !(2..=12).contains(&stages) {
            return refuse("features", "those of 2 to 12 stages".into(), format!("{stages}"));
        }
        let lists = [
            ("kernels", self.kernels.len(), stages),
            ("strides", self.strides.len(), stages),
            ("encoder_blocks", self.encoder_blocks.len(), stages),
            ("decoder_blocks", self.decoder_blocks.len(), stages - 1),
        ];
        for (field, got, wanted) in lists {
            if got != wanted {
                let allowed = format!("a list of {wanted}, as features has {stages} stages");
                return refuse(field, allowed, format!("{got}"));
            }
        }
        let each = |field, values: &[usize], allowed: RangeInclusive<usize>| {
            values.iter().try_for_each(|&v| check(model, field, v, allowed.clone()))
        };
        each("features", &self.features, 1..=4096)?;
        each("encoder_blocks", &self.encoder_blocks, 1..=64)?;
        each("decoder_blocks", &self.decoder_blocks, 1..=64)?;
        each("kernels", self.kernels.as_flattened(), 1..=15)?;
        each("strides", self.strides.as_flattened(), 1..=8)?;
        if let Some(even) = self.kernels.as_flattened().iter().find(|k| k.is_multiple_of(2)) {
            return refuse("kernels", "odd".into(), format!("{even}"));
        }
        if self.strides[0] != [1; D] {
            let got = format!("{:?}", self.strides[0]);
            return refuse("strides", "1 in the first stage".into(), got);
        }
        if self.multiple().iter().any(|&m| m > 4096) {
            let got = format!("{:?}", self.multiple());
            return refuse("strides", "at most 4096 when multiplied".into(), got);
        }
        Ok(())
    }

    /// Reads the sizes off the tensors of a network; all but `deep_supervision`, which they do not tell.
    pub(super) fn deduce(shapes: &Shapes) -> Option<Self> {
        let count = |name: &dyn Fn(usize) -> String| {
            (0..).take_while(|&i| shapes.contains_key(&name(i))).count()
        };
        let first = |stage: usize, block: usize| match RESIDUAL {
            true => format!("encoder.stages.{stage}.blocks.{block}.conv1.conv.weight"),
            false => format!("encoder.stages.{stage}.0.convs.{block}.conv.weight"),
        };
        let image = match RESIDUAL {
            true => "encoder.stem.convs.0.conv.weight".to_owned(),
            false => first(0, 0),
        };
        let axes = |shape: &Vec<usize>| <[usize; D]>::try_from(shape.get(2..)?).ok();
        let stages = count(&|s| first(s, 0));
        let depth = stages.checked_sub(1)?;
        let mut config = Self {
            features: Vec::new(),
            kernels: Vec::new(),
            strides: vec![[1; D]],
            encoder_blocks: (0..stages).map(|s| count(&|b| first(s, b))).collect(),
            decoder_blocks: Vec::new(),
            deep_supervision: true,
            input_channels: *shapes.get(&image)?.get(1)?,
            output_channels: *shapes.get("decoder.seg_layers.0.weight")?.first()?,
        };
        for stage in 0..stages {
            let weight = shapes.get(&first(stage, 0))?;
            config.features.push(*weight.first()?);
            config.kernels.push(axes(weight)?);
        }
        for i in 0..depth {
            config
                .decoder_blocks
                .push(count(&|b| format!("decoder.stages.{i}.convs.{b}.conv.weight")));
            // Deepest first; what is up-sampled was shrunk by as much.
            let up = shapes.get(&format!("decoder.transpconvs.{}.weight", depth - 1 - i))?;
            config.strides.push(axes(up)?);
        }
        Some(config)
    }
}

impl<const D: usize, const RESIDUAL: bool> Sizes for NnUNetConfig<D, RESIDUAL> {
    fn channels(&self) -> [usize; 2] {
        [self.input_channels, self.output_channels]
    }

    fn set_channels(&mut self, [input, output]: [usize; 2]) {
        self.input_channels = input;
        self.output_channels = output;
    }

    fn tap_names(&self) -> Vec<String> {
        tap_names(self.features.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Plain = NnUNetConfig<3, false>;

    #[test]
    fn lists_that_do_not_fit_are_refused_with_the_remedy() {
        let refused = |change: fn(&mut Plain)| {
            let mut config = Plain::default();
            change(&mut config);
            config.validate("nnunet-3d").unwrap_err().to_string()
        };
        for (change, message) in [
            (
                (|c| c.features.truncate(5)) as fn(&mut Plain),
                "kernels must be a list of 5, as features has 5 stages, got 6",
            ),
            (|c| c.features.truncate(1), "features must be those of 2 to 12 stages, got 1"),
            (|c| c.decoder_blocks.push(2), "decoder_blocks must be a list of 5"),
            (|c| c.kernels[1][2] = 4, "kernels must be odd, got 4"),
            (|c| c.kernels[1][2] = 0, "kernels must be 1 to 15, got 0"),
            (|c| c.strides[0][2] = 2, "strides must be 1 in the first stage, got [1, 1, 2]"),
            (|c| c.strides[3][0] = 9, "strides must be 1 to 8, got 9"),
            (|c| c.encoder_blocks[4] = 0, "encoder_blocks must be 1 to 64, got 0"),
            (|c| c.features[2] = 0, "features must be 1 to 4096, got 0"),
            (
                |c| c.strides[1..].fill([8, 1, 1]),
                "strides must be at most 4096 when multiplied, got [32768, 1, 1]",
            ),
        ] {
            let got = refused(change);
            assert!(got.contains(message), "{got}");
        }
        assert_eq!(Plain::default().validate("nnunet-3d"), Ok(()));
    }

    #[test]
    fn a_plan_is_read_as_it_is_written() {
        let text = r#"{"features": [8, 16], "kernels": [[1, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [1, 2, 2]], "encoder_blocks": [2, 2], "decoder_blocks": [1]}"#;
        let config: Plain = serde_json::from_str(text).unwrap();
        assert_eq!(config.multiple(), [1, 2, 2]);
        assert_eq!(config.kernels[0], [1, 3, 3]);
        assert!(config.deep_supervision && config.validate("nnunet-3d").is_ok());
        let flat = text.replace("[1, 3, 3]", "[3, 3]");
        assert!(serde_json::from_str::<Plain>(&flat).is_err(), "axes are counted");
    }
}
