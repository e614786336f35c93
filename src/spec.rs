//! A model folder in, one [`Spec`] out: everything that the checkpoint says of itself. Refused: a file that is missing
//! or broken, a field that would change the arithmetic in a way that ironvec does not do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::architectures;
use crate::batches::head::Head;
use crate::checkpoint::json::{JsonFile, Limit, MAX_ROWS, is_absent};
use crate::checkpoint::modules::{self, Modules};
use crate::checkpoint::onnx_file::OnnxFile;
use crate::checkpoint::pooling::PoolingMode;
use crate::checkpoint::static_table::{self, StaticTable};
use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};
use crate::transformer::Transformer;

/// What a checkpoint says of itself.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The folder of the transformer: config.json, weights, tokenizer.
    pub folder: PathBuf,
    /// What is run.
    pub network: Network,
    /// The pooled vectors that are concatenated, in order; never empty. An export that pools itself ignores them.
    pub pooling: Vec<PoolingMode>,
    /// Whether a `modules.json` says so; else it follows from the network.
    pub pooling_is_stated: bool,
    /// Whether the prompt's tokens take part in the pooling.
    pub include_prompt: bool,
    /// What follows the pooling.
    pub head: Head,
    /// Whether vectors are scaled to length 1 unless the caller says otherwise.
    pub normalize: bool,
    /// Tokens of a row at most, special tokens included.
    pub max_length: Limit,
    /// Which tokens of a text are seen.
    pub tokens: SeenTokens,
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

/// What is run: a network that graphs are written of, or a graph that others wrote.
#[derive(Debug, Clone)]
pub enum Network {
    /// A checkpoint: its description, and its weights.
    Checkpoint(Arc<Transformer>, Arc<Weights>),
    /// An ONNX file.
    OnnxFile(OnnxFile),
    /// A vector for each token, of which the mean is taken.
    StaticTable(Arc<StaticTable>),
}

/// Which tokens of a text a model sees.
#[derive(Debug, Clone, Copy)]
pub enum SeenTokens {
    /// All, and the special ones that the tokenizer adds.
    WithSpecial,
    /// All, and nothing else.
    TextAlone,
    /// Those that the vocabulary knows; long texts are cut before they are tokenized too, as model2vec does.
    KnownAlone,
}

impl Network {
    /// Rows of the word embedding table.
    pub fn vocab_size(&self) -> usize {
        match self {
            Network::Checkpoint(network, _) => network.embeddings.words.outputs(),
            Network::OnnxFile(file) => file.vocab_size,
            Network::StaticTable(table) => table.tokens(),
        }
    }

    /// Whether all matrices are a checkpoint's, of 16 bits.
    pub fn has_narrow_weights(&self) -> bool {
        match self {
            Network::Checkpoint(_, weights) => weights.are_narrow(),
            Network::OnnxFile(_) | Network::StaticTable(_) => false,
        }
    }

    /// Tokens of a row at most.
    pub fn max_positions(&self) -> usize {
        match self {
            Network::Checkpoint(network, _) => network.max_positions,
            Network::OnnxFile(file) => file.max_positions,
            Network::StaticTable(_) => MAX_ROWS,
        }
    }

    /// Whether no token sees a later one, as far as the files tell.
    fn is_causal(&self) -> bool {
        match self {
            Network::Checkpoint(network, _) => network.is_causal(),
            Network::OnnxFile(file) => file.is_decoder,
            Network::StaticTable(_) => false,
        }
    }

    /// What pools where no `modules.json` says it: the last token where only that one has seen all, else the mean.
    fn default_pooling(&self) -> PoolingMode {
        if self.is_causal() { PoolingMode::LastToken } else { PoolingMode::Mean }
    }
}

impl Spec {
    /// Reads a model folder. `onnx_file` names the file in it that is run instead of the checkpoint.
    pub fn read(folder: &Path, onnx_file: Option<&str>) -> Result<Self> {
        let found = modules::read_modules(folder)?;
        let bare = bare_model2vec(folder)?;
        if (found.is_static || bare.is_some()) && onnx_file.is_none() {
            return Self::read_static(folder, found, bare);
        }
        let transformer = found.transformer;
        let network = match onnx_file {
            Some(file) => Network::OnnxFile(OnnxFile::named(folder, file)?),
            None => read_network(&transformer)?,
        };
        let sentence_config = modules::read_sentence_config(folder)?;
        let lengths = JsonFile::read_optional(&transformer.join("sentence_bert_config.json"))?;
        let tokenizer = JsonFile::read_optional(&transformer.join("tokenizer_config.json"))?;
        Ok(Spec {
            max_length: max_length(&transformer, &network, lengths.as_ref(), tokenizer.as_ref())?,
            lowercase: lengths.as_ref().map_or(Ok(false), |file| file.flag_or("do_lower_case", false))?,
            truncate_left: truncates_left(tokenizer.as_ref())?,
            tokens: SeenTokens::WithSpecial,
            folder: transformer,
            pooling_is_stated: found.pooling.is_some(),
            pooling: found.pooling.unwrap_or_else(|| vec![network.default_pooling()]),
            network,
            include_prompt: found.include_prompt,
            head: found.head,
            normalize: found.normalize,
            prompts: sentence_config.prompts,
            default_prompt_name: sentence_config.default_prompt_name,
            truncate_dim: sentence_config.truncate_dim,
            similarity: sentence_config.similarity.unwrap_or_else(|| "cosine".to_owned()),
        })
    }

    /// Reads a folder that holds a table in place of a network. `bare` is model2vec's own config.json, where no
    /// `modules.json` says what follows.
    fn read_static(folder: &Path, found: Modules, bare: Option<JsonFile>) -> Result<Self> {
        let cut = static_table::truncation(&found.transformer)?;
        let limit = |value, field| Limit { value, path: found.transformer.join("config.json"), field };
        let (normalize, tokens, (max_length, truncate_left)) = match (bare, cut) {
            (Some(_), Some((limit, _))) => {
                let supported = "null in a model2vec folder without modules.json";
                return Err(Error::unsupported(&limit.path, "truncation", "set", supported));
            }
            (Some(config), None) => {
                let most = config.integer_or("max_length", 1..=MAX_ROWS, Some(512))?;
                let normalize = config.flag_or("normalize", false)?;
                (normalize, SeenTokens::KnownAlone, (limit(most, "max_length"), false))
            }
            (None, cut) => {
                let cut = cut.unwrap_or_else(|| (limit(MAX_ROWS, "max_length"), false));
                (found.normalize, SeenTokens::TextAlone, cut)
            }
        };
        let sentence_config = modules::read_sentence_config(folder)?;
        Ok(Spec {
            network: Network::StaticTable(Arc::new(StaticTable::open(&found.transformer)?)),
            folder: found.transformer,
            pooling: vec![PoolingMode::Mean],
            pooling_is_stated: true,
            include_prompt: true,
            head: found.head,
            normalize,
            max_length: Limit { value: max_length.value.min(MAX_ROWS), ..max_length },
            tokens,
            lowercase: false,
            truncate_left,
            prompts: sentence_config.prompts,
            default_prompt_name: sentence_config.default_prompt_name,
            truncate_dim: sentence_config.truncate_dim,
            similarity: sentence_config.similarity.unwrap_or_else(|| "cosine".to_owned()),
        })
    }

    /// The ONNX file, or the folder of a checkpoint.
    pub fn source(&self) -> &Path {
        match &self.network {
            Network::OnnxFile(file) => &file.path,
            Network::Checkpoint(..) | Network::StaticTable(_) => &self.folder,
        }
    }
}

/// The config.json of a model2vec folder that has no `modules.json`.
fn bare_model2vec(folder: &Path) -> Result<Option<JsonFile>> {
    let path = folder.join("config.json");
    if !is_absent(&folder.join("modules.json")) || is_absent(&path) {
        return Ok(None);
    }
    let config = JsonFile::read(&path, "")?;
    Ok((config.text_or("model_type", "")? == "model2vec").then_some(config))
}

/// The checkpoint where its family is known, or an ONNX file where the folder holds one.
fn read_network(folder: &Path) -> Result<Network> {
    let onnx_file = OnnxFile::beside(folder)?;
    let has_weights = Weights::present(folder);
    let config = JsonFile::read(&folder.join("config.json"), "a model folder holds config.json and model.safetensors");
    match (config, onnx_file) {
        (Ok(config), onnx_file) if has_weights || onnx_file.is_none() => {
            let known = architectures::is_known(config.text_or("model_type", "")?);
            match (known, onnx_file) {
                (false, Some(file)) => Ok(Network::OnnxFile(file)),
                (false, None) => Err(architectures::unknown(&config)),
                (true, _) => {
                    let weights = Weights::open(folder)?;
                    let network = architectures::read(&config, &weights)?;
                    Ok(Network::Checkpoint(Arc::new(network), Arc::new(weights)))
                }
            }
        }
        (_, Some(file)) => Ok(Network::OnnxFile(file)),
        (Err(error), None) => Err(error),
        (Ok(config), None) => Err(architectures::unknown(&config)),
    }
}

/// `max_seq_length` where the checkpoint has it, else the tokenizer's limit; never past the position embeddings.
fn max_length(
    folder: &Path,
    network: &Network,
    lengths: Option<&JsonFile>,
    tokenizer: Option<&JsonFile>,
) -> Result<Limit> {
    let positions = network.max_positions();
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
