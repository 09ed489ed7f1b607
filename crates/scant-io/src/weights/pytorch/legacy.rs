//! `torch.save` without zip, the format before PyTorch 1.6: pickles one after the other, then the
//! storages.
//!
//! Format: `_legacy_save` in `torch/serialization.py`. A magic number, a protocol number, facts
//! about the machine, the object, and the keys of the storages, each a pickle of its own; then each
//! storage as its number of values (8 bytes) and its values, always little-endian.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::rc::Rc;

use super::super::element::ByteOrder;
use super::super::error::Fault;
use super::super::source::read_exactly;
use super::pickle::{self, Nesting, Pickle};
use super::storage::Wanted;
use super::value::{Heap, Storage, Value};

/// `0x1950a86a20f9469cfc6c`, lowest byte first.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// The object of a file, and whether storages follow: a plain `pickle.dump` has none.
pub(super) fn object(
    mut input: &mut dyn Read,
    limit: u64,
    nesting: Nesting,
) -> Result<(Pickle, bool), Fault> {
    let first = pickle::read(&mut input, limit, nesting)?;
    if !matches!(&first.root, Value::Long(number) if **number == MAGIC) {
        return Ok((first, false));
    }
    let protocol = pickle::read(&mut input, limit, Nesting::Inner)?;
    if !matches!(protocol.root, Value::Int(PROTOCOL)) {
        return Err(Fault::unsupported(
            format!("protocol {} of torch.save", protocol.root.kind()),
            "load the file in PyTorch and save it again",
        ));
    }
    // Facts about the machine that wrote it; the storages do not depend on them.
    pickle::read(&mut input, limit, Nesting::Inner)?;
    Ok((pickle::read(&mut input, limit, nesting)?, true))
}

/// Reads the storages that are wanted, of those that follow the object.
pub(super) fn storages<R: Read + Seek>(
    input: &mut R,
    len: u64,
    limit: u64,
    heap: &Heap,
    wanted: &mut Wanted,
) -> Result<(), Fault> {
    let keys = pickle::read(input, limit, Nesting::Inner)?;
    let known: HashMap<&str, &Storage> =
        heap.storages().iter().map(|storage| (&*storage.key, &**storage)).collect();
    for key in keys.heap.sequence(&keys.root).unwrap_or_default() {
        let key = storage_key(key)?;
        let Some(storage) = known.get(&*key) else {
            return Err(Fault::damaged(format!("nothing is known of storage \"{key}\"")));
        };
        let mut count = [0; 8];
        input.read_exact(&mut count)?;
        let bytes = u64::from_le_bytes(count).checked_mul(storage.width);
        let end = bytes.and_then(|bytes| input.stream_position().ok()?.checked_add(bytes));
        let (Some(bytes), Some(end)) = (bytes, end.filter(|&end| end <= len)) else {
            return Err(Fault::damaged("it ends too early"));
        };
        if wanted.needs(&key) {
            wanted.fill(&key, &read_exactly(input, bytes)?, ByteOrder::Little)?;
        } else if storage.width == 0 {
            return Err(Fault::unsupported(
                format!("a storage of type {}", storage.kind()),
                "load the file in PyTorch and save the state dict with torch.save",
            ));
        } else {
            input.seek(SeekFrom::Start(end))?;
        }
    }
    Ok(())
}

/// `torch.storage._load_from_bytes`: a storage as a whole file within a pickle.
pub(super) fn embedded(bytes: &Rc<[u8]>) -> Result<Value, Fault> {
    let broken = || Fault::damaged("a storage within its pickle is broken");
    let limit = bytes.len() as u64;
    let mut rest: &[u8] = bytes;
    let (object, true) = object(&mut rest, limit, Nesting::Inner)? else { return Err(broken()) };
    let Value::Storage(storage) = &object.root else { return Err(broken()) };
    let keys = pickle::read(&mut rest, limit, Nesting::Inner)?;
    if keys.heap.sequence(&keys.root).is_none_or(|keys| keys.len() != 1) {
        return Err(broken());
    }
    let (count, values) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
    let held = u64::from_le_bytes(*count).checked_mul(storage.width);
    let len = held.and_then(|n| usize::try_from(n).ok()).ok_or_else(broken)?;
    let values = values.get(..len).ok_or_else(broken)?;
    let end = storage.start.checked_add(storage.len).and_then(|n| n.checked_mul(storage.width));
    if end.is_none_or(|end| end > len as u64) {
        return Err(broken());
    }
    Ok(Value::Storage(Rc::new(Storage {
        key: storage.key.clone(),
        element: storage.element.clone(),
        len: storage.len,
        width: storage.width,
        start: storage.start,
        embedded: Some(values.into()),
    })))
}

fn storage_key(value: &Value) -> Result<Rc<str>, Fault> {
    match value {
        Value::Str(key) => Ok(key.clone()),
        Value::Int(key) => Ok(key.to_string().into()),
        _ => Err(Fault::damaged("a storage has no key")),
    }
}
