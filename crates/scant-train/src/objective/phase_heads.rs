//! Which heads the losses of a phase need beside the network, and whether they can have them.

use scant_nn::ModelConfig;
use scant_nn::heads::{HeadConfig, HeadKind};
use scant_nn::loss::auxiliary_logits::Supervised;
use scant_nn::model::Stages;

use super::deep_supervision;
use super::local_contrast;
use super::pixel_contrast;
use crate::recipe::{PhaseLoss, RecipeError};

/// The heads of a phase of a network that is shown images of `size`; `None` where images keep theirs.
///
/// # Errors
/// When a loss asks for a tap that the network does not have, or that is too small for it.
pub(crate) fn phase_heads(
    loss: &PhaseLoss,
    config: &ModelConfig,
    size: Option<[usize; 2]>,
) -> Result<Vec<HeadConfig>, RecipeError> {
    let asked = loss.deep_supervision.is_some()
        || loss.local_contrast.is_some()
        || loss.pixel_contrast.is_some();
    if !asked {
        return Ok(Vec::new());
    }
    // Channels do not depend on the size.
    let image = size.unwrap_or([256, 256]);
    let stages = config.stages(image);
    let mut heads = Vec::new();
    heads.extend(supervised(loss, config, &stages)?);
    heads.extend(contrasted(loss, &stages, size)?);
    heads.extend(sampled(loss, &stages, image)?);
    Ok(heads)
}

fn supervised(
    loss: &PhaseLoss,
    config: &ModelConfig,
    stages: &Stages,
) -> Result<Vec<HeadConfig>, RecipeError> {
    let Some(wanted) = &loss.deep_supervision else { return Ok(Vec::new()) };
    let key = "loss.deep_supervision";
    if stages.aux > 0 {
        let allowed =
            format!("{} has deep supervision of its own: leave the key out", config.name());
        return Err(RecipeError::value(key, "{ .. }", &allowed));
    }
    let key = "loss.deep_supervision.taps";
    let names: Vec<String> = match &wanted.taps {
        Supervised::Named(names) => names.clone(),
        Supervised::Decoder => {
            let decoder = stages.decoder();
            let but_last = decoder.len().saturating_sub(1);
            decoder[..but_last].iter().map(|&name| name.to_owned()).collect()
        }
    };
    if names.is_empty() {
        let allowed = "name at least one tap; this network has no decoder stage before its last";
        return Err(RecipeError::value(key, "[]", allowed));
    }
    if let Some(twice) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
        let value = format!("[.., \"{}\"]", names[twice]);
        return Err(RecipeError::value(key, value, "each tap once"));
    }
    for name in &names {
        size_of(stages, key, name)?;
    }
    // In the order of the network, so that weights rise towards the output.
    let in_order = stages.taps.iter().filter(|(name, _)| names.contains(name));
    let head = |(name, [channels, _, _]): &(String, [usize; 3])| HeadConfig {
        name: format!("{}{name}", deep_supervision::HEADS),
        tap: name.clone(),
        input: *channels,
        kind: HeadKind::Linear { output: config.output_channels(), bias: true },
    };
    Ok(in_order.map(head).collect())
}

fn contrasted(
    loss: &PhaseLoss,
    stages: &Stages,
    size: Option<[usize; 2]>,
) -> Result<Vec<HeadConfig>, RecipeError> {
    let Some(wanted) = &loss.local_contrast else { return Ok(Vec::new()) };
    if size.is_none() {
        let allowed = "regions need images of one size: set data.size or data.patches";
        return Err(RecipeError::value("loss.local_contrast", "{ .. }", allowed));
    }
    let key = "loss.local_contrast.tap";
    let decoder = stages.decoder();
    let tap = chosen(wanted.tap.as_deref(), decoder.first().copied(), key)?;
    let [channels, rows, columns] = size_of(stages, key, &tap)?;
    let smallest = wanted.smallest_map();
    if rows.min(columns) < smallest {
        let allowed = format!(
            "regions need a map of {smallest} x {smallest}, this one is {rows} x {columns}: choose a \
             finer tap or larger images"
        );
        return Err(RecipeError::value(key, format!("\"{tap}\""), &allowed));
    }
    let width = wanted.width.unwrap_or(channels);
    let mut heads = vec![HeadConfig {
        name: local_contrast::HEAD.into(),
        tap,
        input: channels,
        kind: HeadKind::Projection { hidden: width, output: width },
    }];
    if wanted.project > 0 {
        heads.push(HeadConfig {
            name: local_contrast::REGION_HEAD.into(),
            tap: String::new(),
            input: width * wanted.region_size * wanted.region_size,
            kind: HeadKind::Linear { output: wanted.project, bias: false },
        });
    }
    Ok(heads)
}

fn sampled(
    loss: &PhaseLoss,
    stages: &Stages,
    image: [usize; 2],
) -> Result<Vec<HeadConfig>, RecipeError> {
    let Some(wanted) = &loss.pixel_contrast else { return Ok(Vec::new()) };
    let key = "loss.pixel_contrast.tap";
    let decoder = stages.decoder();
    let tap = chosen(wanted.tap.as_deref(), decoder.last().copied(), key)?;
    let [channels, rows, columns] = size_of(stages, key, &tap)?;
    let padded = [image[0] + stages.padding[0], image[1] + stages.padding[1]];
    let strides = [padded[0] / rows, padded[1] / columns];
    if strides.iter().any(|&s| s == 0 || !wanted.stride.is_multiple_of(s)) {
        let [r, c] = strides;
        let allowed = format!(
            "a multiple of the strides of \"{tap}\", {r} rows and {c} columns of the image"
        );
        return Err(RecipeError::value("loss.pixel_contrast.stride", wanted.stride, &allowed));
    }
    Ok(vec![HeadConfig {
        name: pixel_contrast::HEAD.into(),
        tap,
        input: channels,
        kind: HeadKind::Projection { hidden: channels, output: wanted.width },
    }])
}

fn chosen(named: Option<&str>, default: Option<&str>, key: &str) -> Result<String, RecipeError> {
    let tap = named.or(default).map(str::to_owned);
    tap.ok_or_else(|| {
        RecipeError::value(key, "\"\"", "this network taps no decoder stage: name another tap")
    })
}

fn size_of(stages: &Stages, key: &str, tap: &str) -> Result<[usize; 3], RecipeError> {
    stages.size(tap).ok_or_else(|| {
        let known: Vec<&str> = stages.taps.iter().map(|(name, _)| name.as_str()).collect();
        let allowed = format!("this network taps {}", known.join(", "));
        RecipeError::value(key, format!("\"{tap}\""), &allowed)
    })
}
