//! `scant models export`: a trained model as ONNX.

use scant_nn::Device;
use scant_onnx::{Batch, BatchSize, Options};
use serde_json::json;

use crate::args::ExportModelArgs;
use crate::exit::{Failure, Result};

pub(super) fn run(args: &ExportModelArgs) -> Result {
    let path = match args.model.is_dir() {
        true => args.model.join("model.safetensors"),
        false => args.model.clone(),
    };
    if args.out.exists() && !args.overwrite {
        return Err(Failure::usage(format!(
            "{} is there already; --overwrite replaces it",
            args.out.display()
        )));
    }
    let (card, model) = scant_infer::load(&path, &Device::flex())?;
    let size = match (&args.size, card.tile.or(card.preprocess.size)) {
        (Some(size), _) => {
            let size = size.of(card.model.dimensions());
            size.map_err(|e| Failure::usage(format!("--size: {e}")))?
        }
        (None, Some(size)) => size.to_vec(),
        (None, None) => {
            return Err(Failure::usage(
                "the model was trained on images of any size, and an ONNX file has one: give --size HxW",
            ));
        }
    };
    let one_logit = card.model.output_channels() == 1;
    let metadata = json!({
        "input": { "name": "image", "layout": if size.len() == 2 { "NCHW" } else { "NCDHW" } },
        "preprocess": card.preprocess,
        "output": {
            "name": "logits",
            "activation": if one_logit { "sigmoid" } else { "softmax over channels" },
            "decision": if one_logit { json!({ "threshold": card.threshold }) } else { json!("arg-max") },
            "classes": card.classes,
            "mask_values": card.mask_values,
        },
        "model": card.model,
        "provenance": card.provenance,
        "license": card.license,
    });
    let options = Options {
        batch: match args.batch {
            0 => BatchSize::Any,
            n => BatchSize::Fixed(n),
        },
        metadata: vec![("scant".into(), metadata.to_string())],
        description: format!(
            "{} by scant {}; the entry \"scant\" of the metadata says how images are prepared and \
             logits are read",
            card.model.name(),
            env!("CARGO_PKG_VERSION")
        ),
        ..Options::default()
    };
    let file = scant_onnx::export(&model, card.model.input_channels(), &size, &options)
        .map_err(Failure::failed)?;
    scant_io::write_atomic(&args.out, &file.bytes)?;
    let batch = match &file.batch {
        Batch::Dynamic => "any number of images".to_owned(),
        Batch::Fixed { images, reason: None } => format!("{images} at a time"),
        Batch::Fixed { images, reason: Some(reason) } => {
            format!("{images} at a time only: {reason}")
        }
    };
    let size: Vec<String> = size.iter().map(ToString::to_string).collect();
    println!("{:<8} {}", "written", args.out.display());
    println!(
        "{:<8} image, {} channels of {}",
        "input",
        card.model.input_channels(),
        size.join(" x ")
    );
    println!("{:<8} {batch}", "batch");
    println!("{:<8} {}", "output", file.outputs.join(", "));
    println!(
        "{:<8} opset {}, {} nodes, {:.1} MB",
        "onnx",
        file.opset,
        file.nodes,
        file.bytes.len() as f64 / 1e6
    );
    Ok(())
}
