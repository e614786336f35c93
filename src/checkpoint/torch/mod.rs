//! `pytorch_model.bin` in, places of tensors out: a zip whose `data.pkl` names tensors and whose other members are their
//! numbers, stored as they are, which are mapped in place like safetensors. Nothing is executed: a small machine knows
//! tensors, storages and containers. Refused by name: any other opcode or global, a compressed or encrypted member, a
//! tensor that is not laid out row by row or leaves its storage, files from before torch 1.6.

mod machine;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::tensor_place::{Places, TensorPlace};
use crate::error::{Error, Result};
use values::{Item, StoredTensor};

/// Bytes of `data.pkl` at most: a hundred bytes for each of many thousand tensors.
const LARGEST_PICKLE: u64 = 64 << 20;
/// Members of the zip at most.
const MOST_MEMBERS: usize = 100_000;

type Archive<'b> = ZipArchive<Cursor<&'b [u8]>>;

/// Reads where a file's tensors lie.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Places> {
    places(bytes).map_err(|problem| Error::malformed(path, format!("not a file of weights as torch writes: {problem}")))
}

fn places(bytes: &[u8]) -> Result<Places, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| {
        format!("no zip, as since torch 1.6 ({error}); save it anew, or convert it with the safetensors package")
    })?;
    if archive.len() > MOST_MEMBERS {
        return Err(format!("{} members, more than {MOST_MEMBERS}", archive.len()));
    }
    let members = members(&mut archive, bytes.len() as u64)?;
    let mut pickles = members.keys().filter(|name| name.ends_with("/data.pkl"));
    let (Some(pickle), None) = (pickles.next().cloned(), pickles.next()) else {
        return Err("expected exactly one data.pkl in it".to_owned());
    };
    let root = pickle.trim_end_matches("data.pkl").to_owned();
    if let Some(order) = members.get(&format!("{root}byteorder")) {
        let order = content(bytes, order)?;
        if order != b"little" {
            return Err(format!("its byteorder is {:?}; supported: little", String::from_utf8_lossy(order)));
        }
    }
    let entries = state_dictionary(machine::run(content(bytes, &members[&pickle])?)?)?;
    entries
        .into_iter()
        .map(|(name, tensor)| {
            let member = format!("{root}data/{}", tensor.storage.key);
            let at = members.get(&member).ok_or_else(|| format!("tensor `{name}`: no member {member:?}"))?;
            let place = place(&tensor, at).map_err(|problem| format!("tensor `{name}`: {problem}"))?;
            Ok((name, place))
        })
        .collect()
}

/// Where a member's bytes lie.
struct Member {
    start: u64,
    length: u64,
}

fn members(archive: &mut Archive<'_>, size: u64) -> Result<HashMap<String, Member>, String> {
    let mut found = HashMap::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(|error| format!("member {index}: {error}"))?;
        let name = member.name().map_err(|error| format!("member {index}: {error}"))?.into_owned();
        if member.compression() != CompressionMethod::Stored || member.encrypted() {
            return Err(format!("member {name:?} is compressed or encrypted; supported: stored, as torch.save writes"));
        }
        let Some(start) = member.data_start() else { return Err(format!("member {name:?} has no place")) };
        let length = member.size();
        if start.checked_add(length).is_none_or(|end| end > size) || member.compressed_size() != length {
            return Err(format!("member {name:?} does not end within the file (truncated download?)"));
        }
        if found.insert(name.clone(), Member { start, length }).is_some() {
            return Err(format!("member {name:?} is there twice"));
        }
    }
    Ok(found)
}

fn content<'b>(bytes: &'b [u8], member: &Member) -> Result<&'b [u8], String> {
    if member.length > LARGEST_PICKLE {
        return Err(format!("a member of {} bytes where at most {LARGEST_PICKLE} are expected", member.length));
    }
    let place = usize::try_from(member.start).ok().zip(usize::try_from(member.start + member.length).ok());
    place.and_then(|(start, end)| bytes.get(start..end)).ok_or_else(|| "a member outside the file".to_owned())
}

/// The tensors of a dictionary, by name; what else is in it does not belong to a state dictionary.
fn state_dictionary(value: Item) -> Result<Vec<(String, StoredTensor)>, String> {
    let Item::Dictionary(entries) = value else {
        return Err(format!("data.pkl holds {}; expected a dictionary of tensors", value.kind()));
    };
    let entries = entries.borrow();
    let mut names = HashSet::with_capacity(entries.len());
    let mut tensors = Vec::with_capacity(entries.len());
    for (key, value) in entries.iter() {
        match (key, value) {
            (Item::Text(name), _) if !names.insert(name) => return Err(format!("entry {name:?} is there twice")),
            (Item::Text(name), Item::Tensor(tensor)) => tensors.push((name.to_string(), tensor.as_ref().clone())),
            (Item::Text(name), other) => {
                return Err(format!("entry {name:?} is {}; expected a dictionary of tensors alone", other.kind()));
            }
            (other, _) => return Err(format!("a key is {}; expected names", other.kind())),
        }
    }
    Ok(tensors)
}

/// The bytes of a tensor, held against its storage.
fn place(tensor: &StoredTensor, member: &Member) -> Result<TensorPlace, String> {
    let width = (tensor.storage.dtype.bitsize() / 8) as u64;
    let sizes = |count: u64| count.checked_mul(width).ok_or("its storage is larger than any memory");
    if sizes(tensor.storage.numbers)? != member.length {
        let StoredTensor { storage, .. } = tensor;
        return Err(format!("its storage has {} bytes, not {} numbers", member.length, storage.numbers));
    }
    let mut numbers: u64 = 1;
    let empty = tensor.shape.contains(&0);
    for (size, stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
        // The stride of an axis of one element means nothing, nor do those of a tensor without elements.
        if *size != 1 && !empty && *stride != numbers {
            return Err(format!("strides {:?} of shape {:?} are not row by row", tensor.strides, tensor.shape));
        }
        numbers = numbers.checked_mul(*size).ok_or("its shape is larger than any memory")?;
    }
    let end = tensor.offset.checked_add(numbers).ok_or("it ends past any memory")?;
    if end > tensor.storage.numbers {
        return Err(format!("it ends at number {end} of a storage of {}", tensor.storage.numbers));
    }
    let shape = tensor.shape.iter().map(|size| usize::try_from(*size).map_err(|_| "its shape is too large".to_owned()));
    Ok(TensorPlace {
        dtype: tensor.storage.dtype,
        shape: shape.collect::<Result<_, _>>()?,
        offset: member.start + tensor.offset * width,
        length: numbers * width,
        shard: 0,
    })
}
