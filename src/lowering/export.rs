//! A model in, an ONNX file out that stock ONNX Runtime runs, with all its weights: inside where they are small, else in
//! `NAME.onnx_data_KEY` beside it. Files are written to temporary names and renamed, tensor by tensor. Refused: a flavour, a
//! length or a batch that the model does not have, a model that is somebody's export already, a place that takes no file.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::checkpoint::identity::{DIGEST_PREFIX, Digest};
use crate::checkpoint::pooling::PoolingMode;
use crate::checkpoint::tensors::TensorReader;
use crate::checkpoint::weights::Weights;
use crate::checkpoint::whole_file::{TemporaryFile, WriteError, folder_of, place};
use crate::error::{Error, Result};
use crate::lowering::coreml::{self, StaticShape};
use crate::lowering::cpu;
use crate::lowering::onnx::builder::external_data;
use crate::lowering::onnx::folding::{FloatType, Folded};
use crate::lowering::onnx::proto::{LOCATION_EXTERNAL, ModelProto, StringStringEntryProto, TensorProto};
use crate::memory::room_for;
use crate::options::Arithmetic;
use crate::spec::{Network, Spec};
use crate::transformer::Transformer;

/// Weights up to this go into the ONNX file; a message cannot hold more than 2 GB, and is built in memory.
const INLINE_BYTES: u64 = 256 << 20;
/// Where an exporter's tensors begin in a data file: a page, so that runtimes can map them.
const ALIGNMENT: u64 = 4096;
/// The length of a CoreML graph where the caller names none, unless the model's own limit is less.
const USUAL_LENGTH: usize = 512;
/// The metadata key by which the provider knows its compiled models apart.
pub const CACHE_KEY: &str = "COREML_CACHE_KEY";

/// What to write.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// "cpu" or "coreml".
    pub flavour: String,
    /// Tokens of a row. For "coreml" alone.
    pub length: Option<usize>,
    /// Rows of a run. For "coreml" alone.
    pub batch: Option<usize>,
    /// "float32", or for "coreml" "float16".
    pub dtype: String,
}

/// What an initializer's bytes are made from.
enum Content {
    /// Bytes of the checkpoint, as they are: its file, where they begin, how many.
    Stored(String, u64, u64),
    /// Computed from tensors of the checkpoint.
    Folded(Folded),
}

/// Writes a flavour of the model's graph. Returns the files: the graph, and its data where that lies beside it.
pub fn export(spec: &Spec, path: &Path, options: &ExportOptions, max_length: usize) -> Result<Vec<PathBuf>> {
    let (network, weights) = match &spec.network {
        Network::Checkpoint(network, weights) => (network, weights),
        Network::OnnxFile(file) => {
            let supported = "the folder of a checkpoint: an ONNX file needs no export";
            return Err(Error::unsupported(&file.path, "the model", "an ONNX file", supported));
        }
        Network::StaticTable(_) => {
            let supported = "a transformer: a static table has no graph";
            return Err(Error::unsupported(&spec.folder, "the model", "a static table", supported));
        }
    };
    check_place(path)?;
    let (model, contents) = match options.flavour.as_str() {
        "cpu" => cpu_flavour(network, &spec.pooling, weights, options)?,
        "coreml" => coreml_flavour(network, &spec.pooling, weights, options, max_length)?,
        _ => return Err(argument("flavour", format!("{:?}", options.flavour), "\"cpu\" or \"coreml\"")),
    };
    write_model(path, model, &contents, weights, INLINE_BYTES)
}

fn argument(argument: &'static str, found: String, expected: impl Into<String>) -> Error {
    Error::Argument { argument, found, expected: expected.into() }
}

fn check_place(path: &Path) -> Result<()> {
    if path.extension().is_none_or(|end| end != "onnx") || path.file_name().and_then(|name| name.to_str()).is_none() {
        return Err(argument("path", format!("{:?}", path.display().to_string()), "the name of a .onnx file"));
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(Error::FileMissing { path: folder.to_owned(), needed_for: "the folder to write into".to_owned() });
    }
    Ok(())
}

fn cpu_flavour(
    network: &Transformer,
    modes: &[PoolingMode],
    weights: &Weights,
    options: &ExportOptions,
) -> Result<(ModelProto, Vec<Content>)> {
    for (name, given) in [("length", options.length), ("batch", options.batch)] {
        if let Some(given) = given {
            return Err(argument(name, given.to_string(), "None: the \"cpu\" flavour takes any batch and length"));
        }
    }
    if options.dtype != "float32" {
        return Err(argument("dtype", format!("{:?}", options.dtype), "\"float32\" for the \"cpu\" flavour"));
    }
    let model = cpu::lower(network, modes, weights, Arithmetic::Float32)?.proto;
    let stored = |tensor: &TensorProto| {
        let entry = |key: &str| {
            let found = tensor.external_data.iter().find(|entry| entry.key == key);
            found.map_or("", |entry| entry.value.as_str())
        };
        let number = |key| entry(key).parse().unwrap_or(0);
        Content::Stored(entry("location").to_owned(), number("offset"), number("length"))
    };
    let initializers = model.graph.iter().flat_map(|graph| &graph.initializer);
    let contents = initializers.filter(|tensor| is_external(tensor)).map(stored).collect();
    Ok((model, contents))
}

fn coreml_flavour(
    network: &Transformer,
    modes: &[PoolingMode],
    weights: &Weights,
    options: &ExportOptions,
    max_length: usize,
) -> Result<(ModelProto, Vec<Content>)> {
    let element = match options.dtype.as_str() {
        "float32" => FloatType::Float32,
        "float16" => FloatType::Float16,
        _ => return Err(argument("dtype", format!("{:?}", options.dtype), "\"float32\" or \"float16\"")),
    };
    let longest = coreml::longest(network);
    let length = options.length.unwrap_or(max_length.min(USUAL_LENGTH).min(longest));
    if !(1..=longest).contains(&length) {
        let expected = format!("1 to {longest} tokens: the model's positions, and what the graph's tables may hold");
        return Err(argument("length", length.to_string(), expected));
    }
    let rows = options.batch.unwrap_or(1);
    if !(1..=1024).contains(&rows) {
        return Err(argument("batch", rows.to_string(), "1 to 1024 rows"));
    }
    let mut draft = coreml::draft(network, modes, weights, StaticShape { rows, length, element })?;
    let key = cache_key(&draft.model, weights)?;
    draft.model.metadata_props.push(StringStringEntryProto::new(CACHE_KEY, key));
    Ok((draft.model, draft.folded.into_iter().map(Content::Folded).collect()))
}

/// Names a graph over these very weights: letters and digits, 64 at most.
pub fn cache_key(model: &ModelProto, weights: &Weights) -> Result<String> {
    Ok(Digest::of_weights(weights)?.and(&model.encode_to_vec()).name())
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(LOCATION_EXTERNAL)
}

/// Weights of more than `inline_bytes` go into a file of their own, whose name no other weights have. The graph is renamed
/// last, and the data of the graph that it replaces are removed after: whoever reads the graph, at any moment, finds its
/// own data or, with the old one, none.
fn write_model(
    path: &Path,
    mut model: ModelProto,
    contents: &[Content],
    weights: &Weights,
    inline_bytes: u64,
) -> Result<Vec<PathBuf>> {
    let replaced = own_data_files(path);
    let key = cache_key(&model, weights)?;
    let mut tensors = TensorReader::new(weights);
    let initializers = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    let external: Vec<&mut TensorProto> = initializers.filter(|tensor| is_external(tensor)).collect();
    let mut pairs = external.into_iter().zip(contents);
    let total: u64 = contents.iter().map(length).sum();
    let mut files = vec![path.to_owned()];
    let mut data = None;
    if total <= inline_bytes {
        for (tensor, content) in pairs {
            let size = usize::try_from(length(content)).unwrap_or(usize::MAX);
            let mut bytes = room_for(size, || format!("to write {}", path.display()))?;
            write_content(content, &mut tensors, &mut bytes).map_err(|error| place(error, path))?;
            tensor.external_data = Vec::new();
            tensor.data_location = None;
            tensor.raw_data = Some(bytes);
        }
    } else {
        let data_path = folder_of(path).join(format!("{}{key}", data_prefix(path)));
        let name = data_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = TemporaryFile::write(&data_path, |out| {
            let mut end = 0;
            pairs.try_for_each(|(tensor, content)| {
                let start = u64::next_multiple_of(end, ALIGNMENT);
                out.write_all(&vec![0; (start - end) as usize])?;
                let length = length(content);
                write_content(content, &mut tensors, out)?;
                tensor.external_data = external_data(&name, start, length);
                end = start + length;
                Ok(())
            })
        })?;
        files.push(data_path);
        data = Some(file);
    }
    let mut graph = room_for(model.encoded_len(), || format!("to write {}", path.display()))?;
    model.encode_raw(&mut graph);
    let graph = TemporaryFile::write(path, |out| Ok(out.write_all(&graph)?))?;
    data.into_iter().chain([graph]).try_for_each(TemporaryFile::keep)?;
    for old in replaced.iter().filter(|old| !files.contains(old)) {
        // Where it cannot be removed, it takes room and does no harm.
        let _ = fs::remove_file(old);
    }
    Ok(files)
}

/// Begins the names of data files that are written for a graph of this name.
fn data_prefix(path: &Path) -> String {
    format!("{}_data_", path.file_name().unwrap_or_default().to_string_lossy())
}

/// The data files, written here, that the graph at a path points to, if there is one. Others' may serve other graphs too.
fn own_data_files(path: &Path) -> BTreeSet<PathBuf> {
    let graph = fs::read(path).ok().and_then(|bytes| ModelProto::decode(&bytes[..]).ok()).and_then(|model| model.graph);
    let prefix = format!("{}{DIGEST_PREFIX}", data_prefix(path));
    let tensors = graph.iter().flat_map(|graph| &graph.initializer).flat_map(|tensor| &tensor.external_data);
    let names = tensors.filter(|entry| entry.key == "location").map(|entry| entry.value.as_str());
    let ours = names.filter(|name| {
        name.strip_prefix(&prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    });
    ours.map(|name| folder_of(path).join(name)).collect()
}

fn length(content: &Content) -> u64 {
    match content {
        Content::Stored(_, _, length) => *length,
        Content::Folded(folded) => folded.length,
    }
}

fn write_content(content: &Content, tensors: &mut TensorReader<'_>, out: &mut dyn Write) -> Result<(), WriteError> {
    match content {
        Content::Stored(location, offset, length) => {
            Ok(out.write_all(tensors.bytes(location, *offset, *length)?.bytes())?)
        }
        Content::Folded(folded) => folded.write(tensors, out),
    }
}

/// Writes a draft's weights as its graph expects them.
pub fn write_weights(path: &Path, folded: &[Folded], weights: &Weights) -> Result<()> {
    let mut tensors = TensorReader::new(weights);
    let file = TemporaryFile::write(path, |out| {
        let mut end = 0;
        folded.iter().try_for_each(|tensor| {
            out.write_all(&vec![0; (tensor.offset - end) as usize])?;
            tensor.write(&mut tensors, out)?;
            end = tensor.offset + tensor.length;
            Ok(())
        })
    })?;
    file.keep()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::weights::testing::weights_filled;
    use crate::lowering::onnx::proto::GraphProto;

    fn model() -> ModelProto {
        let tensor = TensorProto {
            dims: vec![2],
            data_type: 1,
            name: "w".to_owned(),
            data_location: Some(LOCATION_EXTERNAL),
            ..Default::default()
        };
        ModelProto { graph: Some(GraphProto { initializer: vec![tensor], ..Default::default() }), ..Default::default() }
    }

    fn bytes_of(values: [f32; 2]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn an_export_over_another_never_mixes_the_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let beside = folder.path().join("model.onnx_data");
        fs::write(&beside, "of another graph").unwrap();
        let stored = "model.safetensors";
        let export = |values: [f32; 2], file: &str| {
            let (_folder, weights) = weights_filled(&[("w", &[2], &values)]);
            let place = weights.tensor("w", &[2]).unwrap();
            let contents = [Content::Stored(file.to_owned(), place.offset, place.length)];
            write_model(&path, model(), &contents, &weights, 0)
        };
        let first = export([1.0, 2.0], stored).unwrap();
        let graph = fs::read(&path).unwrap();
        assert_eq!(own_data_files(&path), BTreeSet::from([first[1].clone()]));
        // Broken off: the old pair is whole.
        assert!(export([3.0, 4.0], "absent").is_err());
        assert_eq!((fs::read(&path).unwrap(), fs::read(&first[1]).unwrap()), (graph.clone(), bytes_of([1.0, 2.0])));
        let second = export([3.0, 4.0], stored).unwrap();
        assert_ne!(first[1], second[1], "whoever has read the old graph never finds the new data");
        assert_ne!(fs::read(&path).unwrap(), graph);
        assert_eq!(fs::read(&second[1]).unwrap(), bytes_of([3.0, 4.0]));
        assert!(!first[1].exists() && beside.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
