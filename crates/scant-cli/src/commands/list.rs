//! `scant losses | recipes | formats`: what this build offers. See `models` for the networks.

use serde_json::json;

use crate::args::{ListArgs, RecipesArgs};
use crate::exit::{Failure, Result};
use crate::recipes;

pub(super) fn print_json(value: &impl serde::Serialize) -> Result {
    println!("{}", serde_json::to_string_pretty(value).map_err(Failure::failed)?);
    Ok(())
}

const LOSSES: [(&str, &str); 9] = [
    ("dice", "soft Dice from logits, pooled over the batch or per image"),
    ("bce", "binary cross-entropy from logits, one-vs-rest for several classes"),
    ("ce", "categorical cross-entropy from logits"),
    ("iou", "soft Jaccard distance from logits"),
    (
        "feature_discrepancy",
        "layer-wise L_fd and exchangeable L_fd^exch with a weight per tap (arXiv:2507.19575)",
    ),
    (
        "deep_supervision",
        "segmentation losses on decoder stages by heads of their own (arXiv:1607.00582)",
    ),
    (
        "local_contrast",
        "regions of two copies of an image told from their neighbours, no labels (arXiv:2006.10511)",
    ),
    ("pixel_contrast", "supervised contrast of sampled pixels (arXiv:2004.11362)"),
    ("group_dro", "weights of the sources that rise with their losses (arXiv:1911.08731)"),
];

pub(crate) fn losses(args: &ListArgs) -> Result {
    if args.json {
        let all: Vec<_> = LOSSES.iter().map(|(n, d)| json!({ "name": n, "about": d })).collect();
        return print_json(&all);
    }
    for (name, about) in LOSSES {
        println!("{name:<20} {about}");
    }
    Ok(())
}

pub(crate) fn recipes(args: &RecipesArgs) -> Result {
    if let Some(name) = &args.name {
        print!("{}", recipes::find(name)?.0);
        return Ok(());
    }
    if args.json {
        let all: Vec<_> =
            recipes::ALL.iter().map(|r| json!({ "name": r.name, "about": r.title() })).collect();
        return print_json(&all);
    }
    for r in recipes::ALL {
        println!("{:<36} {}", r.name, r.title());
    }
    Ok(())
}

pub(crate) fn formats(args: &ListArgs) -> Result {
    let formats = scant_io::formats();
    if args.json {
        let all: Vec<_> = formats
            .iter()
            .map(|f| json!({ "name": f.name, "read": f.read, "write": f.write, "remarks": f.remarks }))
            .collect();
        return print_json(&all);
    }
    for f in formats {
        println!(
            "{:<6} read: {}\n{:6} write: {}\n{:6} {}",
            f.name, f.read, "", f.write, "", f.remarks
        );
    }
    Ok(())
}
