//! Where in a checkpoint the state dict is, and what of the rest is plain data.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use serde_json::{Map, Number, Value as Json};

use super::super::error::Fault;
use super::pickle::Pickle;
use super::value::{Heap, Id, LazyTensor, Value};

/// Keys under which programs keep the state dict, in the order in which they are tried.
/// `network_weights` is nnU-Net's.
const USUAL_KEYS: [&str; 8] = [
    "state_dict",
    "model_state_dict",
    "model",
    "network_weights",
    "net",
    "network",
    "weights",
    "params",
];

/// How deep below the checkpoint a state dict is looked for.
const SEARCH_DEPTH: usize = 3;

/// How many entries of one depth are looked at.
const MAX_OPEN: usize = 10_000;

/// Values and bytes of text of one entry of the metadata, and of all together. Lists that share
/// their items are small in a pickle and endless in JSON.
const PLAIN_ENTRY: Room = Room { values: 100_000, text: 1 << 20 };
const PLAIN_TOTAL: Room = Room { values: 1_000_000, text: 16 << 20 };
const PLAIN_DEPTH: usize = 32;

/// How many entries that are left out are named.
const NAMED_SKIPS: usize = 1000;

/// A tensor of the state dict.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) tensor: Rc<LazyTensor>,
}

/// A checkpoint taken apart.
pub(super) struct Checkpoint {
    /// The tensors of the state dict, in its order.
    pub(super) tensors: Vec<Named>,
    /// Where the state dict was.
    pub(super) key: Option<String>,
    pub(super) metadata: BTreeMap<String, Json>,
    pub(super) skipped: Vec<String>,
}

/// Finds the state dict, at `key` or under a usual name.
pub(super) fn take_apart(pickle: &Pickle, key: Option<&str>) -> Result<Checkpoint, Fault> {
    let heap = &pickle.heap;
    let candidates = candidates(heap, &pickle.root);
    let chosen = choose(&candidates, key, || describe(heap, &pickle.root))?;
    let (path, dict) = &candidates[chosen];
    let mut found = Checkpoint {
        tensors: Vec::new(),
        key: (!path.is_empty()).then(|| path.clone()),
        metadata: BTreeMap::new(),
        skipped: Vec::new(),
    };
    let mut plain = Plain { heap, total: PLAIN_TOTAL, entry: PLAIN_ENTRY, left_out: Vec::new() };
    let root = match &pickle.root {
        Value::Dict(id) if id != dict => Some(*id),
        _ => None,
    };
    // Beside the state dict: everything but the entry it is in.
    for (name, value) in root.map(|id| entries(heap, id)).unwrap_or_default() {
        let holds_it = path.strip_prefix(&name).is_some_and(|r| r.is_empty() || r.starts_with('.'));
        if !holds_it {
            found.put_aside(&mut plain, name, value);
        }
    }
    for (name, value) in entries(heap, *dict) {
        match value {
            Value::Tensor(tensor) => match &tensor.element {
                Ok(_) => found.tensors.push(Named { name, tensor: tensor.clone() }),
                Err(kind) => found.skip(format!("{name} ({kind})")),
            },
            Value::None => {}
            other if root.is_none() => found.put_aside(&mut plain, name, other),
            other => found.skip(format!("{name} ({})", other.kind())),
        }
    }
    Ok(found)
}

impl Checkpoint {
    /// Keeps what is plain data, notes what is not.
    fn put_aside(&mut self, plain: &mut Plain<'_>, name: String, value: &Value) {
        plain.entry = PLAIN_ENTRY;
        match plain.json(&name, value, PLAIN_DEPTH) {
            Ok(json) => {
                self.metadata.insert(name, json);
            }
            Err(reason) => self.skip(format!("{name} ({reason})")),
        }
        plain.left_out.drain(..).for_each(|inner| self.skip(inner));
    }

    fn skip(&mut self, what: String) {
        match self.skipped.len() {
            ..NAMED_SKIPS => self.skipped.push(what),
            NAMED_SKIPS => self.skipped.push("... (and more)".into()),
            _ => {}
        }
    }
}

/// Every dictionary with a tensor directly in it, by its path; the empty path is the root.
fn candidates(heap: &Heap, root: &Value) -> Vec<(String, Id)> {
    let mut found: Vec<(String, Id)> = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![(String::new(), root)];
    for _ in 0..=SEARCH_DEPTH {
        let mut next = Vec::new();
        for (path, value) in open {
            let (Value::Dict(id) | Value::List(id) | Value::Tuple(id)) = value else { continue };
            if !seen.insert(*id) {
                // The same dictionary under a second name is a candidate under both.
                if found.iter().any(|(_, known)| known == id) {
                    found.push((path, *id));
                }
                continue;
            }
            let children = match value {
                // What an optimiser keeps has the shapes of the weights, but is none.
                Value::Dict(id) if is_optimiser(heap, *id) => continue,
                Value::Dict(id) => entries(heap, *id),
                _ => heap.list(*id).iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
            };
            if children.iter().any(|(_, child)| matches!(child, Value::Tensor(_)))
                && matches!(value, Value::Dict(_))
            {
                found.push((path.clone(), *id));
            }
            // A checkpoint has a few entries; a list of thousands of lists is something else.
            let room = MAX_OPEN.saturating_sub(next.len());
            let inner = children.into_iter().take(room);
            next.extend(inner.map(|(name, child)| (join(&path, &name), child)));
        }
        open = next;
    }
    found
}

/// Which candidate is meant.
fn choose(
    candidates: &[(String, Id)],
    key: Option<&str>,
    seen: impl Fn() -> Fault,
) -> Result<usize, Fault> {
    let at = |key: &str| candidates.iter().position(|(path, _)| path == key);
    let known = || -> Vec<String> {
        let named = |path: &String| if path.is_empty() { "\"\"".into() } else { path.clone() };
        candidates.iter().map(|(path, _)| named(path)).collect()
    };
    if let Some(key) = key {
        return at(key).ok_or_else(|| Fault::UnknownKey { key: key.into(), known: known() });
    }
    if let Some(found) = USUAL_KEYS.iter().find_map(|key| at(key)).or_else(|| at("")) {
        return Ok(found);
    }
    match candidates {
        [] => Err(seen()),
        [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other == first) => Ok(0),
        _ => Err(Fault::Ambiguous { known: known() }),
    }
}

/// Why there is no state dict.
fn describe(heap: &Heap, root: &Value) -> Fault {
    const REMEDY: &str = "load the file in PyTorch and save the state dict of its network with \
                          torch.save(network.state_dict(), ...)";
    match root {
        Value::Opaque(class) | Value::Global(class) => Fault::unsupported(
            format!("a pickled object ({class}) instead of a state dict"),
            REMEDY,
        ),
        Value::Dict(id) => {
            let entries = entries(heap, *id);
            let opaque = |(name, value): &(String, &Value)| match value {
                Value::Opaque(class) if USUAL_KEYS.contains(&name.as_str()) => Some(format!(
                    "a pickled object ({class}) instead of a state dict under \"{name}\""
                )),
                _ => None,
            };
            match entries.iter().find_map(opaque) {
                Some(what) => Fault::unsupported(what, REMEDY),
                None => Fault::NoTensors {
                    seen: format!("a dictionary with {}", first_names(&entries)),
                },
            }
        }
        other => Fault::NoTensors { seen: other.kind() },
    }
}

fn first_names(entries: &[(String, &Value)]) -> String {
    let mut names: Vec<&str> = entries.iter().take(8).map(|(name, _)| name.as_str()).collect();
    match entries.len() {
        0 => return "no entries".into(),
        9.. => names.push("..."),
        _ => {}
    }
    format!("the entries {}", names.join(", "))
}

/// The entries of a dictionary, the last of each name at the place of the first, as in Python.
/// Integers count as names; anything else does not.
fn entries(heap: &Heap, dict: Id) -> Vec<(String, &Value)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut out: Vec<(String, &Value)> = Vec::new();
    for (key, value) in heap.pairs(dict) {
        let name = match key {
            Value::Str(name) => name.to_string(),
            Value::Int(number) => number.to_string(),
            _ => continue,
        };
        match places.get(&name) {
            Some(&place) => out[place].1 = value,
            None => {
                places.insert(name.clone(), out.len());
                out.push((name, value));
            }
        }
    }
    out
}

fn is_optimiser(heap: &Heap, dict: Id) -> bool {
    let named = |(key, _): &(Value, Value)| matches!(key, Value::Str(n) if &**n == "param_groups");
    heap.pairs(dict).iter().any(named)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

/// How much may still come.
struct Room {
    values: usize,
    text: usize,
}

impl Room {
    fn take(&mut self, values: usize, text: usize) -> Result<(), String> {
        self.values = self.values.checked_sub(values).ok_or("too many values")?;
        self.text = self.text.checked_sub(text).ok_or("too much text")?;
        Ok(())
    }
}

/// Turns plain data into JSON, within bounds.
struct Plain<'a> {
    heap: &'a Heap,
    total: Room,
    entry: Room,
    /// What has no meaning as JSON, with its path.
    left_out: Vec<String>,
}

impl Plain<'_> {
    fn take(&mut self, values: usize, text: usize) -> Result<(), String> {
        self.total.take(values, text)?;
        self.entry.take(values, text)
    }

    /// The value as JSON, or in a few words what it is instead.
    fn json(&mut self, path: &str, value: &Value, depth: usize) -> Result<Json, String> {
        self.take(1, 0)?;
        let depth = depth.checked_sub(1).ok_or("too deep")?;
        Ok(match value {
            Value::None => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(n) => Json::Number((*n).into()),
            // JSON has no infinities; their names say what they are.
            Value::Float(x) => {
                Number::from_f64(*x).map_or_else(|| x.to_string().into(), Json::Number)
            }
            Value::Str(text) => {
                self.take(0, text.len())?;
                Json::String(text.to_string())
            }
            Value::List(id) | Value::Tuple(id) => {
                let mut out = Vec::new();
                for (at, item) in self.heap.list(*id).iter().enumerate() {
                    let inner = join(path, &at.to_string());
                    // A gap would shift the items behind it.
                    out.push(self.child(&inner, item, depth)?.unwrap_or(Json::Null));
                }
                Json::Array(out)
            }
            Value::Dict(id) if is_optimiser(self.heap, *id) => return Err("optimiser state".into()),
            Value::Dict(id) => {
                let entries = entries(self.heap, *id);
                let tensors = entries.iter().filter(|(_, v)| matches!(v, Value::Tensor(_))).count();
                if tensors > 0 {
                    return Err(format!("{tensors} tensors"));
                }
                let mut out = Map::new();
                for (name, item) in entries {
                    self.take(0, name.len())?;
                    if let Some(json) = self.child(&join(path, &name), item, depth)? {
                        out.insert(name, json);
                    }
                }
                Json::Object(out)
            }
            other => return Err(other.kind()),
        })
    }

    /// A part: what is no plain data is left out and noted, exhausted bounds end the whole.
    fn child(&mut self, path: &str, value: &Value, depth: usize) -> Result<Option<Json>, String> {
        match self.json(path, value, depth) {
            Ok(json) => Ok(Some(json)),
            Err(reason) if reason.starts_with("too ") => Err(reason),
            Err(reason) if self.left_out.len() < NAMED_SKIPS => {
                self.left_out.push(format!("{path} ({reason})"));
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
