//! The pickle machine: opcodes of protocol 2, as `torch.save` writes them, over a stack of [`Item`]s. In: the bytes of
//! `data.pkl`. Out: the value that it leaves. It creates nothing that is not a value of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::values::{Entries, Global, Item, Storage, StoredTensor};

/// Values on the stack, marks and remembered values at most: `torch.save` sets a thousand entries at a time and remembers
/// a few dozen values for each tensor. Else a pickle could ask for a hundred times its size.
const MOST_VALUES: usize = 1 << 21;

/// Runs a pickle.
pub fn run(bytes: &[u8]) -> Result<Item, String> {
    let mut machine = Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        let opcode_at = machine.at;
        match machine.step() {
            Ok(None) if machine.stack.len().max(machine.marks.len()).max(machine.memo.len()) > MOST_VALUES => {
                return Err(format!("data.pkl, byte {opcode_at}: more than {MOST_VALUES} values at once"));
            }
            Ok(None) => {}
            Ok(Some(value)) => return Ok(value),
            Err(problem) => return Err(format!("data.pkl, byte {opcode_at}: {problem}")),
        }
    }
}

struct Machine<'b> {
    bytes: &'b [u8],
    at: usize,
    stack: Vec<Item>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Item>,
}

impl Machine<'_> {
    /// One opcode; the result where it is STOP.
    fn step(&mut self) -> Result<Option<Item>, String> {
        let opcode = self.take::<1>()?[0];
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => match self.take::<1>()?[0] {
                2..=5 => {}
                version => return Err(format!("pickle protocol {version}; supported: 2")),
            },
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Item::None),
            0x88 | 0x89 => self.stack.push(Item::Flag),
            b'K' => self.integer::<1>()?,
            b'M' => self.integer::<2>()?,
            b'J' => {
                let number = i32::from_le_bytes(self.take()?);
                self.stack.push(Item::Integer(number.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                self.take::<8>()?;
                self.stack.push(Item::Float);
            }
            b'X' => {
                let length = u32::from_le_bytes(self.take()?);
                let text = std::str::from_utf8(self.slice(length as usize)?).map_err(|_| "a string is not UTF-8")?;
                let text = Item::Text(text.into());
                self.stack.push(text);
            }
            b')' => self.stack.push(Item::tuple(Vec::new())?),
            b't' => {
                let items = self.since_mark()?;
                self.stack.push(Item::tuple(items)?);
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode) - 0x84)?;
                self.stack.push(Item::tuple(items)?);
            }
            b']' => self.stack.push(Item::List),
            b'a' => drop(self.pop_many(1)?),
            b'e' => drop(self.since_mark()?),
            b'}' => self.stack.push(Item::Dictionary(Entries::default())),
            b's' => {
                let entry = self.pop_many(2)?;
                self.set_items(entry)?;
            }
            b'u' => {
                let entries = self.since_mark()?;
                self.set_items(entries)?;
            }
            b'q' => {
                let place = self.take::<1>()?[0];
                self.remember(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.take()?);
                self.remember(place)?;
            }
            b'h' => {
                let place = self.take::<1>()?[0];
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.take()?);
                self.recall(place)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let known = Global::named(&module, &name);
                let refusal = || format!("global {module}.{name}; supported: tensors, their storages and OrderedDict");
                self.stack.push(Item::Global(known.ok_or_else(refusal)?));
            }
            b'Q' => {
                let id = self.pop()?;
                self.stack.push(storage(&id)?);
            }
            b'R' => {
                let arguments = self.pop()?;
                let made = call(&self.pop()?, &arguments)?;
                self.stack.push(made);
            }
            // What is set on a dictionary beside its entries (`_metadata`) names no tensor.
            b'b' => match self.pop_many(2)?.swap_remove(0) {
                target @ Item::Dictionary(_) => self.stack.push(target),
                other => return Err(format!("state set on {}; supported: on a dictionary", other.kind())),
            },
            other => return Err(format!("opcode {other:#04x}; supported: those of dictionaries of tensors")),
        }
        Ok(None)
    }

    fn slice(&mut self, length: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("it ends in the middle of a value (truncated download?)")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut taken = [0; N];
        taken.copy_from_slice(self.slice(N)?);
        Ok(taken)
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let length = rest.iter().take(256).position(|byte| *byte == b'\n').ok_or("a name without an end")?;
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }

    fn integer<const N: usize>(&mut self) -> Result<(), String> {
        let bytes: [u8; N] = self.take()?;
        let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | i64::from(*byte));
        self.stack.push(Item::Integer(number));
        Ok(())
    }

    /// A two's complement integer of up to 8 bytes.
    fn long(&mut self) -> Result<(), String> {
        let length = usize::from(self.take::<1>()?[0]);
        if length > 8 {
            return Err(format!("an integer of {length} bytes; supported: 8"));
        }
        let bytes = self.slice(length)?;
        let sign = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = [if sign { 0xff } else { 0 }; 8];
        whole[..length].copy_from_slice(bytes);
        self.stack.push(Item::Integer(i64::from_le_bytes(whole)));
        Ok(())
    }

    fn pop(&mut self) -> Result<Item, String> {
        self.pop_many(1)?.pop().ok_or_else(|| "nothing on the stack".to_owned())
    }

    /// The last values, none of them from before the last mark.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Item>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count).filter(|height| *height >= floor) {
            Some(height) => Ok(self.stack.split_off(height)),
            None => Err("nothing on the stack".to_owned()),
        }
    }

    fn since_mark(&mut self) -> Result<Vec<Item>, String> {
        let mark = self.marks.pop().ok_or("no mark on the stack")?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, place: u32) -> Result<(), String> {
        let value = self.stack.last().ok_or("nothing on the stack")?.clone();
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), String> {
        let value = self.memo.get(&place).ok_or_else(|| format!("memo {place} was never set"))?.clone();
        self.stack.push(value);
        Ok(())
    }

    /// Adds keys and values in turn to the dictionary below them.
    fn set_items(&mut self, items: Vec<Item>) -> Result<(), String> {
        let Some(Item::Dictionary(entries)) = self.stack.last() else {
            return Err("items set on something else than a dictionary".to_owned());
        };
        if !items.len().is_multiple_of(2) {
            return Err("a key without a value".to_owned());
        }
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            // A dictionary in itself would never be let go.
            let value = if matches!(value, Item::Dictionary(_) | Item::Tuple(..)) { Item::List } else { value };
            let key = if matches!(key, Item::Text(_)) { key } else { Item::None };
            entries.borrow_mut().push((key, value));
        }
        Ok(())
    }
}

/// The storage of a persistent id: `("storage", type, key, location, numbers)`.
fn storage(id: &Item) -> Result<Item, String> {
    if let Item::Tuple(items, _) = id
        && let [Item::Text(kind), Item::Global(Global::StorageType(dtype)), Item::Text(key), _, numbers] = &items[..]
        && **kind == *"storage"
    {
        let key = key.to_string();
        return Ok(Item::Storage(Rc::new(Storage { key, dtype: *dtype, numbers: numbers.count()? })));
    }
    Err(format!("a persistent id that is {}; supported: storages", id.kind()))
}

/// What a known function or class gives for its arguments.
fn call(function: &Item, arguments: &Item) -> Result<Item, String> {
    let (Item::Global(function), Item::Tuple(arguments, _)) = (function, arguments) else {
        return Err(format!("a call of {} with {}", function.kind(), arguments.kind()));
    };
    match (function, &arguments[..]) {
        (Global::OrderedDictionary, []) => Ok(Item::Dictionary(Rc::new(RefCell::default()))),
        (Global::RebuildTensor, [Item::Storage(storage), offset, shape, strides, ..]) => {
            let (shape, strides) = (shape.counts()?, strides.counts()?);
            if shape.len() != strides.len() {
                return Err(format!("a tensor of {} axes with {} strides", shape.len(), strides.len()));
            }
            let tensor = StoredTensor { storage: Rc::clone(storage), offset: offset.count()?, shape, strides };
            Ok(Item::Tensor(Rc::new(tensor)))
        }
        (Global::RebuildParameter, [tensor @ Item::Tensor(_), ..]) => Ok(tensor.clone()),
        (Global::OrderedDictionary | Global::RebuildTensor | Global::RebuildParameter | Global::StorageType(_), _) => {
            Err(format!("{function:?} with arguments that torch.save does not write"))
        }
    }
}
