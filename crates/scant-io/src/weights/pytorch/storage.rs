//! From the memory of tensors to tensors: strides, offsets and sharing undone.

use std::collections::BTreeMap;
use std::rc::Rc;

use scant_core::HostTensor;

use super::super::element::{Budget, ByteOrder, host_shape};
use super::super::error::Fault;
use super::super::source::out_of_memory;
use super::checkpoint::Named;
use super::value::{LazyTensor, Storage};

/// The tensors to be read, sorted by the storage that each needs, so that a storage is read once
/// however many tensors share it.
pub(super) struct Wanted {
    tensors: Vec<Named>,
    by_storage: BTreeMap<Rc<str>, Vec<usize>>,
    done: Vec<Option<HostTensor>>,
}

impl Wanted {
    /// Checks sizes and bounds of all tensors, before the first value is read.
    pub(super) fn new(tensors: Vec<Named>, budget: &mut Budget) -> Result<Self, Fault> {
        let mut by_storage: BTreeMap<Rc<str>, Vec<usize>> = BTreeMap::new();
        for (position, Named { name, tensor }) in tensors.iter().enumerate() {
            let count = budget.take(name, &tensor.shape)?;
            check_bounds(name, tensor)?;
            // An empty tensor may have no storage at all.
            if count > 0 {
                by_storage.entry(tensor.storage.key.clone()).or_default().push(position);
            }
        }
        let done = vec![None; tensors.len()];
        Ok(Self { tensors, by_storage, done })
    }

    /// The keys of the storages that are needed and not in the pickle itself, and how many bytes
    /// each must have.
    pub(super) fn keys(&self) -> Vec<(Rc<str>, u64)> {
        let bytes = |positions: &[usize]| {
            let storages = positions.iter().map(|&at| &*self.tensors[at].tensor.storage);
            storages.map(end_in_bytes).max().unwrap_or(0)
        };
        self.by_storage.iter().map(|(key, at)| (key.clone(), bytes(at))).collect()
    }

    /// Whether a storage is needed.
    pub(super) fn needs(&self, key: &str) -> bool {
        self.by_storage.contains_key(key)
    }

    /// Makes the tensors of a storage from its bytes.
    pub(super) fn fill(&mut self, key: &str, bytes: &[u8], order: ByteOrder) -> Result<(), Fault> {
        for position in self.by_storage.remove(key).unwrap_or_default() {
            let Named { name, tensor } = &self.tensors[position];
            self.done[position] = Some(assemble(name, tensor, bytes, order)?);
        }
        Ok(())
    }

    /// Makes the tensors whose storage the pickle itself holds.
    pub(super) fn fill_embedded(&mut self) -> Result<(), Fault> {
        for (position, Named { name, tensor }) in self.tensors.iter().enumerate() {
            if let Some(bytes) = &tensor.storage.embedded {
                self.done[position] = Some(assemble(name, tensor, bytes, ByteOrder::Little)?);
                self.by_storage.remove(&tensor.storage.key);
            }
        }
        Ok(())
    }

    /// The tensors in their first order.
    pub(super) fn finish(self) -> Result<Vec<(String, HostTensor)>, Fault> {
        if let Some(key) = self.by_storage.keys().next() {
            return Err(Fault::damaged(format!("the values of storage \"{key}\" are missing")));
        }
        let mut out = Vec::with_capacity(self.tensors.len());
        for (Named { name, tensor }, done) in self.tensors.into_iter().zip(self.done) {
            let done = match done {
                Some(done) => done,
                None => HostTensor { shape: host_shape(&tensor.shape)?, data: Vec::new() },
            };
            out.push((name, done));
        }
        Ok(out)
    }
}

/// Bytes up to the end of a storage, from the start of the memory it is a part of.
fn end_in_bytes(storage: &Storage) -> u64 {
    storage.start.saturating_add(storage.len).saturating_mul(storage.width)
}

/// A tensor must lie within its storage.
fn check_bounds(name: &str, tensor: &LazyTensor) -> Result<(), Fault> {
    if tensor.shape.contains(&0) {
        return Ok(());
    }
    let size = tensor.element.as_ref().map_or(1, |element| element.size() as u64);
    let last = tensor
        .shape
        .iter()
        .zip(&tensor.strides)
        .try_fold(tensor.offset, |at, (n, step)| at.checked_add((n - 1).checked_mul(*step)?));
    let end = last.and_then(|last| last.checked_add(1)?.checked_mul(size));
    let held = tensor.storage.len.saturating_mul(tensor.storage.width);
    match end {
        Some(end) if end <= held => Ok(()),
        _ => Err(Fault::damaged(format!("tensor \"{name}\" reaches beyond its storage"))),
    }
}

/// A row-major copy of a tensor from the bytes of the memory it is in.
fn assemble(
    name: &str,
    tensor: &LazyTensor,
    memory: &[u8],
    order: ByteOrder,
) -> Result<HostTensor, Fault> {
    let short = || Fault::damaged(format!("the storage of tensor \"{name}\" is too short"));
    let Ok(element) = tensor.element else {
        return Err(Fault::damaged(format!("tensor \"{name}\" has no element type")));
    };
    let size = element.size();
    let shape = host_shape(&tensor.shape)?;
    let strides = host_shape(&tensor.strides)?;
    let start = tensor.storage.start.saturating_mul(tensor.storage.width);
    let offset = tensor.offset.saturating_mul(size as u64).saturating_add(start);
    let start = usize::try_from(offset).map_err(|_| short())?;
    let memory = memory.get(start..).ok_or_else(short)?;
    let count: usize = shape.iter().product();
    if is_row_major(&shape, &strides) {
        let bytes = memory.get(..count * size).ok_or_else(short)?;
        return Ok(HostTensor { shape, data: element.decode(order, bytes)? });
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count * size).map_err(|_| out_of_memory())?;
    // An odometer: the last axis turns fastest, `at` follows in the storage.
    let mut turns = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..count {
        bytes.extend_from_slice(memory.get(at * size..(at + 1) * size).ok_or_else(short)?);
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
    Ok(HostTensor { shape, data: element.decode(order, &bytes)? })
}

/// Whether values lie one after the other; the stride of an axis of size 1 does not matter.
fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (&size, &stride) in shape.iter().zip(strides).rev() {
        if size != 1 && stride != expected {
            return false;
        }
        expected *= size;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::super::element::Element;
    use super::*;

    fn tensor(offset: u64, shape: &[u64], strides: &[u64], len: u64) -> LazyTensor {
        let element = Ok(Element::U8);
        let storage =
            Rc::new(Storage { key: "0".into(), element, width: 1, len, start: 0, embedded: None });
        LazyTensor {
            storage,
            element: Ok(Element::U8),
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        }
    }

    #[test]
    fn strides_and_offsets_are_followed() {
        let memory: Vec<u8> = (0..12).collect();
        let values = |t: &LazyTensor| assemble("t", t, &memory, ByteOrder::Little).unwrap().data;
        // [[1, 5], [2, 6], [3, 7]]: columns 1 to 3 of the first two rows of a 3 x 4 matrix, transposed.
        assert_eq!(values(&tensor(1, &[3, 2], &[1, 4], 12)), [1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
        assert_eq!(values(&tensor(2, &[2, 2], &[0, 1], 12)), [2.0, 3.0, 2.0, 3.0], "expanded");
        assert_eq!(values(&tensor(4, &[1, 3], &[99, 1], 12)), [4.0, 5.0, 6.0]);
        assert_eq!(values(&tensor(11, &[], &[], 12)), [11.0]);
    }

    #[test]
    fn a_tensor_lies_within_its_storage() {
        let ends = |offset, shape: &[u64], strides: &[u64]| {
            check_bounds("t", &tensor(offset, shape, strides, 12)).is_ok()
        };
        assert!(ends(0, &[3, 4], &[4, 1]));
        assert!(!ends(1, &[3, 4], &[4, 1]));
        assert!(!ends(0, &[2, 2], &[11, 1]));
        assert!(!ends(u64::MAX, &[1], &[1]));
        assert!(!ends(0, &[u64::MAX], &[u64::MAX]));
        assert!(ends(u64::MAX, &[0, 3], &[1, 1]), "an empty tensor reads nothing");
    }
}
