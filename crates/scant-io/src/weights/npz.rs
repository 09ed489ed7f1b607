//! NumPy: `.npy`, one array, and `.npz`, a ZIP archive of them, stored or deflated.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. The header is a
//! Python literal, of which only the keys and values that NumPy writes are understood.

use scant_core::HostTensor;

use super::archive::Archive;
use super::element::{Budget, ByteOrder, Element, host_shape};
use super::error::Fault;
use super::source::{Source, out_of_memory, read_exactly};
use super::{TensorOrder, WeightFile, WeightFormat, WeightLimits};

/// What the lone array of a `.npy` file is called.
const LONE: &str = "array";

/// Bytes that a header may have beside the values.
const HEADER_BYTES: u64 = 1 << 16;

pub(super) fn read(mut source: Source, limits: &WeightLimits) -> Result<WeightFile, Fault> {
    let mut budget = Budget::new(limits);
    // The widest element has 8 bytes.
    let longest = limits.max_values.saturating_mul(8).saturating_add(HEADER_BYTES);
    let mut tensors = Vec::new();
    let mut skipped = Vec::new();
    let mut add = |name: String, bytes: &[u8]| -> Result<(), Fault> {
        match array(&name, bytes, &mut budget)? {
            Array::Numbers(tensor) => tensors.push((name, tensor)),
            Array::Other(kind) => skipped.push(format!("{name} ({kind})")),
        }
        Ok(())
    };
    if source.is_archive()? {
        let mut archive = Archive::open(source, limits.max_tensors)?;
        for entry in archive.names()? {
            let Some(name) = entry.strip_suffix(".npy") else { continue };
            let bytes = archive.read(&entry, longest)?;
            add(name.to_owned(), &bytes)?;
        }
    } else {
        let len = source.len();
        if len > longest {
            return Err(Fault::TooLarge(format!(
                "the array has {len} bytes, more than the limit of {longest}"
            )));
        }
        let bytes = read_exactly(&mut source, len)?;
        add(LONE.to_owned(), &bytes)?;
    }
    Ok(WeightFile {
        format: WeightFormat::Npz,
        tensors,
        order: TensorOrder::Stored,
        state_dict: None,
        metadata: std::collections::BTreeMap::new(),
        skipped,
        layers: Vec::new(),
    })
}

enum Array {
    Numbers(HostTensor),
    /// Text, dates, Python objects, structures: the type as NumPy writes it.
    Other(String),
}

/// One array from the bytes of a `.npy` file.
fn array(name: &str, bytes: &[u8], budget: &mut Budget) -> Result<Array, Fault> {
    let broken = |what: &str| Fault::damaged(format!("array \"{name}\" {what}"));
    let (header, values) = split(bytes).ok_or_else(|| broken("has no complete NumPy header"))?;
    let header = Header::parse(header).ok_or_else(|| broken("has a header that makes no sense"))?;
    let Some((element, order)) = element(&header.descr) else {
        return Ok(Array::Other(header.descr));
    };
    let count = budget.take(name, &header.shape)?;
    let size = element.size();
    if values.len() != count.checked_mul(size).ok_or_else(out_of_memory)? {
        return Err(broken(&format!(
            "announces {count} values of {size} bytes, but has {} bytes",
            values.len()
        )));
    }
    let shape = host_shape(&header.shape)?;
    let mut data = element.decode(order, values)?;
    if header.fortran_order {
        data = row_major(&shape, &data)?;
    }
    Ok(Array::Numbers(HostTensor { shape, data }))
}

/// Header text and values.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (version, rest) = rest.split_first_chunk::<2>()?;
    let (len, rest) = match version[0] {
        1 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        2 | 3 => {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            (usize::try_from(u32::from_le_bytes(*len)).ok()?, rest)
        }
        _ => return None,
    };
    let (header, values) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, values))
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Header {
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            let value = after.trim_start().strip_prefix(':')?.trim_start();
            let after = match key {
                "descr" => {
                    let (value, after) = described(value)?;
                    descr = Some(value);
                    after
                }
                "fortran_order" => {
                    let end = value.find(',').unwrap_or(value.len());
                    fortran_order = match value[..end].trim() {
                        "True" => Some(true),
                        "False" => Some(false),
                        _ => return None,
                    };
                    &value[end..]
                }
                "shape" => {
                    let (inside, after) = value.strip_prefix('(')?.split_once(')')?;
                    let sizes = inside.split(',').map(str::trim).filter(|size| !size.is_empty());
                    // Python 2 wrote some sizes as longs: 3L.
                    let sizes = sizes.map(|size| size.trim_end_matches('L').parse().ok());
                    shape = Some(sizes.collect::<Option<Vec<u64>>>()?);
                    after
                }
                _ => return None,
            };
            let after = after.trim_start();
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
        Some(Self { descr: descr?, fortran_order: fortran_order?, shape: shape? })
    }
}

/// A string in quotes and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// The type: a string, or a list for structures, which is kept as it is written.
fn described(text: &str) -> Option<(String, &str)> {
    if !text.starts_with('[') {
        return quoted(text).map(|(descr, rest)| (descr.into(), rest));
    }
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth == 1 => return Some((text[..=at].into(), &text[at + 1..])),
            ']' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Byte order, kind and size: `<f4`. `|` is for single bytes; `=` stands for the writer's machine,
/// which NumPy never writes.
fn element(descr: &str) -> Option<(Element, ByteOrder)> {
    let mut letters = descr.chars();
    let order = match letters.next()? {
        '<' | '|' => ByteOrder::Little,
        '>' => ByteOrder::Big,
        _ => return None,
    };
    let element = match letters.as_str() {
        "f8" => Element::F64,
        "f4" => Element::F32,
        "f2" => Element::F16,
        "i8" => Element::I64,
        "i4" => Element::I32,
        "i2" => Element::I16,
        "i1" => Element::I8,
        "u8" => Element::U64,
        "u4" => Element::U32,
        "u2" => Element::U16,
        "u1" => Element::U8,
        "b1" => Element::Bool,
        _ => return None,
    };
    Some((element, order))
}

/// Values whose first index runs fastest, put so that the last one does.
fn row_major(shape: &[usize], data: &[f32]) -> Result<Vec<f32>, Fault> {
    let mut out = super::element::reserved(data.len())?;
    let mut strides = vec![1; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1] * shape[axis - 1];
    }
    let mut turns = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..data.len() {
        out.push(data[at]);
        for axis in (0..shape.len()).rev() {
            turns[axis] += 1;
            at += strides[axis];
            if turns[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            turns[axis] = 0;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        let parse = |text: &str| Header::parse(text);
        let of = |descr: &str, fortran_order, shape: &[u64]| {
            Some(Header { descr: descr.into(), fortran_order, shape: shape.to_vec() })
        };
        assert_eq!(
            parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n"),
            of("<f4", false, &[3, 4])
        );
        assert_eq!(
            parse("{'descr': '>i8', 'fortran_order': True, 'shape': (5L,), }"),
            of(">i8", true, &[5])
        );
        assert_eq!(
            parse("{'shape': (), 'fortran_order': False, 'descr': '|b1'}"),
            of("|b1", false, &[])
        );
        let structure = "[('a', '<f4'), ('b', '<i4', [2])]";
        assert_eq!(
            parse(&format!("{{'descr': {structure}, 'fortran_order': False, 'shape': (1,)}}")),
            of(structure, false, &[1])
        );
        for wrong in [
            "",
            "{}",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': [[, 'fortran_order': False, 'shape': (3,)}",
            "{'other': 1, 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn columns_become_rows() {
        // [[0, 2, 4], [1, 3, 5]] column by column.
        let data = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(row_major(&[2, 3], &data).unwrap(), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
        assert_eq!(row_major(&[6], &data).unwrap(), data);
        assert_eq!(row_major(&[], &[7.0]).unwrap(), [7.0]);
        assert!(row_major(&[3, 0], &[]).unwrap().is_empty());
    }
}
