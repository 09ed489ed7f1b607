//! Pretrained weights: a Swin classifier for both halves of the network.

use super::SwinUnet;
use crate::model::Shapes;
use crate::model::network::Network;
use crate::weights::{HostTensor, Mapped, Weights, resize_bicubic};

/// What files put before the names of `SwinTransformerSys`: the wrapper `SwinUnet`, that in
/// `DataParallel`, and the dictionary that checkpoints of classifiers are kept in.
const PREFIXES: [&str; 4] = ["module.swin_unet.", "swin_unet.", "module.", "model."];

/// Maps a checkpoint of a Swin classifier (microsoft/Swin-Transformer), or of a Swin-Unet, to a
/// Swin-Unet whose tensors have the shapes `network`, by official names.
///
/// A classifier is mapped as the reference does (`SwinUnet.load_from`): every tensor to its own name
/// and those of encoder stage i also to the decoder stage that mirrors it. Bias tables of another window
/// and absolute position embeddings of another grid are resized bicubically as by the authors of the
/// Swin transformer (`utils.load_pretrained`); the reference drops them. Other tensors whose shape
/// differs are dropped and reported as unused; buffers, which are made anew, are not reported.
///
/// A Swin-Unet is copied name by name. Its `output` is kept where it has as many classes, so that a
/// finished network can be imported; the reference drops it.
#[must_use]
pub fn from_swin_checkpoint(tensors: &Weights, network: &Shapes) -> Mapped {
    let finished = tensors.keys().any(|name| bare(name).starts_with("layers_up."));
    let stages =
        (0..).take_while(|i| network.contains_key(&format!("layers.{i}.blocks.0.norm1.weight")));
    let stages = stages.count();
    let mut mapped = Mapped::default();
    for (given, tensor) in tensors {
        let name = bare(given);
        if SwinUnet::BUFFERS.iter().any(|buffer| name.ends_with(buffer)) {
            continue;
        }
        let resize = |tensor: &HostTensor, shape: &[usize]| resized(name, tensor, shape);
        let mut used = mapped.take(name, tensor, network, resize);
        if !finished && let Some(mirror) = mirrored(name, stages) {
            used |= mapped.take(&mirror, tensor, network, resize);
        }
        if !used {
            mapped.unused.push(given.clone());
        }
    }
    mapped
}

/// A name without what wrappers put before it.
fn bare(name: &str) -> &str {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// The name at the other side of the U.
fn mirrored(name: &str, stages: usize) -> Option<String> {
    let (stage, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let mirror = stages.checked_sub(1 + stage.parse::<usize>().ok()?)?;
    Some(format!("layers_up.{mirror}.{rest}"))
}

/// A bias table `[offsets, heads]` or position embedding `[1, tokens, channels]` of another, square
/// grid; none for other tensors and where heads or channels differ.
fn resized(name: &str, tensor: &HostTensor, shape: &[usize]) -> Option<HostTensor> {
    let grid = match (tensor.shape.as_slice(), shape) {
        ([from, a], [to, b]) if name.ends_with("relative_position_bias_table") && a == b => {
            (*from, *to, *a)
        }
        ([1, from, a], [1, to, b]) if name.ends_with("absolute_pos_embed") && a == b => {
            (*from, *to, *a)
        }
        _ => return None,
    };
    let (from, to, channels) = (grid.0.isqrt(), grid.1.isqrt(), grid.2);
    if from * from != grid.0 || to * to != grid.1 {
        return None;
    }
    let data = resize_bicubic(&tensor.data, [from; 2], [to; 2], channels);
    Some(HostTensor { shape: shape.to_vec(), data })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use burn::tensor::Device;

    use super::*;
    use crate::model::{ModelConfig, SwinUnetConfig};
    use crate::weights;

    fn network(window: usize, classes: usize) -> ModelConfig {
        ModelConfig::SwinUnet(SwinUnetConfig {
            embed_dim: 4,
            depths: vec![2, 1, 1],
            heads: vec![1, 2, 4],
            window,
            patch: 2,
            mlp_ratio: 2,
            output_channels: classes,
            ..SwinUnetConfig::default()
        })
    }

    fn filled(config: &ModelConfig) -> Weights {
        weights::export(&config.init(&Device::flex(), 3).unwrap())
    }

    fn shapes(weights: &Weights) -> Shapes {
        weights.iter().map(|(name, t)| (name.clone(), t.shape.clone())).collect()
    }

    /// The encoder of a network, with the head and the buffers of a classifier.
    fn classifier(window: usize) -> Weights {
        let mut tensors = filled(&network(window, 2));
        let encoder = ["patch_embed.", "layers.", "norm."];
        tensors.retain(|name, _| encoder.iter().any(|part| name.starts_with(part)));
        let tensor = |shape: &[usize]| {
            let data = vec![0.5; shape.iter().product()];
            HostTensor { shape: shape.to_vec(), data }
        };
        tensors.insert("head.weight".into(), tensor(&[7, 16]));
        tensors.insert("layers.0.blocks.1.attn_mask".into(), tensor(&[4, 9, 9]));
        let index = "layers.0.blocks.0.attn.relative_position_index";
        tensors.insert(index.into(), tensor(&[9, 9]));
        tensors
    }

    #[test]
    fn a_classifier_fills_both_halves() {
        let given = classifier(3);
        let config = network(3, 2);
        let complete = filled(&config);
        let mapped = from_swin_checkpoint(&given, &shapes(&complete));
        assert_eq!(mapped.unused, ["head.weight"]);
        assert!(mapped.reshaped.is_empty());
        let qkv = "blocks.0.attn.qkv.weight";
        let at = |stage: &str| &mapped.tensors[&format!("{stage}.{qkv}")];
        assert_eq!(at("layers.0"), &given[&format!("layers.0.{qkv}")]);
        assert_eq!(at("layers_up.2"), at("layers.0"));
        assert_eq!(at("layers_up.1"), at("layers.1"));
        // What only the decoder has keeps its start.
        let missing: BTreeSet<&str> = complete
            .keys()
            .filter(|name| !mapped.tensors.contains_key(*name))
            .map(|name| name.split_once('.').unwrap().0)
            .collect();
        assert_eq!(missing, ["concat_back_dim", "layers_up", "norm_up", "output", "up"].into());
        let blocks = complete.keys().filter(|name| name.contains(".blocks."));
        assert!(blocks.into_iter().all(|name| mapped.tensors.contains_key(name)));
    }

    #[test]
    fn bias_tables_of_another_window_are_resized() {
        let given = classifier(3);
        let mapped = from_swin_checkpoint(&given, &shapes(&filled(&network(4, 2))));
        let name = "layers.0.blocks.1.attn.relative_position_bias_table";
        let up = "layers_up.2.blocks.1.attn.relative_position_bias_table";
        let sizes = (vec![25, 1], vec![49, 1]);
        for name in [name, up] {
            assert!(mapped.reshaped.contains(&(name.into(), sizes.0.clone(), sizes.1.clone())));
            assert_eq!(mapped.tensors[name].shape, [49, 1]);
        }
        assert_eq!(mapped.tensors[name].data, resize_bicubic(&given[name].data, [5; 2], [7; 2], 1));
        // Four blocks below, and those of the two upper stages above.
        assert_eq!(mapped.reshaped.len(), 7);
        assert_eq!(mapped.unused, ["head.weight"]);
    }

    #[test]
    fn position_embeddings_are_resized_and_other_shapes_dropped() {
        let ramp = |shape: &[usize]| {
            let data = (0..shape.iter().product()).map(|i| i as f32).collect();
            HostTensor { shape: shape.to_vec(), data }
        };
        let network: Shapes = [
            ("absolute_pos_embed".to_owned(), vec![1, 9, 2]),
            ("layers.0.blocks.0.attn.relative_position_bias_table".to_owned(), vec![9, 3]),
            ("layers.0.blocks.0.norm1.weight".to_owned(), vec![4]),
        ]
        .into();
        let given: Weights = [
            ("absolute_pos_embed".to_owned(), ramp(&[1, 4, 2])),
            ("layers.0.blocks.0.attn.relative_position_bias_table".to_owned(), ramp(&[25, 1])),
            ("layers.0.blocks.0.norm1.weight".to_owned(), ramp(&[5])),
        ]
        .into();
        let mapped = from_swin_checkpoint(&given, &network);
        let only = &mapped.tensors["absolute_pos_embed"];
        assert_eq!(only.data, resize_bicubic(&ramp(&[1, 4, 2]).data, [2; 2], [3; 2], 2));
        assert_eq!((mapped.tensors.len(), mapped.reshaped.len(), mapped.unused.len()), (1, 1, 2));
    }

    #[test]
    fn a_finished_network_is_copied_whatever_wraps_it() {
        let complete = filled(&network(3, 2));
        for prefix in ["", "swin_unet.", "module.swin_unet."] {
            let wrapped: Weights =
                complete.iter().map(|(name, t)| (format!("{prefix}{name}"), t.clone())).collect();
            let mapped = from_swin_checkpoint(&wrapped, &shapes(&complete));
            assert_eq!(mapped.tensors, complete, "{prefix}");
            assert!(mapped.unused.is_empty() && mapped.reshaped.is_empty(), "{prefix}");
            let other = from_swin_checkpoint(&wrapped, &shapes(&filled(&network(3, 5))));
            assert_eq!(other.unused, [format!("{prefix}output.weight")]);
            assert_eq!(other.tensors.len(), complete.len() - 1);
        }
    }
}
