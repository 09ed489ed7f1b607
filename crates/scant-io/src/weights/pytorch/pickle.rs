//! The instructions of a pickle, of which only those that build data have an effect.
//!
//! A pickle is a program for a stack machine: <https://github.com/python/cpython/blob/main/Lib/pickletools.py>
//! describes every instruction. Two of them make it dangerous in Python, naming any class or
//! function (`GLOBAL`) and calling it (`REDUCE` and its kin). Here a name is only a string, and a
//! call goes to [`rebuild`](super::rebuild), which knows the few that make tensors and containers;
//! the result of any other is [`Value::Opaque`].

use std::collections::HashMap;
use std::io::Read;

use super::super::error::Fault;
use super::rebuild;
use super::stream::Stream;
use super::value::{Heap, Id, Value};

/// Values a pickle may make; a state dict needs some thirty for each of its tensors.
const MAX_VALUES: usize = 1 << 23;

/// A finished pickle.
pub(super) struct Pickle {
    pub(super) heap: Heap,
    pub(super) root: Value,
}

/// Whether a pickle is the file's or lies within another, where it may not hold a third: a file of
/// pickles within pickles would exhaust the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nesting {
    Outer,
    Inner,
}

/// Reads one pickle from `input`, which is left behind its end.
pub(super) fn read(input: &mut dyn Read, limit: u64, nesting: Nesting) -> Result<Pickle, Fault> {
    let mut machine = Machine {
        nesting,
        stream: Stream::new(input, limit),
        heap: Heap::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        made: 0,
    };
    let root = machine.run()?;
    Ok(Pickle { heap: machine.heap, root })
}

struct Machine<'a> {
    nesting: Nesting,
    stream: Stream<'a>,
    heap: Heap,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    /// Values made so far.
    made: usize,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, Fault> {
        loop {
            let instruction = self.stream.byte()?;
            if instruction == b'.' {
                return self.pop();
            }
            if !(self.structure(instruction)? || self.scalar(instruction)?) {
                return Err(unknown(instruction));
            }
        }
    }

    /// Containers, calls, the stack and the memo; `false` for any other instruction.
    fn structure(&mut self, instruction: u8) -> Result<bool, Fault> {
        match instruction {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.discard()?,
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?.clone();
                self.push(top)?;
            }
            b']' | 0x8f => self.push_list(Vec::new())?,
            b'l' => {
                let items = self.above_mark()?;
                self.push_list(items)?;
            }
            // FROZENSET
            0x91 => {
                let items = self.above_mark()?;
                self.push_list(items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            // APPENDS, ADDITEMS
            b'e' | 0x90 => {
                let items = self.above_mark()?;
                self.extend(items)?;
            }
            b')' => self.push_tuple(Vec::new())?,
            b't' => {
                let items = self.above_mark()?;
                self.push_tuple(items)?;
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(instruction - 0x84))?;
                self.push_tuple(items)?;
            }
            b'}' => self.push_dict(Vec::new())?,
            b'd' => {
                let items = self.above_mark()?;
                self.push_dict(paired(items)?)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set(paired(items)?)?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set(paired(items)?)?;
            }
            b'q' => {
                let place = self.stream.length::<1>()?;
                self.remember(place)?;
            }
            b'r' => {
                let place = self.stream.length::<4>()?;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' => {
                let place = self.stream.length::<1>()?;
                self.recall(place)?;
            }
            b'j' => {
                let place = self.stream.length::<4>()?;
                self.recall(place)?;
            }
            _ => return self.call(instruction),
        }
        Ok(true)
    }

    /// Names of classes and functions, and the instructions that would call them.
    fn call(&mut self, instruction: u8) -> Result<bool, Fault> {
        match instruction {
            b'c' => {
                let (module, name) = (self.stream.line()?, self.stream.line()?);
                self.push(Value::Global(format!("{module}.{name}").into()))?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let [Value::Str(module), Value::Str(name)] = names.as_slice() else {
                    return Err(Fault::damaged("its pickle names a class by something else"));
                };
                self.push(Value::Global(format!("{module}.{name}").into()))?;
            }
            // REDUCE and NEWOBJ: callable or class, arguments.
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.push_call(&callable, &arguments)?;
            }
            // NEWOBJ_EX: the keyword arguments matter to none of the known classes.
            0x92 => {
                self.discard()?;
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.push_call(&callable, &arguments)?;
            }
            // INST: the name in the stream, the arguments above the mark.
            b'i' => {
                let (module, name) = (self.stream.line()?, self.stream.line()?);
                drop(self.above_mark()?);
                self.push(Value::Opaque(format!("{module}.{name}").into()))?;
            }
            // OBJ: class and arguments above the mark.
            b'o' => {
                let items = self.above_mark()?;
                let class = items.first().map_or_else(|| "object".into(), Value::kind);
                self.push(Value::Opaque(class.into()))?;
            }
            // BUILD: the attributes of an object. Dictionaries and tensors carry some that do not
            // matter (`_metadata` of a state dict), opaque objects have none.
            b'b' => self.discard()?,
            // BINPERSID: in these files always a storage.
            b'Q' => {
                let id = self.pop()?;
                let value = rebuild::persistent(&mut self.heap, &id)?;
                self.push(value)?;
            }
            // EXT1, EXT2, EXT4: classes registered by number.
            0x82..=0x84 => {
                let number = match instruction {
                    0x82 => self.stream.length::<1>()?,
                    0x83 => self.stream.length::<2>()?,
                    _ => self.stream.length::<4>()?,
                };
                self.push(Value::Global(format!("extension {number}").into()))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Numbers, strings and bytes; `false` for any other instruction.
    fn scalar(&mut self, instruction: u8) -> Result<bool, Fault> {
        let value = match instruction {
            // PROTO, FRAME: nothing to do, the lengths of frames are advice.
            0x80 => return self.stream.byte().map(|_| true),
            0x95 => return self.stream.length::<8>().map(|_| true),
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(self.stream.array()?).into()),
            b'K' => Value::Int(self.stream.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.stream.array()?).into()),
            0x8a => {
                let len = self.stream.length::<1>()?;
                integer(self.stream.bytes(len)?)
            }
            0x8b => {
                let len = self.stream.length::<4>()?;
                integer(self.stream.bytes(len)?)
            }
            // What Python 2 wrote for integers beyond 32 bits.
            b'I' | b'L' => {
                let line = self.stream.line()?;
                match line.as_str() {
                    "00" => Value::Bool(false),
                    "01" => Value::Bool(true),
                    digits => Value::Int(
                        digits
                            .trim_end_matches('L')
                            .parse()
                            .map_err(|_| Fault::damaged("a number in its pickle is none"))?,
                    ),
                }
            }
            b'G' => Value::Float(f64::from_be_bytes(self.stream.array()?)),
            b'F' => {
                let line = self.stream.line()?;
                let number = line.parse();
                Value::Float(number.map_err(|_| Fault::damaged("a number in its pickle is none"))?)
            }
            b'U' | 0x8c => self.string::<1>()?,
            b'T' | b'X' => self.string::<4>()?,
            0x8d => self.string::<8>()?,
            b'C' => self.blob::<1>()?,
            b'B' => self.blob::<4>()?,
            0x8e | 0x96 => self.blob::<8>()?,
            _ => return Ok(false),
        };
        self.push(value)?;
        Ok(true)
    }

    fn string<const N: usize>(&mut self) -> Result<Value, Fault> {
        let len = self.stream.length::<N>()?;
        Ok(Value::Str(self.stream.text(len)?.into()))
    }

    fn blob<const N: usize>(&mut self) -> Result<Value, Fault> {
        let len = self.stream.length::<N>()?;
        Ok(Value::Bytes(self.stream.bytes(len)?.into()))
    }

    fn push(&mut self, value: Value) -> Result<(), Fault> {
        self.made += 1;
        if self.made > MAX_VALUES {
            return Err(Fault::TooLarge(format!(
                "its pickle makes more than the limit of {MAX_VALUES} values"
            )));
        }
        self.stack.push(value);
        Ok(())
    }

    fn push_list(&mut self, items: Vec<Value>) -> Result<(), Fault> {
        let id = self.heap.items(items);
        self.push(Value::List(id))
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<(), Fault> {
        let id = self.heap.items(items);
        self.push(Value::Tuple(id))
    }

    fn push_dict(&mut self, pairs: Vec<(Value, Value)>) -> Result<(), Fault> {
        let dict = self.heap.dict(pairs);
        self.push(dict)
    }

    fn push_call(&mut self, callable: &Value, arguments: &Value) -> Result<(), Fault> {
        let value = rebuild::call(&mut self.heap, self.nesting, callable, arguments)?;
        self.push(value)
    }

    /// Lowest place that may be popped: below the last mark belongs to somebody else.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value, Fault> {
        if self.stack.len() > self.floor() { self.stack.pop() } else { None }.ok_or_else(underflow)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>, Fault> {
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= self.floor());
        Ok(self.stack.split_off(start.ok_or_else(underflow)?))
    }

    /// POP takes a mark away as well.
    fn discard(&mut self) -> Result<(), Fault> {
        if self.stack.len() == self.floor() && self.marks.pop().is_some() {
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn top(&self) -> Result<&Value, Fault> {
        self.stack.last().ok_or_else(underflow)
    }

    fn above_mark(&mut self) -> Result<Vec<Value>, Fault> {
        let start = self.marks.pop().ok_or_else(underflow)?;
        // Instructions that pop stop at a mark, so the stack never sinks below one.
        Ok(self.stack.split_off(start.min(self.stack.len())))
    }

    fn remember(&mut self, place: u64) -> Result<(), Fault> {
        let top = self.top()?.clone();
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u64) -> Result<(), Fault> {
        let value = self.memo.get(&place).cloned();
        self.push(value.ok_or_else(|| Fault::damaged("its pickle refers to nothing"))?)
    }

    fn extend(&mut self, items: Vec<Value>) -> Result<(), Fault> {
        match self.top()? {
            Value::List(id) => {
                let id: Id = *id;
                if let Some(list) = self.heap.items_mut(id) {
                    list.extend(items);
                }
                Ok(())
            }
            Value::Opaque(_) => Ok(()),
            other => Err(Fault::damaged(format!("its pickle appends to {}", other.kind()))),
        }
    }

    fn set(&mut self, pairs: Vec<(Value, Value)>) -> Result<(), Fault> {
        match self.top()? {
            Value::Dict(id) => {
                let id: Id = *id;
                if let Some(dict) = self.heap.pairs_mut(id) {
                    dict.extend(pairs);
                }
                Ok(())
            }
            Value::Opaque(_) => Ok(()),
            other => Err(Fault::damaged(format!("its pickle sets an entry of {}", other.kind()))),
        }
    }
}

fn paired(items: Vec<Value>) -> Result<Vec<(Value, Value)>, Fault> {
    if !items.len().is_multiple_of(2) {
        return Err(Fault::damaged("a dictionary in its pickle has a key without a value"));
    }
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// An integer of any length, two's complement, lowest byte first; no bytes are 0.
fn integer(bytes: Vec<u8>) -> Value {
    if bytes.len() > 8 {
        return Value::Long(bytes.into());
    }
    let sign = bytes.last().map_or(0, |&top| if top & 0x80 == 0 { 0 } else { 0xff });
    let mut wide = [sign; 8];
    wide[..bytes.len()].copy_from_slice(&bytes);
    Value::Int(i64::from_le_bytes(wide))
}

fn underflow() -> Fault {
    Fault::damaged("its pickle takes more from the stack than there is")
}

fn unknown(instruction: u8) -> Fault {
    // Protocol 0 wrote text, protocol 5 can keep buffers elsewhere; `torch.save` uses neither.
    if matches!(instruction, b'P' | b'S' | b'V' | b'g' | b'p' | 0x97 | 0x98) {
        return Fault::unsupported(
            format!("the pickle instruction 0x{instruction:02x}"),
            "load the file in PyTorch and save the state dict with torch.save",
        );
    }
    Fault::damaged(format!("0x{instruction:02x} is no pickle instruction"))
}

#[cfg(test)]
mod tests;
