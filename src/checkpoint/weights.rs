//! Safetensors files in, tensor places out: name → (file, offset, length, dtype, shape). Nothing is copied; the file is
//! mapped only while its header is read, and ONNX Runtime maps it again from the offsets found here. It stays open, so
//! that a change can be told (`held.rs`). Every size in the
//! header is checked against the file by the `safetensors` crate; dtypes other than 16- and 32-bit floats are refused
//! where a tensor is asked for, so that integer buffers beside the weights do no harm.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use safetensors::tensor::Dtype;
use serde_json::Value;

use crate::checkpoint::held::HeldFile;
use crate::checkpoint::json::{JsonFile, is_absent};
use crate::checkpoint::tensor_place::{Places, TensorPlace};
use crate::checkpoint::windows_path::{joined, usual_form};
use crate::checkpoint::{safetensors_file, torch};
use crate::error::{Error, Result};

/// One file of a checkpoint.
#[derive(Debug)]
struct Shard {
    /// The file as the user knows it.
    path: PathBuf,
    /// The file with links followed: ONNX Runtime refuses external data that a link leads out of the folder, and the
    /// Hugging Face cache is made of such links.
    target: PathBuf,
    file: Arc<HeldFile>,
}

/// The tensors of a checkpoint.
#[derive(Debug)]
pub struct Weights {
    /// The file that says which tensors there are, as the user knows it.
    path: PathBuf,
    shards: Vec<Shard>,
    data_folder: PathBuf,
    tensors: HashMap<String, TensorPlace>,
}

/// A way to hold tensors.
struct Format {
    single: &'static str,
    index: &'static str,
    read: fn(&Path, &[u8]) -> Result<Places>,
}

/// In the order of preference.
const FORMATS: [Format; 2] = [
    Format { single: "model.safetensors", index: "model.safetensors.index.json", read: safetensors_file::read },
    Format { single: "pytorch_model.bin", index: "pytorch_model.bin.index.json", read: torch::read },
];

impl Weights {
    /// Whether a folder holds weights, sound or not.
    pub fn present(folder: &Path) -> bool {
        FORMATS.iter().flat_map(|format| [format.single, format.index]).any(|name| !is_absent(&folder.join(name)))
    }

    /// Reads what the first format that a folder has says of its tensors: one file, or those that an index names.
    pub fn open(folder: &Path) -> Result<Self> {
        let there = |name: &str| !is_absent(&folder.join(name));
        let found = FORMATS.iter().find(|format| there(format.single) || there(format.index));
        let format = found.unwrap_or(&FORMATS[0]);
        let (path, names) = if !there(format.single) && there(format.index) {
            let index = folder.join(format.index);
            let names = shard_names(&index)?;
            (index, names)
        } else {
            (folder.join(format.single), BTreeSet::from([format.single.to_owned()]))
        };
        let mut weights = Weights { path, shards: Vec::new(), data_folder: PathBuf::new(), tensors: HashMap::new() };
        for name in names {
            weights.add_shard(folder.join(name), format)?;
        }
        weights.data_folder = common_folder(&weights.shards);
        Ok(weights)
    }

    fn add_shard(&mut self, path: PathBuf, format: &Format) -> Result<()> {
        let target = fs::canonicalize(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::FileMissing {
                path: path.clone(),
                needed_for: "the weights are read from it, or from pytorch_model.bin".to_owned(),
            },
            _ => Error::unreadable(&path, error),
        })?;
        let target = usual_form(target);
        let file = HeldFile::open(&path, &target)?;
        if file.length() == 0 {
            return Err(Error::malformed(&path, "the file is empty"));
        }
        let map = file.map()?;
        if map.starts_with(b"version https://git-lfs") {
            return Err(Error::malformed(&path, "a git-lfs pointer, not the weights: `git lfs pull` fetches them"));
        }
        let shard = self.shards.len();
        for (name, place) in (format.read)(&path, &map)? {
            if self.tensors.contains_key(&name) {
                return Err(Error::malformed(&path, format!("tensor `{name}` is in another of the files too")));
            }
            self.tensors.insert(name, TensorPlace { shard, ..place });
        }
        self.shards.push(Shard { path, target, file: Arc::new(file) });
        Ok(())
    }

    /// The file that says which tensors there are, as the user knows it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold the tensors, links followed.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.target.as_path())
    }

    /// The folder that external data locations are relative to, links followed.
    pub fn data_folder(&self) -> &Path {
        &self.data_folder
    }

    /// The external data location of a tensor: its file, relative to the data folder.
    pub fn location(&self, place: &TensorPlace) -> Result<String> {
        self.location_of(&self.shards[place.shard])
    }

    fn location_of(&self, shard: &Shard) -> Result<String> {
        let relative = shard.target.strip_prefix(&self.data_folder).unwrap_or(&shard.target);
        joined(relative).ok_or_else(|| Error::malformed(&shard.path, "its name is not valid Unicode"))
    }

    /// The files, open, each by its external data location.
    pub fn held_files(&self) -> Result<Vec<(String, Arc<HeldFile>)>> {
        self.shards.iter().map(|shard| Ok((self.location_of(shard)?, Arc::clone(&shard.file)))).collect()
    }

    /// The open file at an external data location.
    pub fn file_at(&self, location: &str) -> Result<&Arc<HeldFile>> {
        let found = self.shards.iter().find(|shard| self.location_of(shard).is_ok_and(|own| own == location));
        found.map(|shard| &shard.file).ok_or_else(|| Error::Graph { problem: format!("no weights at {location:?}") })
    }

    /// Whether a tensor of this name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The file that holds, or should hold, a tensor, as the user knows it.
    pub fn path_of(&self, name: &str) -> &Path {
        self.tensors.get(name).map_or(&self.path, |place| &self.shards[place.shard].path)
    }

    /// Where a tensor of any shape and type lies.
    pub fn place(&self, name: &str) -> Option<&TensorPlace> {
        self.tensors.get(name)
    }

    /// Where all of them lie.
    pub fn places(&self) -> impl Iterator<Item = &TensorPlace> {
        self.tensors.values()
    }

    /// Whether all matrices have 16 bits.
    pub fn are_narrow(&self) -> bool {
        self.places().filter(|place| place.shape.len() > 1).all(|place| matches!(place.dtype, Dtype::F16 | Dtype::BF16))
    }

    /// The tensor, which must have this shape and a float type.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&TensorPlace> {
        let mismatch = |found: String, expected: String| Error::Tensor {
            path: self.path_of(name).to_owned(),
            tensor: name.to_owned(),
            found,
            expected,
        };
        let Some(place) = self.tensors.get(name) else {
            return Err(mismatch("nothing of that name".to_owned(), format!("a tensor of shape {shape:?}")));
        };
        if place.shape != shape {
            return Err(mismatch(format!("shape {:?}", place.shape), format!("shape {shape:?}")));
        }
        if !matches!(place.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(mismatch(format!("dtype {:?}", place.dtype), "F32, F16 or BF16".to_owned()));
        }
        Ok(place)
    }
}

/// The files that an index names. Refused: one that would lie outside the folder.
fn shard_names(index: &Path) -> Result<BTreeSet<String>> {
    let file = JsonFile::read(index, "")?;
    let map = file.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| file.unsupported("weight_map", "an object: tensor name to file name"))?;
    let mut names = BTreeSet::new();
    for (tensor, name) in map {
        let plain = |name: &&str| Path::new(name).components().map(Some).eq([Some(Component::Normal(name.as_ref()))]);
        let Some(name) = name.as_str().filter(plain) else {
            let field = format!("weight_map[{tensor:?}]");
            return Err(Error::unsupported(index, field, name.to_string(), "the name of a file in the same folder"));
        };
        names.insert(name.to_owned());
    }
    Ok(names)
}

/// The deepest folder that holds every shard.
fn common_folder(shards: &[Shard]) -> PathBuf {
    let mut folders = shards.iter().filter_map(|shard| shard.target.parent());
    let mut common = folders.next().unwrap_or(Path::new(".")).to_owned();
    for folder in folders {
        while !folder.starts_with(&common) && common.pop() {}
    }
    common
}

#[cfg(test)]
pub(crate) mod testing {
    //! Checkpoints for the unit tests of the rooms that read weights.
    use super::*;
    use safetensors::tensor::TensorView;

    pub(crate) fn weights_of(tensors: &[(&str, &[usize])]) -> (tempfile::TempDir, Weights) {
        let zeros: Vec<Vec<f32>> = tensors.iter().map(|(_, shape)| vec![0.0; shape.iter().product()]).collect();
        let filled: Vec<(&str, &[usize], &[f32])> =
            tensors.iter().zip(&zeros).map(|((name, shape), zeros)| (*name, *shape, zeros.as_slice())).collect();
        weights_filled(&filled)
    }

    pub(crate) fn weights_filled(tensors: &[(&str, &[usize], &[f32])]) -> (tempfile::TempDir, Weights) {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            ((*name).to_owned(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
        });
        safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
        let weights = Weights::open(folder.path()).unwrap();
        (folder, weights)
    }
}
