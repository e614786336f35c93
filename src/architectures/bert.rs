//! `config.json` of `model_type: bert`, as transformers 5's `BertConfig` reads it. Every field that changes the
//! arithmetic is either in [`BertConfig`] or refused by name.

use crate::checkpoint::json::JsonFile;
use crate::checkpoint::json::{MAX_ROWS, MAX_WIDTH};
use crate::error::Result;

/// The feed-forward activation, in transformers' terms (`hidden_act`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `gelu`: x·Φ(x), with erf.
    Gelu,
    /// `gelu_new`, `gelu_pytorch_tanh`: the tanh approximation.
    GeluTanh,
    /// `relu`.
    Relu,
}

/// The shape and arithmetic of a BERT encoder.
#[derive(Debug, Clone)]
pub struct BertConfig {
    /// H.
    pub hidden_size: usize,
    /// Attention heads; D = H / heads.
    pub num_attention_heads: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Rows of the word embedding table.
    pub vocab_size: usize,
    /// Rows of the position embedding table: the longest row of tokens.
    pub max_position_embeddings: usize,
    /// Rows of the token type table.
    pub type_vocab_size: usize,
    /// ε of every LayerNorm.
    pub layer_norm_eps: f32,
    /// Feed-forward activation.
    pub hidden_act: Activation,
}

impl BertConfig {
    /// Reads the fields, with `BertConfig`'s own defaults where transformers has them.
    pub fn read(config: &JsonFile) -> Result<Self> {
        let position = config.text_or("position_embedding_type", "absolute")?;
        if position != "absolute" {
            return Err(config.unsupported("position_embedding_type", "\"absolute\""));
        }
        for flag in ["is_decoder", "add_cross_attention"] {
            config.refuse_flag(flag)?;
        }
        for field in ["pruned_heads", "quantization_config", "auto_map"] {
            config.refuse_present(field)?;
        }
        let hidden_act = match config.text_or("hidden_act", "gelu")? {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            _ => return Err(config.unsupported("hidden_act", "gelu, gelu_new, gelu_pytorch_tanh, relu")),
        };
        let bert = BertConfig {
            hidden_size: config.integer_or("hidden_size", 1..=MAX_WIDTH, Some(768))?,
            num_attention_heads: config.integer_or("num_attention_heads", 1..=MAX_WIDTH, Some(12))?,
            num_hidden_layers: config.integer_or("num_hidden_layers", 1..=1024, Some(12))?,
            intermediate_size: config.integer_or("intermediate_size", 1..=MAX_WIDTH, Some(3072))?,
            vocab_size: config.integer_or("vocab_size", 1..=MAX_ROWS, Some(30522))?,
            max_position_embeddings: config.integer_or("max_position_embeddings", 1..=MAX_ROWS, Some(512))?,
            type_vocab_size: config.integer_or("type_vocab_size", 1..=MAX_ROWS, Some(2))?,
            layer_norm_eps: config.positive_or("layer_norm_eps", 1e-12)?,
            hidden_act,
        };
        if !bert.hidden_size.is_multiple_of(bert.num_attention_heads) {
            return Err(config.unsupported(
                "num_attention_heads",
                format!("a divisor of hidden_size, which is {}", bert.hidden_size),
            ));
        }
        Ok(bert)
    }
}
