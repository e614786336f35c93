//! A model folder in, one [`Spec`] out: everything that the checkpoint says of itself. Refused: a file that is missing
//! or broken, a field that would change the arithmetic in a way that ironvec does not do.

pub mod bert;
pub mod export;
pub mod json;
pub mod pooling;
pub mod qwen3;
pub mod sentence;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::bert::BertConfig;
use self::export::ExportFile;
use self::json::JsonFile;
use self::pooling::PoolingMode;
use self::qwen3::Qwen3Config;
use crate::error::{Error, Result};

/// Generous bounds on sizes: they catch nonsense before it becomes an allocation or an overflow.
const MAX_WIDTH: usize = 1 << 17;
const MAX_ROWS: usize = 1 << 24;

/// What a checkpoint says of itself.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The folder of the transformer: config.json, weights, tokenizer.
    pub folder: PathBuf,
    /// The architecture and its numbers.
    pub architecture: Architecture,
    /// The pooled vectors that are concatenated, in order; never empty. An export that pools itself ignores them.
    pub pooling: Vec<PoolingMode>,
    /// Whether a `modules.json` says so; else it is the architecture's habit.
    pub pooling_is_stated: bool,
    /// Whether the prompt's tokens take part in the pooling.
    pub include_prompt: bool,
    /// Whether vectors are scaled to length 1 unless the caller says otherwise.
    pub normalize: bool,
    /// Tokens of a row at most, special tokens included.
    pub max_length: Limit,
    /// Whether texts are lowercased before the tokenizer sees them.
    pub lowercase: bool,
    /// Which end of a text that is too long is cut: true for the start.
    pub truncate_left: bool,
    /// Prompt name to text.
    pub prompts: BTreeMap<String, String>,
    /// The prompt used where the caller names none.
    pub default_prompt_name: Option<String>,
    /// Components that are kept of each vector, where the checkpoint asks for fewer than it has.
    pub truncate_dim: Option<Limit>,
    /// The similarity the checkpoint was trained for.
    pub similarity: String,
}

/// A number that a file sets, and where, so that a wrong one can be named.
#[derive(Debug, Clone)]
pub struct Limit {
    /// The number.
    pub value: usize,
    /// The file.
    pub path: PathBuf,
    /// The field.
    pub field: &'static str,
}

impl Limit {
    /// Reads a field that is there.
    fn read(file: &JsonFile, field: &'static str, most: usize) -> Result<Self> {
        Ok(Limit { value: file.integer(field, 1..=most)?, path: file.path.clone(), field })
    }

    /// The number, if it lies between two others that only the loaded model knows.
    pub fn between(&self, least: usize, most: usize) -> Result<usize> {
        match (least..=most).contains(&self.value) {
            true => Ok(self.value),
            false => {
                let supported = format!("{least} to {most}");
                Err(Error::unsupported(&self.path, self.field, self.value.to_string(), supported))
            }
        }
    }
}

/// The architectures whose graph ironvec can write, and graphs that others wrote. Adding one: a file in `model/`, a file
/// in `graph/`, a line in each `match`.
#[derive(Debug, Clone)]
pub enum Architecture {
    /// `model_type: bert`.
    Bert(BertConfig),
    /// `model_type: qwen3`.
    Qwen3(Qwen3Config),
    /// An ONNX file.
    Export(ExportFile),
}

impl Architecture {
    /// Rows of the word embedding table.
    pub fn vocab_size(&self) -> usize {
        match self {
            Architecture::Bert(config) => config.vocab_size,
            Architecture::Qwen3(config) => config.vocab_size,
            Architecture::Export(file) => file.vocab_size,
        }
    }

    /// The longest row that the position embeddings reach.
    pub fn max_positions(&self) -> usize {
        match self {
            Architecture::Bert(config) => config.max_position_embeddings,
            Architecture::Qwen3(config) => config.max_position_embeddings,
            Architecture::Export(file) => file.max_positions,
        }
    }

    /// H, as far as the files tell.
    pub fn hidden_size(&self) -> Option<usize> {
        match self {
            Architecture::Bert(config) => Some(config.hidden_size),
            Architecture::Qwen3(config) => Some(config.hidden_size),
            Architecture::Export(file) => file.hidden_size,
        }
    }

    /// What pools where no `modules.json` says it: the last token of a decoder, the mean of an encoder.
    fn default_pooling(&self) -> PoolingMode {
        match self {
            Architecture::Bert(_) => PoolingMode::Mean,
            Architecture::Qwen3(_) => PoolingMode::LastToken,
            Architecture::Export(file) if file.is_decoder => PoolingMode::LastToken,
            Architecture::Export(_) => PoolingMode::Mean,
        }
    }
}

impl Spec {
    /// Reads a model folder. `onnx_file` names the file in it that is run instead of the checkpoint.
    pub fn read(folder: &Path, onnx_file: Option<&str>) -> Result<Self> {
        let modules = sentence::read_modules(folder)?;
        let transformer = modules.transformer;
        let architecture = match onnx_file {
            Some(file) => Architecture::Export(ExportFile::named(folder, file)?),
            None => read_architecture(&transformer)?,
        };
        let sentence_config = sentence::read_sentence_config(folder)?;
        let lengths = JsonFile::read_optional(&transformer.join("sentence_bert_config.json"))?;
        let tokenizer = JsonFile::read_optional(&transformer.join("tokenizer_config.json"))?;
        Ok(Spec {
            max_length: max_length(&transformer, &architecture, lengths.as_ref(), tokenizer.as_ref())?,
            lowercase: lengths.as_ref().map_or(Ok(false), |file| file.flag_or("do_lower_case", false))?,
            truncate_left: truncates_left(tokenizer.as_ref())?,
            folder: transformer,
            pooling_is_stated: modules.pooling.is_some(),
            pooling: modules.pooling.unwrap_or_else(|| vec![architecture.default_pooling()]),
            architecture,
            include_prompt: modules.include_prompt,
            normalize: modules.normalize,
            prompts: sentence_config.prompts,
            default_prompt_name: sentence_config.default_prompt_name,
            truncate_dim: sentence_config.truncate_dim,
            similarity: sentence_config.similarity.unwrap_or_else(|| "cosine".to_owned()),
        })
    }

    /// The ONNX file, or the folder of a checkpoint.
    pub fn source(&self) -> &Path {
        match &self.architecture {
            Architecture::Export(file) => &file.path,
            Architecture::Bert(_) | Architecture::Qwen3(_) => &self.folder,
        }
    }

    /// The pooling in sentence-transformers' names, joined by `+`.
    pub fn pooling_name(&self) -> String {
        self.pooling.iter().map(|mode| mode.name()).collect::<Vec<_>>().join("+")
    }
}

/// The checkpoint's own architecture, or an ONNX file where the folder holds no weights of a known one.
fn read_architecture(folder: &Path) -> Result<Architecture> {
    let export = ExportFile::beside(folder)?;
    let has_weights = crate::weights::Weights::present(folder);
    let config = JsonFile::read(&folder.join("config.json"), "a model folder holds config.json and model.safetensors");
    match (config, export) {
        (Ok(config), export) if has_weights || export.is_none() => match (config.text_or("model_type", "")?, export) {
            ("bert", _) => Ok(Architecture::Bert(BertConfig::read(&config)?)),
            ("qwen3", _) => Ok(Architecture::Qwen3(Qwen3Config::read(&config)?)),
            (_, Some(export)) => Ok(Architecture::Export(export)),
            (_, None) => Err(config.unsupported("model_type", "\"bert\", \"qwen3\", or any with a model.onnx")),
        },
        (_, Some(export)) => Ok(Architecture::Export(export)),
        (Err(error), None) => Err(error),
        (Ok(config), None) => Err(config.unsupported("model_type", "\"bert\", \"qwen3\"")),
    }
}

/// `max_seq_length` where the checkpoint has it, else the tokenizer's limit; never past the position embeddings.
fn max_length(
    folder: &Path,
    architecture: &Architecture,
    lengths: Option<&JsonFile>,
    tokenizer: Option<&JsonFile>,
) -> Result<Limit> {
    let positions = architecture.max_positions();
    let stated = |file: Option<&JsonFile>, field| file.filter(|file| file.get(field).is_some()).cloned();
    let limit = if let Some(file) = stated(lengths, "max_seq_length") {
        Limit::read(&file, "max_seq_length", MAX_ROWS)?
    } else if let Some(file) = stated(tokenizer, "model_max_length") {
        // transformers writes 1e30 for "no limit".
        let endless = file.get("model_max_length").and_then(serde_json::Value::as_f64).is_some_and(|limit| limit > 1e9);
        let most = usize::MAX;
        let value = if endless { most } else { Limit::read(&file, "model_max_length", most)?.value };
        Limit { value, path: file.path, field: "model_max_length" }
    } else {
        Limit { value: positions, path: folder.join("config.json"), field: "max_position_embeddings" }
    };
    Ok(Limit { value: limit.value.min(positions), ..limit })
}

fn truncates_left(tokenizer: Option<&JsonFile>) -> Result<bool> {
    let Some(file) = tokenizer else { return Ok(false) };
    match file.text_or("truncation_side", "right")? {
        "right" => Ok(false),
        "left" => Ok(true),
        _ => Err(file.unsupported("truncation_side", "\"right\", \"left\"")),
    }
}
