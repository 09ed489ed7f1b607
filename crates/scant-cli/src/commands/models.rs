//! `scant models`: the networks of this build; weights of other programs in, ONNX out.

mod export;
mod import;

use scant_nn::model::{ModelInfo, catalogue};

use super::list::print_json;
use crate::args::{ListArgs, ModelsArgs, ModelsCommand};
use crate::exit::Result;

pub(crate) fn run(args: &ModelsArgs) -> Result {
    match &args.command {
        None => list(&args.list),
        Some(ModelsCommand::Import(args)) => import::run(args),
        Some(ModelsCommand::Export(args)) => export::run(args),
    }
}

fn list(args: &ListArgs) -> Result {
    let models = catalogue();
    if args.json {
        return print_json(&models);
    }
    for m in models {
        let (millions, giga) = (m.parameters as f64 / 1e6, m.flops as f64 / 1e9);
        let size: Vec<String> = m.flops_size.iter().map(ToString::to_string).collect();
        let size = size.join(" x ");
        println!("{:<20} {millions:>6.1} M parameters  {giga:>7.1} GFLOP at {size}", m.name);
        println!("{:20} paper: {}", "", m.paper);
        println!("{:20} input: {}", "", m.input);
        println!("{:20} taps:  {}", "", m.taps.join(" "));
        println!("{:20} sizes: {}", "", sizes(&m));
    }
    Ok(())
}

/// The free sizes with their published values, as a recipe writes them.
fn sizes(info: &ModelInfo) -> String {
    let config = serde_json::to_value(&info.default).expect("a configuration is plain data");
    let entries = config.as_object().into_iter().flatten();
    // The channels follow from the data.
    let free = entries.filter(|(key, _)| *key != "name" && !key.ends_with("_channels"));
    free.map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
}
