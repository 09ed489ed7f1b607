//! What a pickle builds here: plain data, tensors that are not read yet, and inert marks.

use std::rc::Rc;

use super::super::element::Element;

/// A value of a pickle. Containers live in a [`Heap`], because Python shares them and may let them
/// contain themselves.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, two's complement, lowest byte first.
    Long(Rc<[u8]>),
    Float(f64),
    Str(Rc<str>),
    Bytes(Rc<[u8]>),
    /// Lists and sets.
    List(Id),
    Tuple(Id),
    Dict(Id),
    /// `module.name` of a class or function, not called.
    Global(Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<LazyTensor>),
    /// What a class or function outside the allow-list would have made: its name, and no more.
    Opaque(Rc<str>),
}

/// A place in the [`Heap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(usize);

/// Memory of a tensor, shared by its views.
#[derive(Debug)]
pub(super) struct Storage {
    /// Its name in the file.
    pub(super) key: Rc<str>,
    /// How it is stored, or the name of a type without an `f32` meaning.
    pub(super) element: Result<Element, Rc<str>>,
    /// Bytes of one value; 0 where the type is not known.
    pub(super) width: u64,
    /// Number of values.
    pub(super) len: u64,
    /// Where it starts in the memory `key`, in values; other than 0 in very old files only.
    pub(super) start: u64,
    /// The bytes themselves, when the pickle holds them.
    pub(super) embedded: Option<Rc<[u8]>>,
}

/// A view of a storage.
#[derive(Debug)]
pub(super) struct LazyTensor {
    pub(super) storage: Rc<Storage>,
    /// How the view reads the storage; may differ from the storage's own type.
    pub(super) element: Result<Element, Rc<str>>,
    /// First value, in values.
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    /// Steps between neighbours along each axis, in values.
    pub(super) strides: Vec<u64>,
}

/// All containers and storages of a pickle.
#[derive(Debug, Default)]
pub(super) struct Heap {
    containers: Vec<Container>,
    storages: Vec<Rc<Storage>>,
}

#[derive(Debug)]
enum Container {
    Items(Vec<Value>),
    Pairs(Vec<(Value, Value)>),
}

impl Storage {
    /// The type, for messages.
    pub(super) fn kind(&self) -> String {
        self.element.as_ref().map_or_else(ToString::to_string, |element| format!("{element:?}"))
    }
}

impl Heap {
    pub(super) fn storage(&mut self, storage: Storage) -> Value {
        let storage = Rc::new(storage);
        self.storages.push(storage.clone());
        Value::Storage(storage)
    }

    /// Every storage the pickle refers to, as often as it does.
    pub(super) fn storages(&self) -> &[Rc<Storage>] {
        &self.storages
    }

    pub(super) fn items(&mut self, items: Vec<Value>) -> Id {
        self.containers.push(Container::Items(items));
        Id(self.containers.len() - 1)
    }

    pub(super) fn dict(&mut self, pairs: Vec<(Value, Value)>) -> Value {
        self.containers.push(Container::Pairs(pairs));
        Value::Dict(Id(self.containers.len() - 1))
    }

    /// The items of a list or tuple; nothing for a dictionary.
    pub(super) fn list(&self, id: Id) -> &[Value] {
        match &self.containers[id.0] {
            Container::Items(items) => items,
            Container::Pairs(_) => &[],
        }
    }

    /// The entries of a dictionary, in the order of insertion, a repeated key as often as it was
    /// set; nothing for a list.
    pub(super) fn pairs(&self, id: Id) -> &[(Value, Value)] {
        match &self.containers[id.0] {
            Container::Pairs(pairs) => pairs,
            Container::Items(_) => &[],
        }
    }

    pub(super) fn items_mut(&mut self, id: Id) -> Option<&mut Vec<Value>> {
        match &mut self.containers[id.0] {
            Container::Items(items) => Some(items),
            Container::Pairs(_) => None,
        }
    }

    pub(super) fn pairs_mut(&mut self, id: Id) -> Option<&mut Vec<(Value, Value)>> {
        match &mut self.containers[id.0] {
            Container::Pairs(pairs) => Some(pairs),
            Container::Items(_) => None,
        }
    }

    /// The items of a value that is a list or a tuple.
    pub(super) fn sequence(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::List(id) | Value::Tuple(id) => Some(self.list(*id)),
            _ => None,
        }
    }
}

impl Value {
    /// What a reader of the file would call it, for messages.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::None => "None".into(),
            Self::Bool(_) => "a truth value".into(),
            Self::Int(_) | Self::Long(_) => "an integer".into(),
            Self::Float(_) => "a number".into(),
            Self::Str(_) => "a string".into(),
            Self::Bytes(_) => "bytes".into(),
            Self::List(_) => "a list".into(),
            Self::Tuple(_) => "a tuple".into(),
            Self::Dict(_) => "a dictionary".into(),
            Self::Storage(_) => "a storage".into(),
            Self::Tensor(_) => "a tensor".into(),
            Self::Global(name) | Self::Opaque(name) => name.to_string(),
        }
    }
}
