//! `scant bench step | infer`: how fast a network is on this machine.

mod figures;
mod machine;
mod stopwatch;

use scant_core::LabelSpace;
use scant_infer::RepeatedForward;
use scant_train::{PhaseLoss, Recipe, RepeatedStep, TrainError};
use toml::{Table, Value};

use crate::args::{BenchCommand, BenchNetArgs, BenchStepArgs};
use crate::exit::{Failure, Result};
use crate::memory;
use crate::session::Session;
use figures::{Figures, Work};
use machine::Machine;
use stopwatch::Seconds;

/// Weight of the feature discrepancy on every tap. Time does not depend on it as long as it is not 0.
const FD_WEIGHT: f64 = 0.1;

const MIB: f64 = 1024.0 * 1024.0;

const TERMS: [&str; 4] = ["dice", "bce", "ce", "iou"];

pub(crate) fn run(session: &Session, command: &BenchCommand) -> Result {
    let (net, batch) = match command {
        BenchCommand::Step(args) => (&args.net, args.batch),
        BenchCommand::Infer(args) => (&args.net, args.batch),
    };
    let loss = match command {
        BenchCommand::Step(args) => loss(args)?,
        BenchCommand::Infer(_) => None,
    };
    let recipe = recipe(net, batch, loss)?;
    recipe.check_device(&session.device)?;
    let classes = classes(net.classes as usize)?;
    let config = recipe.model_config(classes.logit_channels())?;
    let size =
        net.size.of(config.dimensions()).map_err(|e| Failure::usage(format!("--size: {e}")))?;
    let config = config.for_size(&size);
    let machine = Machine::measure(session);
    let before_mib = memory::now_mib();
    let flops = config.flops(&size);
    let (what, per_image, terms, seconds, parameters) = match command {
        BenchCommand::Step(_) => {
            let mut step = RepeatedStep::new(&recipe, &classes, &size, &session.device)?;
            let parameters = step.parameters();
            let mut terms = step.step(); // which is a warm-up as well
            terms.remove("total");
            // Per source, a term stands for more than one line in a log, but it is one term.
            let terms: Vec<String> = terms.into_keys().filter(|name| !name.contains('/')).collect();
            let seconds = Seconds::of(net.warmup.saturating_sub(1), net.repeats, || {
                step.step();
                finish(session)
            })?;
            (Work::Step, flops.step, terms, seconds, parameters)
        }
        BenchCommand::Infer(_) => {
            let precision = recipe.precision.into();
            let pass =
                RepeatedForward::new(&config, batch as usize, &size, precision, &session.device)
                    .map_err(TrainError::from)?;
            let seconds = Seconds::of(net.warmup, net.repeats, || {
                let logits = pass.forward();
                finish(session)?;
                drop(logits); // Not before: a device may leave out what nobody holds.
                Ok(())
            })?;
            (Work::Infer, flops.forward, Vec::new(), seconds, pass.parameters())
        }
    };
    let figures = Figures {
        what,
        model: config,
        parameters,
        size,
        batch,
        classes: net.classes,
        precision: net.precision.name(),
        loss: terms,
        device: session.device_name.clone(),
        flops: per_image * u64::from(batch),
        warmup: net.warmup,
        seconds,
        before_mib,
        peak_mib: memory::peak_mib(),
        device_mib: session.device.memory_pool_usage().map(|m| m.bytes_reserved as f64 / MIB),
        machine,
    };
    if net.json {
        let text = serde_json::to_string_pretty(&figures.json()?).map_err(Failure::failed)?;
        println!("{text}");
    } else {
        print!("{}", figures.text());
    }
    Ok(())
}

/// Waits until the device has done what it was told. The CPU always has.
fn finish(session: &Session) -> Result {
    let name = &session.device_name;
    session.device.sync().map_err(|e| Failure::failed(format!("device {name}: {e}")))
}

/// What a step descends, as a recipe writes it; `None` is the recipes' own default.
fn loss(args: &BenchStepArgs) -> Result<Option<Table>> {
    let mut table = Table::new();
    if let Some(text) = args.loss.as_ref().filter(|text| text.trim_start().starts_with('{')) {
        let wrong = |e: toml::de::Error| Failure::usage(format!("--loss {text}: {}", e.message()));
        let mut parsed: Table = toml::from_str(&format!("loss = {text}")).map_err(wrong)?;
        let Some(Value::Table(loss)) = parsed.remove("loss") else {
            return Err(Failure::usage(format!("--loss {text}: give a table of one phase's loss")));
        };
        table = loss;
    } else if let Some(text) = &args.loss {
        for term in text.split('-') {
            let known = TERMS.contains(&term);
            if !known || table.insert(term.into(), Value::Float(1.0)).is_some() {
                let reason = if known { "stands twice" } else { "is no loss term" };
                let terms = TERMS.join(", ");
                return Err(Failure::usage(format!(
                    "--loss {text}: \"{term}\" {reason}; join any of {terms} by \"-\""
                )));
            }
        }
    } else if args.fd {
        // A table replaces the default, so the default has to be spelled out.
        let default = PhaseLoss::default();
        table = Table::try_from(&default).map_err(Failure::failed)?;
    }
    if args.fd {
        let alpha = [("rule", Value::from("fixed")), ("value", Value::from(FD_WEIGHT))];
        let fd = [("form", Value::from("region-mean")), ("alpha", section(alpha))];
        table.insert("feature_discrepancy".into(), section(fd));
    }
    Ok((!table.is_empty()).then_some(table))
}

/// The recipe that a run of these arguments would have; its checks are the checks of the arguments.
fn recipe(net: &BenchNetArgs, batch: u32, loss: Option<Table>) -> Result<Recipe> {
    let mut model = vec![("name", Value::from(net.model.as_str()))];
    model.extend(net.width.map(|n| ("width", Value::from(n))));
    model.extend(net.depth.map(|n| ("depth", Value::from(n))));
    let data = [("channels", Value::from(net.channels)), ("batch", Value::from(batch))];
    let mut phase = vec![("name", Value::from("bench")), ("epochs", Value::from(1))];
    phase.extend(loss.map(|loss| ("loss", Value::Table(loss))));
    let recipe = [
        ("precision", Value::from(net.precision.name())),
        ("model", section(model)),
        ("data", section(data)),
        ("phase", Value::Array(vec![section(phase)])),
    ];
    let recipe = section(recipe);
    let text = toml::to_string(&recipe).map_err(Failure::failed)?;
    let set: Vec<String> = net.set.iter().map(|given| format!("model.{given}")).collect();
    Ok(Recipe::parse(&text, &set)?)
}

fn section(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn classes(count: usize) -> Result<LabelSpace> {
    let mut names = vec!["background".to_owned()];
    names.extend((1..count).map(|i| format!("class {i}")));
    LabelSpace::new(names).map_err(Failure::failed)
}
