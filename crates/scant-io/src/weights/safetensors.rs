//! Safetensors: a JSON header with types, shapes and positions, then the values.
//!
//! Format: <https://github.com/huggingface/safetensors>. The crate of its authors checks the header;
//! the values are read tensor by tensor, so that the file is never in memory as a whole.

use std::io::{Read, Seek, SeekFrom};

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use scant_core::HostTensor;

use super::element::{Budget, ByteOrder, Element};
use super::error::Fault;
use super::source::{Source, read_exactly};
use super::{TensorOrder, WeightFile, WeightFormat, WeightLimits};

/// Bytes of the length in front of the header.
const PREFIX: u64 = 8;

pub(super) fn read(mut source: Source, limits: &WeightLimits) -> Result<WeightFile, Fault> {
    let mut prefix = [0; PREFIX as usize];
    source.read_exact(&mut prefix)?;
    let header = u64::from_le_bytes(prefix);
    if header > limits.max_header_bytes {
        return Err(Fault::TooLarge(format!(
            "its header has {header} bytes, more than the limit of {}",
            limits.max_header_bytes
        )));
    }
    let text = read_exactly(&mut source, header)?;
    // Making it checks that the tensors lie one after the other, as long as their shapes say.
    let directory: Metadata = serde_json::from_slice(&text)
        .map_err(|e| Fault::damaged(format!("its safetensors header makes no sense: {e}")))?;
    let start = PREFIX + header;
    if directory.data_len() as u64 != source.len() - start {
        return Err(Fault::damaged(format!(
            "its header announces {} bytes of values, but there are {}",
            directory.data_len(),
            source.len() - start
        )));
    }

    let mut budget = Budget::new(limits);
    let mut out = Vec::new();
    let mut skipped = Vec::new();
    for name in directory.offset_keys() {
        let Some(info) = directory.info(&name) else { continue };
        let Some(element) = element(info.dtype) else {
            skipped.push(format!("{name} ({:?})", info.dtype));
            continue;
        };
        let shape: Vec<u64> = info.shape.iter().map(|&size| size as u64).collect();
        let count = budget.take(&name, &shape)?;
        source.seek(SeekFrom::Start(start + info.data_offsets.0 as u64))?;
        let bytes = read_exactly(&mut source, (count * element.size()) as u64)?;
        let data = element.decode(ByteOrder::Little, &bytes)?;
        out.push((name, HostTensor { shape: info.shape.clone(), data }));
    }
    let metadata = directory.metadata().clone().unwrap_or_default();
    Ok(WeightFile {
        format: WeightFormat::Safetensors,
        tensors: out,
        order: TensorOrder::Stored,
        state_dict: None,
        metadata: metadata.into_iter().map(|(key, value)| (key, value.into())).collect(),
        skipped,
        layers: Vec::new(),
    })
}

/// Types that have a meaning as `f32`; those of quantised networks need scales from elsewhere.
fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::I64 => Element::I64,
        Dtype::I32 => Element::I32,
        Dtype::I16 => Element::I16,
        Dtype::I8 => Element::I8,
        Dtype::U64 => Element::U64,
        Dtype::U32 => Element::U32,
        Dtype::U16 => Element::U16,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Bool,
        _ => return None,
    })
}
