use super::*;

const LIMIT: u64 = 1 << 20;

fn unpickled(bytes: &[u8]) -> Result<Pickle, Fault> {
    let mut input = bytes;
    read(&mut input, LIMIT, Nesting::Outer)
}

/// The value in Python's notation, as far as the tests need it.
fn shown(pickle: &Pickle, value: &Value) -> String {
    let list = |items: &[Value]| {
        items.iter().map(|item| shown(pickle, item)).collect::<Vec<_>>().join(", ")
    };
    match value {
        Value::None => "None".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Long(bytes) => format!("long of {} bytes", bytes.len()),
        Value::Float(x) => x.to_string(),
        Value::Str(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{bytes:?}"),
        Value::List(id) => format!("[{}]", list(pickle.heap.list(*id))),
        Value::Tuple(id) => format!("({})", list(pickle.heap.list(*id))),
        Value::Dict(id) => {
            let pairs = pickle.heap.pairs(*id).iter();
            let pairs = pairs.map(|(k, v)| format!("{}: {}", shown(pickle, k), shown(pickle, v)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Global(name) => format!("<{name}>"),
        Value::Storage(storage) => {
            format!("storage {} {} {} {}", storage.key, storage.kind(), storage.start, storage.len)
        }
        Value::Tensor(t) => format!("tensor {:?} {:?} at {}", t.shape, t.strides, t.offset),
        Value::Opaque(name) => format!("opaque {name}"),
    }
}

fn result(bytes: &[u8]) -> String {
    let pickle = unpickled(bytes).unwrap();
    shown(&pickle, &pickle.root)
}

#[test]
fn numbers_are_read_as_python_reads_them() {
    assert_eq!(result(b"K\xff."), "255");
    assert_eq!(result(b"M\x01\x02."), "513");
    assert_eq!(result(b"J\xfe\xff\xff\xff."), "-2");
    assert_eq!(result(b"\x8a\x00."), "0");
    assert_eq!(result(b"\x8a\x01\xff."), "-1");
    assert_eq!(result(b"\x8a\x02\xff\x00."), "255");
    assert_eq!(result(b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."), i64::MIN.to_string());
    assert_eq!(result(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00."), "long of 9 bytes");
    assert_eq!(result(b"I-7\n."), "-7");
    assert_eq!(result(b"I01\n."), "true");
    assert_eq!(result(b"L123L\n."), "123");
    assert_eq!(result(b"G\x3f\xf8\x00\x00\x00\x00\x00\x00."), "1.5");
    assert_eq!(result(b"F-0.25\n."), "-0.25");
    assert!(unpickled(b"Inine\n.").is_err());
}

#[test]
fn containers_fill_after_they_are_remembered() {
    // pickle.dumps({"a": [1, (2, 3)], "b": set()}, 4), by hand.
    let bytes = b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a]\x94(K\x01K\x02K\x03\x86\x94e\
                  \x8c\x01b\x8f\x94u.";
    assert_eq!(result(bytes), r#"{"a": [1, (2, 3)], "b": []}"#);
    // x = [None]; [x, x], with protocol 2: the memo holds x itself, not a copy.
    assert_eq!(result(b"](]q\x00h\x00e0h\x00Na."), "[None]");
    assert_eq!(result(b"(K\x01K\x02d."), "{1: 2}");
    assert_eq!(result(b"(K\x01K\x02l."), "[1, 2]");
    assert_eq!(result(b"K\x012\x86."), "(1, 1)");
    assert_eq!(result(b"K\x05(K\x06K\x071."), "5");
    assert_eq!(result(b"K\x05(0."), "5", "POP takes a mark");
}

#[test]
fn unknown_classes_are_opaque_however_they_are_called() {
    // REDUCE, NEWOBJ, NEWOBJ_EX, INST, OBJ, an extension, and a call of what a call returned.
    assert_eq!(result(b"cos\nsystem\n(X\x02\x00\x00\x00lstR."), "opaque os.system");
    assert_eq!(result(b"cos\nsystem\n)\x81."), "opaque os.system");
    assert_eq!(result(b"cos\nsystem\n)}\x92."), "opaque os.system");
    assert_eq!(result(b"(X\x02\x00\x00\x00lsios\nsystem\n."), "opaque os.system");
    assert_eq!(result(b"(cos\nsystem\nX\x02\x00\x00\x00lso."), "opaque os.system");
    assert_eq!(result(b"\x82\x07)R."), "opaque extension 7");
    assert_eq!(result(b"cbuiltins\ngetattr\n)R)R."), "opaque builtins.getattr");
    assert_eq!(result(b"\x8c\x02os\x8c\x06system\x93)R."), "opaque os.system");
    // State, items and appended values of opaque objects vanish.
    assert_eq!(result(b"ca\nb\n)\x81}b(K\x01K\x02uK\x03a."), "opaque a.b");
    // The names of the allow-list are whole names.
    assert_eq!(
        result(b"cevil.collections\nOrderedDict\n)R."),
        "opaque evil.collections.OrderedDict"
    );
}

#[test]
fn ordered_dictionaries_are_dictionaries() {
    assert_eq!(result(b"ccollections\nOrderedDict\n)RK\x01K\x02s."), "{1: 2}");
    assert_eq!(result(b"ccollections\nOrderedDict\n((K\x01K\x02l\x85l\x85R."), "{}", "no pairs");
    assert_eq!(result(b"ccollections\nOrderedDict\n(((K\x01K\x02lltR."), "{1: 2}", "Python 2");
}

#[test]
fn tensors_and_storages_are_noted() {
    let storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x0c";
    let mut bytes = storage.to_vec();
    bytes.extend(b"tQ.");
    assert_eq!(result(&bytes), "storage 0 F32 0 12");
    // Before 0.4 a storage could be a part of another.
    let mut bytes = storage.to_vec();
    bytes.extend(b"(X\x01\x00\x00\x001K\x02K\x05ttQ.");
    assert_eq!(result(&bytes), "storage 0 F32 2 5");
    let mut bytes = b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    bytes.extend(storage);
    bytes.extend(b"tQK\x01K\x02K\x03\x86K\x03K\x01\x86\x89NtR.");
    assert_eq!(result(&bytes), "tensor [2, 3] [3, 1] at 1");
    // A shape that is none, sizes that are negative, and a persistent object of another kind.
    assert!(unpickled(b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01R.").is_err());
    let mut bytes = b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    bytes.extend(storage);
    bytes.extend(b"tQK\x01J\xff\xff\xff\xff\x85K\x01\x85\x89NtR.");
    assert!(unpickled(&bytes).is_err());
    assert!(unpickled(b"X\x05\x00\x00\x00otherQ.").is_err());
}

#[test]
fn broken_pickles_are_refused() {
    for bytes in [
        &b""[..],
        b".",
        b"K",
        b"0.",
        b"1.",
        b"a.",
        b"K\x01K\x02a.",
        b"K\x01K\x02K\x03s.",
        b"}(K\x01u.",
        b"h\x05.",
        b"q\x00.",
        b"\x85.",
        b"(\x85.",
        b"K\x01(\x86.",
        b"K\x01K\x02\x93.",
        b"R.",
        b"\xff.",
        b"X\xff\xff\xff\x7fa.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
        b"cno end of line",
    ] {
        let e = unpickled(bytes).err().unwrap_or_else(|| panic!("{bytes:?}"));
        assert!(matches!(e, Fault::Damaged(_) | Fault::TooLarge(_)), "{bytes:?}: {e}");
    }
    assert!(matches!(unpickled(b"Pid\n.").err().unwrap(), Fault::Unsupported { .. }));
}

#[test]
fn hostile_pickles_exhaust_nothing() {
    // Depth: containers within containers need no stack, neither to make nor to drop.
    let mut deep = b")".to_vec();
    deep.extend(std::iter::repeat_n(0x85, 500_000));
    deep.push(b'.');
    assert!(unpickled(&deep).is_ok());
    // A list that contains itself.
    let pickle = unpickled(b"]q\x00h\x00a.").unwrap();
    let Value::List(id) = pickle.root else { panic!() };
    assert!(matches!(pickle.heap.list(id), [Value::List(inner)] if *inner == id));
    // Number of values and number of bytes.
    let many = vec![b'N'; MAX_VALUES + 2];
    let mut input = many.as_slice();
    let e = read(&mut input, u64::MAX, Nesting::Outer).err().unwrap();
    assert!(matches!(e, Fault::TooLarge(_)), "{e}");
    let long = vec![b'N'; LIMIT as usize + 1];
    assert!(matches!(unpickled(&long).err().unwrap(), Fault::TooLarge(_)));
}
