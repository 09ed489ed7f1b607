//! PyTorch checkpoints: what `torch.save` writes, read without running it.
//!
//! Format: `torch/serialization.py` and `torch/_utils.py` of <https://github.com/pytorch/pytorch>.
//! Since 1.6 a ZIP archive with a pickle of the object (`data.pkl`) and one entry for each storage
//! (`data/0`, `data/1`, ...); before that, see [`legacy`].
//!
//! The parts: [`pickle`] reads instructions, [`rebuild`] has the list of what they may build,
//! [`checkpoint`] finds the state dict, [`storage`] makes its tensors.

mod checkpoint;
mod legacy;
mod pickle;
mod rebuild;
mod storage;
mod stream;
mod value;

use super::archive::Archive;
use super::element::{Budget, ByteOrder};
use super::error::Fault;
use super::source::Source;
use super::{ReadOptions, TensorOrder, WeightFile, WeightFormat};
use checkpoint::Checkpoint;
use pickle::Nesting;
use storage::Wanted;

/// Bytes of the largest element, as a bound on what the storages of a number of values can need.
const WIDEST: u64 = 8;

pub(super) fn read(mut source: Source, options: &ReadOptions) -> Result<WeightFile, Fault> {
    if source.is_archive()? { read_archive(source, options) } else { read_legacy(source, options) }
}

fn read_archive(source: Source, options: &ReadOptions) -> Result<WeightFile, Fault> {
    let limits = &options.limits;
    let mut archive = Archive::open(source, limits.max_tensors)?;
    let names = archive.names()?;
    // Everything is in one folder, named after the file when it was saved.
    let prefix =
        names.iter().filter_map(|name| name.strip_suffix("data.pkl")).min_by_key(|p| p.len());
    let prefix = prefix.ok_or_else(|| Fault::damaged("its archive lacks data.pkl"))?.to_owned();
    if names.contains(&format!("{prefix}constants.pkl")) {
        return Err(Fault::unsupported(
            "a compiled network (TorchScript)",
            "in PyTorch, torch.save(torch.jit.load(path).state_dict(), ...) makes a state dict of it",
        ));
    }
    let order = byte_order(&mut archive, &names, &prefix)?;
    let pickle = archive.read(&format!("{prefix}data.pkl"), limits.max_header_bytes)?;
    let pickle = pickle::read(&mut pickle.as_slice(), limits.max_header_bytes, Nesting::Outer)?;
    let mut found = checkpoint::take_apart(&pickle, options.key.as_deref())?;

    let mut wanted = Wanted::new(std::mem::take(&mut found.tensors), &mut Budget::new(limits))?;
    wanted.fill_embedded()?;
    for (key, needed) in wanted.keys() {
        let entry = format!("{prefix}data/{key}");
        let bytes = archive.read(&entry, limits.max_values.saturating_mul(WIDEST))?;
        if (bytes.len() as u64) < needed {
            return Err(Fault::damaged(format!(
                "entry \"{entry}\" has {} bytes, but its tensors need {needed}",
                bytes.len()
            )));
        }
        wanted.fill(&key, &bytes, order)?;
    }
    finish(found, wanted)
}

/// Which byte comes first; files before 2.1 do not say and are little-endian.
fn byte_order(
    archive: &mut Archive<Source>,
    names: &[String],
    prefix: &str,
) -> Result<ByteOrder, Fault> {
    let entry = format!("{prefix}byteorder");
    if !names.contains(&entry) {
        return Ok(ByteOrder::Little);
    }
    match archive.read(&entry, 16)?.as_slice() {
        b"little" => Ok(ByteOrder::Little),
        b"big" => Ok(ByteOrder::Big),
        _ => Err(Fault::damaged("its entry \"byteorder\" says neither little nor big")),
    }
}

fn read_legacy(mut source: Source, options: &ReadOptions) -> Result<WeightFile, Fault> {
    let limits = &options.limits;
    // Without zip the bytes of a tensor may stand in the pickle itself.
    let values = limits.max_values.saturating_mul(WIDEST);
    let limit = limits.max_header_bytes.saturating_add(values).min(source.len());
    let (pickle, has_storages) = legacy::object(&mut source, limit, Nesting::Outer)?;
    let mut found = checkpoint::take_apart(&pickle, options.key.as_deref())?;
    let mut wanted = Wanted::new(std::mem::take(&mut found.tensors), &mut Budget::new(limits))?;
    wanted.fill_embedded()?;
    if has_storages {
        let len = source.len();
        legacy::storages(&mut source, len, limits.max_header_bytes, &pickle.heap, &mut wanted)?;
    }
    finish(found, wanted)
}

fn finish(found: Checkpoint, wanted: Wanted) -> Result<WeightFile, Fault> {
    Ok(WeightFile {
        format: WeightFormat::PyTorch,
        tensors: wanted.finish()?,
        order: TensorOrder::Network,
        state_dict: found.key,
        metadata: found.metadata,
        skipped: found.skipped,
        layers: Vec::new(),
    })
}
