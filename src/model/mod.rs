//! A model folder in, one [`Spec`] out: everything that the checkpoint says of itself. Refused: a file that is missing
//! or broken, a field that would change the arithmetic in a way that ironvec does not do.

pub mod bert;
pub mod json;
pub mod pooling;
pub mod sentence;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::bert::BertConfig;
use self::json::JsonFile;
use self::pooling::PoolingMode;
use crate::error::Result;

/// What a checkpoint says of itself.
#[derive(Debug)]
pub struct Spec {
    /// The folder of the transformer: config.json, weights, tokenizer.
    pub folder: PathBuf,
    /// The architecture and its numbers.
    pub architecture: Architecture,
    /// The pooled vectors that are concatenated, in order; never empty.
    pub pooling: Vec<PoolingMode>,
    /// Whether the prompt's tokens take part in the pooling.
    pub include_prompt: bool,
    /// Whether vectors are scaled to length 1 unless the caller says otherwise.
    pub normalize: bool,
    /// Tokens of a row at most, special tokens included.
    pub max_length: usize,
    /// Whether texts are lowercased before the tokenizer sees them.
    pub lowercase: bool,
    /// Which end of a text that is too long is cut: true for the start.
    pub truncate_left: bool,
    /// Prompt name to text.
    pub prompts: BTreeMap<String, String>,
    /// The prompt used where the caller names none.
    pub default_prompt_name: Option<String>,
    /// Components that are kept of each vector, where the checkpoint asks for fewer than it has.
    pub truncate_dim: Option<usize>,
    /// The similarity the checkpoint was trained for.
    pub similarity: String,
}

/// The architectures whose graph ironvec can write. Adding one: a file in `model/`, a file in `graph/`, a line in each
/// `match`.
#[derive(Debug)]
pub enum Architecture {
    /// `model_type: bert`.
    Bert(BertConfig),
}

impl Architecture {
    /// H.
    pub fn hidden_size(&self) -> usize {
        match self {
            Architecture::Bert(config) => config.hidden_size,
        }
    }

    /// Rows of the word embedding table.
    pub fn vocab_size(&self) -> usize {
        match self {
            Architecture::Bert(config) => config.vocab_size,
        }
    }

    /// The longest row that the position embeddings reach.
    pub fn max_positions(&self) -> usize {
        match self {
            Architecture::Bert(config) => config.max_position_embeddings,
        }
    }
}

impl Spec {
    /// Reads a model folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let modules = sentence::read_modules(folder)?;
        let transformer = modules.transformer;
        let config =
            JsonFile::read(&transformer.join("config.json"), "a model folder holds config.json and model.safetensors")?;
        let architecture = match config.text_or("model_type", "")? {
            "bert" => Architecture::Bert(BertConfig::read(&config)?),
            _ => return Err(config.unsupported("model_type", "\"bert\"")),
        };
        let sentence_config = sentence::read_sentence_config(folder)?;
        let lengths = JsonFile::read_optional(&transformer.join("sentence_bert_config.json"))?;
        let tokenizer = JsonFile::read_optional(&transformer.join("tokenizer_config.json"))?;
        Ok(Spec {
            max_length: max_length(&architecture, lengths.as_ref(), tokenizer.as_ref())?,
            lowercase: lengths.as_ref().map_or(Ok(false), |file| file.flag_or("do_lower_case", false))?,
            truncate_left: truncates_left(tokenizer.as_ref())?,
            folder: transformer,
            architecture,
            pooling: modules.pooling,
            include_prompt: modules.include_prompt,
            normalize: modules.normalize,
            prompts: sentence_config.prompts,
            default_prompt_name: sentence_config.default_prompt_name,
            truncate_dim: sentence_config.truncate_dim,
            similarity: sentence_config.similarity.unwrap_or_else(|| "cosine".to_owned()),
        })
    }

    /// Components of a vector: one H for each pooled vector.
    pub fn dimension(&self) -> usize {
        self.architecture.hidden_size() * self.pooling.len()
    }

    /// The pooling in sentence-transformers' names, joined by `+`.
    pub fn pooling_name(&self) -> String {
        self.pooling.iter().map(|mode| mode.name()).collect::<Vec<_>>().join("+")
    }
}

/// `max_seq_length` where the checkpoint has it, else the tokenizer's limit; never past the position embeddings.
fn max_length(architecture: &Architecture, lengths: Option<&JsonFile>, tokenizer: Option<&JsonFile>) -> Result<usize> {
    let positions = architecture.max_positions();
    if let Some(file) = lengths
        && file.get("max_seq_length").is_some()
    {
        return Ok(file.integer("max_seq_length", 1..=1 << 24)?.min(positions));
    }
    // transformers writes 1e30 for "no limit", so this one is clamped, not checked.
    let limit = tokenizer.and_then(|file| file.get("model_max_length")).and_then(serde_json::Value::as_f64);
    Ok(limit.filter(|limit| *limit >= 1.0).map_or(positions, |limit| positions.min(limit as usize)))
}

fn truncates_left(tokenizer: Option<&JsonFile>) -> Result<bool> {
    let Some(file) = tokenizer else { return Ok(false) };
    match file.text_or("truncation_side", "right")? {
        "right" => Ok(false),
        "left" => Ok(true),
        _ => Err(file.unsupported("truncation_side", "\"right\", \"left\"")),
    }
}
