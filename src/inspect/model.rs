//! A model's folder in, what its files say of it out: whether ironvec runs it and from what, dimension, pooling, prompts,
//! limits, the weights by type. Of weight files only headers are read; the tokenizer is not. Refused, in the words of the
//! loader: what ironvec does not run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde::Serialize;

use super::coverage::read;
use super::weights::ByType;
use crate::checkpoint::json::MAX_ROWS;
use crate::checkpoint::onnx_file::OnnxFile;
use crate::checkpoint::pooling::PoolingMode;
use crate::checkpoint::weights::Weights;
use crate::error::Result;
use crate::sessions::declared::declared;
use crate::spec::{Network, Spec};

/// What the files say. The fields are documented for Python in `_core.pyi`.
#[derive(Debug, Serialize)]
pub struct ModelFacts {
    /// "checkpoint", "onnx" or "static table".
    pub runs_from: &'static str,
    /// The ONNX file, or the folder of the checkpoint. JSON holds no path that is not Unicode.
    #[serde(skip)]
    pub path: PathBuf,
    /// The folder of tokenizer.json.
    #[serde(skip)]
    pub tokenizer_folder: PathBuf,
    /// Components of a vector.
    pub dimension: Option<usize>,
    /// Layers of a transformer.
    pub layers: Option<usize>,
    /// sentence-transformers' names.
    pub pooling: Vec<&'static str>,
    /// Whether the prompt's tokens take part in it.
    pub include_prompt: bool,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Tokens of a text.
    pub max_length: Option<usize>,
    /// Rows of the token table.
    pub vocabulary: Option<usize>,
    /// Whether texts are lowercased.
    pub lowercase: bool,
    /// Prompt name to text.
    pub prompts: BTreeMap<String, String>,
    /// The one that is used unasked.
    pub default_prompt_name: Option<String>,
    /// What vectors are compared by.
    pub similarity: String,
}

/// What the files of a folder say of its model.
pub fn model_facts(folder: &Path, onnx_file: Option<&str>) -> Result<ModelFacts> {
    let spec = Spec::read(folder, onnx_file)?;
    let mut pooling = spec.pooling.clone();
    let (runs_from, width, layers) = match &spec.network {
        Network::Checkpoint(network, _) => ("checkpoint", Some(network.output_size()), Some(network.layers.len())),
        Network::StaticTable(table) => ("static table", Some(table.width()), None),
        Network::OnnxFile(file) => ("onnx", of_onnx_file(&spec, file, &mut pooling)?, None),
    };
    let modes = pooling.len().max(1);
    let full = width.map(|width| spec.head.outputs(width.saturating_mul(modes))).transpose()?;
    let kept = spec.truncate_dim.as_ref().map(|limit| limit.value);
    let known = |number: usize| (number < MAX_ROWS).then_some(number);
    Ok(ModelFacts {
        runs_from,
        path: spec.source().to_owned(),
        dimension: full.map(|full| kept.map_or(full, |kept| kept.min(full))),
        layers,
        pooling: match pooling.as_slice() {
            [] => vec!["sentence_embedding"],
            modes => modes.iter().map(|mode| mode.name()).collect(),
        },
        include_prompt: spec.include_prompt,
        normalize: spec.normalize,
        max_length: known(spec.max_length.value),
        vocabulary: known(spec.network.vocab_size()),
        lowercase: spec.lowercase,
        tokenizer_folder: spec.folder,
        prompts: spec.prompts,
        default_prompt_name: spec.default_prompt_name,
        similarity: spec.similarity,
    })
}

/// The width of its vectors; the pooling is none where the graph has one of its own.
fn of_onnx_file(spec: &Spec, file: &OnnxFile, pooling: &mut Vec<PoolingMode>) -> Result<Option<usize>> {
    let model = read(&file.path)?;
    let Some(graph) = &model.graph else { return Ok(None) };
    let declared = declared(file, graph)?;
    match declared.pooled {
        Some(true) => {
            pooling.clear();
            return Ok(declared.width);
        }
        Some(false) if declared.takes_cache && !spec.pooling_is_stated => *pooling = vec![PoolingMode::LastToken],
        Some(false) | None => {}
    }
    Ok(file.hidden_size.or(declared.width))
}

/// What a folder's weight files hold, run or not.
#[derive(Debug, Serialize)]
pub struct WeightFacts {
    /// The files, links followed.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
    /// Tensors by type.
    pub weights: ByType,
}

/// Reads the headers of a folder's weights.
pub fn weight_facts(folder: &Path) -> Result<WeightFacts> {
    let found = Weights::open(folder)?;
    let mut weights = ByType::new();
    for place in found.places() {
        let numbers = place.shape.iter().fold(1_u64, |count, size| count.saturating_mul(*size as u64));
        weights.entry(dtype_name(place.dtype)).or_default().add(numbers, place.length);
    }
    Ok(WeightFacts { files: found.files().map(Path::to_owned).collect(), weights })
}

/// As NumPy spells it.
fn dtype_name(dtype: Dtype) -> String {
    let name = match dtype {
        Dtype::F64 => "float64",
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::I64 => "int64",
        Dtype::I32 => "int32",
        Dtype::I16 => "int16",
        Dtype::I8 => "int8",
        Dtype::U8 => "uint8",
        Dtype::BOOL => "bool",
        other => return format!("{other:?}").to_lowercase(),
    };
    name.to_owned()
}
