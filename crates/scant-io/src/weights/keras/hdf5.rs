//! HDF5 by way of the crate `hdf5-reader`: limits, types and errors in the terms of this room.
//!
//! `hdf5-reader` is written in Rust alone, reads and does not write, checks bounds, cycles and sizes,
//! and is tested by its authors against the C library. Its memory maps are not used.

use std::sync::Arc;

use hdf5_reader::error::Error;
use hdf5_reader::group::Group;
use hdf5_reader::{ByteOrder as Hdf5Order, Dataset, Datatype, FileStorage, Hdf5File, OpenOptions};
use scant_core::HostTensor;

use super::super::WeightLimits;
use super::super::element::{Budget, ByteOrder, Element, host_shape};
use super::super::error::Fault;
use super::super::source::Source;

pub(super) fn on_disk(source: Source, limits: &WeightLimits) -> Result<Hdf5File, Fault> {
    let storage = FileStorage::from_file(source.into_file()).map_err(fault)?;
    Hdf5File::from_storage_with_options(Arc::new(storage), options(limits)).map_err(fault)
}

pub(super) fn in_memory(bytes: Vec<u8>, limits: &WeightLimits) -> Result<Hdf5File, Fault> {
    Hdf5File::from_vec_with_options(bytes, options(limits)).map_err(fault)
}

pub(super) fn root(file: Hdf5File) -> Result<Group, Fault> {
    // The file knows its length. Without the comparison a file that was cut off would be missed
    // where the lost end held something that is not asked for.
    let (said, is) = (file.superblock().eof_address, file.storage().len());
    if is < said {
        return Err(Fault::damaged(format!(
            "as an HDF5 file it should have {said} bytes and ends after {is}"
        )));
    }
    file.root_group().map_err(fault)
}

fn options(limits: &WeightLimits) -> OpenOptions {
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    OpenOptions::default()
        .with_max_read_bytes(bytes(limits.max_values.saturating_mul(8)))
        .with_max_object_header_bytes(bytes(limits.max_header_bytes))
}

/// An attribute that is a list of strings. Keras splits those beyond 64 KiB into `name0`, `name1`,
/// ..., because HDF5 allows no larger ones.
pub(super) fn strings(group: &Group, name: &str) -> Result<Option<Vec<String>>, Fault> {
    let attributes = group.attributes().map_err(fault)?;
    let read = |name: &str| -> Result<Option<Vec<String>>, Fault> {
        let Some(attribute) = attributes.iter().find(|a| a.name == name) else { return Ok(None) };
        // An empty list has no strings and so no type of string: it is stored as no numbers.
        if attribute.num_elements().map_err(fault)? == 0 {
            return Ok(Some(Vec::new()));
        }
        attribute.read_strings().map(Some).map_err(fault)
    };
    if let Some(whole) = read(name)? {
        return Ok(Some(whole));
    }
    let mut parts = Vec::new();
    for part in 0.. {
        match read(&format!("{name}{part}"))? {
            Some(mut strings) => parts.append(&mut strings),
            None if part == 0 => return Ok(None),
            None => break,
        }
    }
    Ok(Some(parts))
}

/// The dataset at a path of names within a group. Names of TensorFlow hold slashes, and so does the
/// path in the file.
pub(super) fn dataset(group: &Group, path: &str) -> Result<Dataset, Fault> {
    let mut names = path.split('/').filter(|name| !name.is_empty());
    let last = names.next_back().unwrap_or_default();
    let mut group = group.clone();
    for name in names {
        group = group.group(name).map_err(|e| missing(path, e))?;
    }
    group.dataset(last).map_err(|e| missing(path, e))
}

/// The group at a path of names within a group.
pub(super) fn group(group: &Group, path: &str) -> Result<Group, Fault> {
    let mut group = group.clone();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        group = group.group(name).map_err(|e| missing(path, e))?;
    }
    Ok(group)
}

fn missing(path: &str, e: Error) -> Fault {
    match e {
        Error::GroupNotFound(_) | Error::DatasetNotFound(_) => {
            Fault::damaged(format!("it lists \"{path}\", which is missing"))
        }
        other => fault(other),
    }
}

/// The values of a dataset, or the name of its type where that has no `f32` meaning.
pub(super) fn tensor(
    dataset: &Dataset,
    name: &str,
    budget: &mut Budget,
) -> Result<Result<HostTensor, String>, Fault> {
    let Some((element, order)) = element(dataset) else {
        return Ok(Err(format!("{:?}", dataset.dtype())));
    };
    budget.take(name, dataset.shape())?;
    let bytes = dataset.read_raw_bytes().map_err(fault)?;
    let shape = host_shape(dataset.shape())?;
    let data = element.decode(order, &bytes)?;
    if data.len() != shape.iter().product::<usize>() {
        return Err(Fault::damaged(format!("variable \"{name}\" has too few values")));
    }
    Ok(Ok(HostTensor { shape, data }))
}

fn element(dataset: &Dataset) -> Option<(Element, ByteOrder)> {
    let order = |order: &Hdf5Order| match order {
        Hdf5Order::LittleEndian => ByteOrder::Little,
        Hdf5Order::BigEndian => ByteOrder::Big,
    };
    match dataset.dtype() {
        Datatype::FloatingPoint { size, byte_order } => {
            let element = match size {
                8 => Element::F64,
                4 => Element::F32,
                2 => Element::F16,
                _ => return None,
            };
            Some((element, order(byte_order)))
        }
        Datatype::FixedPoint { size, signed, byte_order } => {
            let element = match (size, signed) {
                (8, true) => Element::I64,
                (4, true) => Element::I32,
                (2, true) => Element::I16,
                (1, true) => Element::I8,
                (8, false) => Element::U64,
                (4, false) => Element::U32,
                (2, false) => Element::U16,
                (1, false) => Element::U8,
                _ => return None,
            };
            Some((element, order(byte_order)))
        }
        // How h5py stores truth values.
        Datatype::Enum { base, .. } if matches!(**base, Datatype::FixedPoint { size: 1, .. }) => {
            Some((Element::Bool, ByteOrder::Little))
        }
        // HDF5 had no bfloat16; Keras stores two bytes and says in an attribute what they are.
        Datatype::Opaque { size: 2, .. } => {
            let attribute = dataset.attribute("dtype").ok()?;
            let is_bf16 = attribute.read_string().is_ok_and(|name| name == "bfloat16");
            is_bf16.then_some((Element::Bf16, ByteOrder::Little))
        }
        _ => None,
    }
}

/// Sorts an error of the HDF5 reader.
pub(super) fn fault(e: Error) -> Fault {
    match e {
        Error::Context { source, .. } => fault(*source),
        Error::Io(e) => Fault::from(e),
        Error::UnexpectedEof { .. } | Error::OffsetOutOfBounds(_) => {
            Fault::damaged(format!("as an HDF5 file it ends too early ({e})"))
        }
        Error::ResourceLimit(what) => Fault::TooLarge(format!("as an HDF5 file, {what}")),
        Error::UnsupportedFilter(what) | Error::UnsupportedEncoding(what) => Fault::unsupported(
            format!("this kind of HDF5 file ({what})"),
            "pack it again with h5repack -f NONE, or save it again with Keras",
        ),
        other => Fault::damaged(format!("as an HDF5 file: {other}")),
    }
}
