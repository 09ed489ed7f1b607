//! The allow-list: the few classes and functions of a checkpoint that stand for data.
//!
//! What they do in PyTorch: `torch/_utils.py` (`_rebuild_*`), `torch/serialization.py`
//! (`persistent_load`). Nothing here is looked up by the name in the file and run; a name either is
//! in one of the lists below or becomes [`Value::Opaque`].

use std::rc::Rc;

use super::super::element::Element;
use super::super::error::Fault;
use super::legacy;
use super::pickle::Nesting;
use super::value::{Heap, LazyTensor, Storage, Value};

/// What the call of `callable` with `arguments` stands for.
pub(super) fn call(
    heap: &mut Heap,
    nesting: Nesting,
    callable: &Value,
    arguments: &Value,
) -> Result<Value, Fault> {
    let Value::Global(name) = callable else {
        // A call of something that a call has made: opaque for certain.
        return Ok(Value::Opaque(callable.kind().into()));
    };
    let arguments = heap.sequence(arguments).unwrap_or_default().to_vec();
    match &**name {
        "collections.OrderedDict"
        | "collections.defaultdict"
        | "collections.Counter"
        | "builtins.dict"
        | "__builtin__.dict" => Ok(dictionary(heap, arguments.last())),
        "torch.Size"
        | "builtins.list"
        | "builtins.tuple"
        | "builtins.set"
        | "builtins.frozenset"
        | "__builtin__.set"
        | "__builtin__.frozenset" => {
            let items = arguments.first().and_then(|value| heap.sequence(value));
            let items = items.unwrap_or_default().to_vec();
            Ok(Value::List(heap.items(items)))
        }
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
            strided(heap, &arguments, None)
        }
        "torch._utils._rebuild_tensor_v3" => {
            let dtype = arguments.get(6);
            strided(heap, &arguments, dtype)
        }
        // The tensor itself comes first; what follows are gradients' flags and hooks.
        "torch._utils._rebuild_parameter"
        | "torch._utils._rebuild_parameter_with_state"
        | "torch._utils._rebuild_device_tensor_from_cpu_tensor"
        | "torch.nn.parameter.Parameter"
        | "torch.nn.parameter.Buffer" => match arguments.first() {
            Some(tensor @ Value::Tensor(_)) => Ok(tensor.clone()),
            _ => Ok(Value::Opaque(name.clone())),
        },
        // Subclasses of Tensor: (function, class, arguments, state).
        "torch._tensor._rebuild_from_type_v2"
        | "torch._tensor._rebuild_from_type"
        | "torch.tensor._rebuild_from_type" => match arguments.as_slice() {
            [inner @ Value::Global(f), _, args, ..] if f.starts_with("torch._utils._") => {
                let (inner, args) = (inner.clone(), args.clone());
                call(heap, nesting, &inner, &args)
            }
            _ => Ok(Value::Opaque(name.clone())),
        },
        // How protocol 2, which has no bytes, writes them: as text of one character per byte.
        "_codecs.encode" => match arguments.as_slice() {
            [Value::Str(text), Value::Str(encoding)] if &**encoding == "latin1" => {
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                let bytes = bytes.ok_or_else(|| Fault::damaged("bytes in its pickle are none"))?;
                Ok(Value::Bytes(bytes.into()))
            }
            _ => Ok(Value::Opaque(name.clone())),
        },
        // A tensor pickled without `torch.save` brings its storage as a file within the file.
        "torch.storage._load_from_bytes" => match arguments.first() {
            Some(Value::Bytes(bytes)) if nesting == Nesting::Outer => legacy::embedded(bytes),
            _ => Ok(Value::Opaque(name.clone())),
        },
        _ => Ok(Value::Opaque(name.clone())),
    }
}

/// `dict(pairs)` and its kin; the pairs are missing mostly, because entries are set afterwards.
fn dictionary(heap: &mut Heap, pairs: Option<&Value>) -> Value {
    let pairs = match pairs {
        Some(Value::Dict(id)) => heap.pairs(*id).to_vec(),
        Some(list) => {
            let items = heap.sequence(list).unwrap_or_default();
            items.iter().filter_map(|item| pair(heap, item)).collect()
        }
        None => Vec::new(),
    };
    heap.dict(pairs)
}

fn pair(heap: &Heap, item: &Value) -> Option<(Value, Value)> {
    match heap.sequence(item)? {
        [key, value] => Some((key.clone(), value.clone())),
        _ => None,
    }
}

/// `_rebuild_tensor*(storage, offset, size, stride, ...)`.
fn strided(heap: &Heap, arguments: &[Value], dtype: Option<&Value>) -> Result<Value, Fault> {
    let [storage, offset, size, stride, ..] = arguments else {
        return Err(Fault::damaged("a tensor in its pickle lacks arguments"));
    };
    let Value::Storage(storage) = storage else {
        // A storage of a kind that is not known, such as that of a quantised tensor.
        return Ok(Value::Opaque(storage.kind().into()));
    };
    let element = match dtype {
        Some(Value::Global(name)) => dtype_by_name(name),
        _ => storage.element.clone(),
    };
    let tensor = LazyTensor {
        storage: storage.clone(),
        element,
        offset: number(offset)?,
        shape: numbers(heap, size)?,
        strides: numbers(heap, stride)?,
    };
    if tensor.shape.len() != tensor.strides.len() {
        return Err(Fault::damaged("a tensor in its pickle has more sizes than strides"));
    }
    Ok(Value::Tensor(Rc::new(tensor)))
}

fn number(value: &Value) -> Result<u64, Fault> {
    match value {
        Value::Int(n) if *n >= 0 => Ok(n.unsigned_abs()),
        _ => Err(Fault::damaged("a size in its pickle is no size")),
    }
}

fn numbers(heap: &Heap, value: &Value) -> Result<Vec<u64>, Fault> {
    let items = heap.sequence(value);
    let items = items.ok_or_else(|| Fault::damaged("a shape in its pickle is no shape"))?;
    items.iter().map(number).collect()
}

/// `persistent_load`: `("storage", class, key, device, length)`, in files without zip with a sixth
/// entry, `None` or `(key, start, length)` of a part.
pub(super) fn persistent(heap: &mut Heap, id: &Value) -> Result<Value, Fault> {
    let items = heap.sequence(id).unwrap_or_default();
    match items {
        [Value::Str(kind), Value::Global(class), key, _device, length, rest @ ..]
            if &**kind == "storage" =>
        {
            let key: Rc<str> = match key {
                Value::Str(key) => key.clone(),
                // Very old files number their storages.
                Value::Int(key) => key.to_string().into(),
                _ => return Err(Fault::damaged("a storage in its pickle has no key")),
            };
            let (start, len) = match rest.first().and_then(|part| heap.sequence(part)) {
                Some([_, start, len]) => (number(start)?, number(len)?),
                _ => (0, number(length)?),
            };
            let (element, width) = storage_class(class);
            Ok(heap.storage(Storage { key, element, width, len, start, embedded: None }))
        }
        // A module with its source code, as `torch.save(model)` wrote it.
        [Value::Str(kind), module, ..] if &**kind == "module" => {
            Ok(Value::Opaque(module.kind().into()))
        }
        _ => Err(Fault::damaged("its pickle refers to something other than a storage")),
    }
}

/// What a storage class holds, and the bytes of one value. Tensors on the untyped one bring their
/// type with them.
fn storage_class(class: &Rc<str>) -> (Result<Element, Rc<str>>, u64) {
    let known = match class.strip_prefix("torch.").and_then(|name| name.rsplit('.').next()) {
        Some("DoubleStorage") => Ok(Element::F64),
        Some("FloatStorage") => Ok(Element::F32),
        Some("HalfStorage") => Ok(Element::F16),
        Some("BFloat16Storage") => Ok(Element::Bf16),
        Some("LongStorage") => Ok(Element::I64),
        Some("IntStorage") => Ok(Element::I32),
        Some("ShortStorage") => Ok(Element::I16),
        Some("CharStorage") => Ok(Element::I8),
        Some("ByteStorage" | "UntypedStorage") => Ok(Element::U8),
        Some("BoolStorage") => Ok(Element::Bool),
        Some("ComplexDoubleStorage") => Err(16),
        Some("ComplexFloatStorage") => Err(8),
        Some("QInt32Storage") => Err(4),
        Some("QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage") => Err(1),
        _ => Err(0),
    };
    match known {
        Ok(element) => (Ok(element), element.size() as u64),
        Err(width) => (Err(class.clone()), width),
    }
}

fn dtype_by_name(name: &Rc<str>) -> Result<Element, Rc<str>> {
    Ok(match &**name {
        "torch.float64" => Element::F64,
        "torch.float32" => Element::F32,
        "torch.float16" => Element::F16,
        "torch.bfloat16" => Element::Bf16,
        "torch.int64" => Element::I64,
        "torch.int32" => Element::I32,
        "torch.int16" => Element::I16,
        "torch.int8" => Element::I8,
        "torch.uint64" => Element::U64,
        "torch.uint32" => Element::U32,
        "torch.uint16" => Element::U16,
        "torch.uint8" => Element::U8,
        "torch.bool" => Element::Bool,
        _ => return Err(name.clone()),
    })
}
