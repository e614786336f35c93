//! `config.json` of `model_type: qwen3`, as transformers 5's `Qwen3Config` reads it. Every field that changes the
//! arithmetic is either in [`Qwen3Config`] or refused by name.

use serde_json::Value;

use crate::checkpoint::json::JsonFile;
use crate::checkpoint::json::{MAX_ROWS, MAX_WIDTH};
use crate::error::Result;

/// The shape and arithmetic of a Qwen3 decoder.
#[derive(Debug, Clone)]
pub struct Qwen3Config {
    /// H.
    pub hidden_size: usize,
    /// Query heads, N.
    pub num_attention_heads: usize,
    /// Key and value heads; each serves `num_attention_heads / num_key_value_heads` query heads.
    pub num_key_value_heads: usize,
    /// D; independent of H / N.
    pub head_dim: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Rows of the word embedding table.
    pub vocab_size: usize,
    /// The longest row of tokens the model was made for.
    pub max_position_embeddings: usize,
    /// ε of every RMSNorm.
    pub rms_norm_eps: f32,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f32,
    /// Whether the four attention projections have biases.
    pub attention_bias: bool,
}

impl Qwen3Config {
    /// Reads the fields, with `Qwen3Config`'s own defaults where transformers has them.
    pub fn read(config: &JsonFile) -> Result<Self> {
        if config.text_or("hidden_act", "silu")? != "silu" {
            return Err(config.unsupported("hidden_act", "\"silu\""));
        }
        config.refuse_flag("use_sliding_window")?;
        for field in ["quantization_config", "auto_map"] {
            config.refuse_present(field)?;
        }
        if let Some(types) = config.get("layer_types") {
            let full = |kind: &Value| kind.as_str() == Some("full_attention");
            if !types.as_array().is_some_and(|types| types.iter().all(full)) {
                return Err(config.unsupported("layer_types", "a list of \"full_attention\""));
            }
        }
        let heads = config.integer_or("num_attention_heads", 1..=MAX_WIDTH, Some(32))?;
        let key_value_heads = match config.get("num_key_value_heads") {
            // transformers: 32 where the field is absent, as many as the query heads where it is null.
            None if config.has("num_key_value_heads") => heads,
            _ => config.integer_or("num_key_value_heads", 1..=MAX_WIDTH, Some(32))?,
        };
        if !heads.is_multiple_of(key_value_heads) {
            let supported = format!("a divisor of num_attention_heads, which is {heads}");
            return Err(config.unsupported("num_key_value_heads", supported));
        }
        let head_dim = config.integer_or("head_dim", 2..=MAX_WIDTH, Some(128))?;
        if !head_dim.is_multiple_of(2) {
            return Err(config.unsupported("head_dim", "an even number"));
        }
        Ok(Qwen3Config {
            hidden_size: config.integer_or("hidden_size", 1..=MAX_WIDTH, Some(4096))?,
            num_attention_heads: heads,
            num_key_value_heads: key_value_heads,
            head_dim,
            num_hidden_layers: config.integer_or("num_hidden_layers", 1..=1024, Some(32))?,
            intermediate_size: config.integer_or("intermediate_size", 1..=MAX_WIDTH, Some(22016))?,
            vocab_size: config.integer_or("vocab_size", 1..=MAX_ROWS, Some(151_936))?,
            max_position_embeddings: config.integer_or("max_position_embeddings", 1..=MAX_ROWS, Some(32768))?,
            rms_norm_eps: config.positive_or("rms_norm_eps", 1e-6)?,
            rope_theta: rope_theta(config)?,
            attention_bias: config.flag_or("attention_bias", false)?,
        })
    }

    /// 1 / θ^(2i/D) for each of the D/2 pairs, in float32 as transformers has them.
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        // torch takes the power in float64 of a float32 exponent and rounds it; so does this.
        let power = |exponent: f32| f64::from(self.rope_theta).powf(f64::from(exponent)) as f32;
        (0..self.head_dim / 2).map(|pair| 1.0 / power((2 * pair) as f32 / self.head_dim as f32)).collect()
    }
}

/// The base of the plain rotary embedding: in `rope_scaling` of older checkpoints, which goes before, or
/// `rope_parameters` of transformers 5; else beside them. Any other kind changes every vector, so it is refused.
fn rope_theta(config: &JsonFile) -> Result<f32> {
    for field in ["rope_scaling", "rope_parameters"] {
        let Some(rope) = config.object(field)? else { continue };
        // Newer transformers nests one object per layer type where they differ.
        let nested = rope.fields().any(|inner| matches!(rope.get(inner), Some(Value::Object(_))));
        if nested || rope.text_or("rope_type", rope.text_or("type", "default")?)? != "default" {
            return Err(config.unsupported(field, "absent, null, or of rope_type \"default\""));
        }
        if rope.positive_or("partial_rotary_factor", 1.0)? != 1.0 {
            return Err(config.unsupported(field, "no partial_rotary_factor, or 1.0"));
        }
        if rope.get("rope_theta").is_some() {
            return rope.positive_or("rope_theta", 10_000.0);
        }
    }
    config.positive_or("rope_theta", 10_000.0)
}
