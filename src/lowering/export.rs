//! A model in, an ONNX file out that stock ONNX Runtime runs, with all its weights: inside where they are small, else in
//! `NAME.onnx_data_KEY` beside it. Refused: a flavour, a
//! length or a batch that the model does not have, a model that is somebody's export already, a place that takes no file.

use std::path::{Path, PathBuf};

use crate::checkpoint::pooling::PoolingMode;
use crate::checkpoint::weights::Weights;
use crate::checkpoint::whole_file::folder_of;
use crate::error::{Error, Result};
use crate::lowering::coreml::{self, StaticShape};
use crate::lowering::cpu;
use crate::lowering::onnx::builder::Operators;
use crate::lowering::onnx::files::{CACHE_KEY, Content, cache_key, is_external, write_model};
use crate::lowering::onnx::folding::FloatType;
use crate::lowering::onnx::proto::{ModelProto, StringStringEntryProto, TensorProto};
use crate::options::Arithmetic;
use crate::spec::{Network, Spec};
use crate::transformer::Transformer;

/// Weights up to this go into the ONNX file; a message cannot hold more than 2 GB, and is built in memory.
const INLINE_BYTES: u64 = 256 << 20;
/// The length of a CoreML graph where the caller names none, unless the model's own limit is less.
const USUAL_LENGTH: usize = 512;

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
    let model = cpu::lower(network, modes, weights, Arithmetic::Float32, Operators::Usual)?.proto;
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
