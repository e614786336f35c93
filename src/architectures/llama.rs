//! Pre-norm decoders with rotation and a gated network: `llama`, `mistral`, `qwen2`, `qwen3`; and `eurobert`, the same
//! looking both ways. Source: transformers' modeling_llama.py, modeling_mistral.py, modeling_qwen2.py, modeling_qwen3.py,
//! modeling_eurobert.py, masking_utils.py.

use super::fields::{accept_own_code, activation, head_size, layers, refuse_foreign, rows, width};
use super::names::Names;
use super::rope::{self, Defaults};
use crate::checkpoint::json::{JsonFile, MAX_ROWS, MAX_WIDTH};
use crate::error::Result;
use crate::transformer::{Attention, BlockNorms, Embeddings, FeedForward, Layer, Linear, Reach, Transformer};

/// What the families differ in.
struct Habits {
    hidden_size: usize,
    intermediate_size: usize,
    max_positions: usize,
    key_value_heads: Option<usize>,
    head_size: Option<usize>,
    epsilon: f32,
    theta: f32,
    attention_bias: Biases,
    mlp_bias: bool,
    head_norms: bool,
    causal: bool,
    window: Window,
}

/// Which projections have biases.
enum Biases {
    Never,
    /// Queries, keys and values.
    Inputs,
    /// All four, where `attention_bias` says.
    Stated,
}

/// Where a sliding window comes from.
enum Window {
    Never,
    /// `sliding_window`, 4096 where it is absent, in all layers.
    Everywhere,
    /// `sliding_window`, where `use_sliding_window` is true, in the layers that are told.
    Stated,
}

const LLAMA: Habits = Habits {
    hidden_size: 4096,
    intermediate_size: 11008,
    max_positions: 2048,
    key_value_heads: None,
    head_size: None,
    epsilon: 1e-6,
    theta: 10_000.0,
    attention_bias: Biases::Stated,
    mlp_bias: true,
    head_norms: false,
    causal: true,
    window: Window::Never,
};

/// Reads `model_type: llama`.
pub fn read_llama(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    decoder(config, names, &LLAMA)
}

/// Reads `model_type: mistral`.
pub fn read_mistral(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    let habits = Habits {
        intermediate_size: 14336,
        max_positions: 4096 * 32,
        key_value_heads: Some(8),
        attention_bias: Biases::Never,
        mlp_bias: false,
        window: Window::Everywhere,
        ..LLAMA
    };
    decoder(config, names, &habits)
}

/// Reads `model_type: qwen2`.
pub fn read_qwen2(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    // The code that gte-Qwen2 publishes beside its weights looks both ways, whatever config.json says, and transformers'
    // only where `is_causal` is false: where that is said the two agree, and else nobody can tell which is meant.
    if !config.flag_or("is_causal", true)? {
        accept_own_code(config);
    }
    decoder(config, names, &Habits { attention_bias: Biases::Inputs, ..QWEN })
}

/// Reads `model_type: qwen3`.
pub fn read_qwen3(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    decoder(config, names, &Habits { head_size: Some(128), head_norms: true, ..QWEN })
}

const QWEN: Habits = Habits {
    intermediate_size: 22016,
    max_positions: 32768,
    key_value_heads: Some(32),
    mlp_bias: false,
    window: Window::Stated,
    ..LLAMA
};

/// Reads `model_type: eurobert`.
pub fn read_eurobert(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    accept_own_code(config); // EuroBERT's, which transformers took over
    let habits = Habits {
        hidden_size: 768,
        intermediate_size: 3072,
        max_positions: 8192,
        epsilon: 1e-5,
        causal: false,
        ..LLAMA
    };
    decoder(config, names, &habits)
}

fn decoder(config: &JsonFile, names: &Names<'_>, habits: &Habits) -> Result<Transformer> {
    refuse_foreign(config)?;
    names.find_prefix(&["model.", ""], "embed_tokens.weight");
    let hidden = width(config, "hidden_size", habits.hidden_size)?;
    let heads = width(config, "num_attention_heads", if habits.causal { 32 } else { 12 })?;
    let key_value_heads = match (config.get("num_key_value_heads"), habits.key_value_heads) {
        // transformers: the class's number where the field is absent, as many as the query heads where it is null.
        (None, Some(usual)) if !config.has("num_key_value_heads") => usual,
        (None, _) => heads,
        (Some(_), _) => config.integer("num_key_value_heads", 1..=MAX_WIDTH)?,
    };
    if !heads.is_multiple_of(key_value_heads) {
        let supported = format!("a divisor of num_attention_heads, which is {heads}");
        return Err(config.unsupported("num_key_value_heads", supported));
    }
    let size = match (config.get("head_dim"), habits.head_size) {
        (None, Some(usual)) => usual,
        (None, None) => head_size(config, "num_attention_heads", hidden, heads)?,
        (Some(_), _) => config.integer("head_dim", 2..=MAX_WIDTH)?,
    };
    let wide = width(config, "intermediate_size", habits.intermediate_size)?;
    let count = layers(config, "num_hidden_layers", if habits.causal { 32 } else { 12 })?;
    let max_positions = rows(config, "max_position_embeddings", habits.max_positions)?;
    let epsilon = config.positive_or("rms_norm_eps", habits.epsilon)?;
    let stated = config.flag_or("attention_bias", false)?;
    let (inputs_biased, output_biased) = match habits.attention_bias {
        Biases::Never => (false, false),
        Biases::Inputs => (true, false),
        Biases::Stated => (stated, stated),
    };
    let mlp_biased = habits.mlp_bias && config.flag_or("mlp_bias", false)?;
    let act = activation(config, "hidden_act", "silu")?;
    let causal = habits.causal && config.flag_or("is_causal", true)?;
    let windows = windows(config, habits, count)?;
    let rotation = rope::read(config, Defaults { theta: habits.theta, head_size: size, max_positions })?;
    let layer = |index: usize| {
        let path = format!("layers.{index}");
        let attention =
            |part: &str, shape, biased| names.linear(&format!("{path}.self_attn.{part}_proj"), shape, biased);
        let mlp = |part: &str, shape| -> Linear { names.linear(&format!("{path}.mlp.{part}_proj"), shape, mlp_biased) };
        let before = |norm: &str| BlockNorms {
            input: Some(names.rms_norm(&format!("{path}.{norm}"), hidden, epsilon)),
            ..Default::default()
        };
        let of_heads = |part: &str| {
            habits.head_norms.then(|| names.rms_norm(&format!("{path}.self_attn.{part}_norm"), size, epsilon))
        };
        Layer {
            attention: Attention {
                heads,
                key_value_heads,
                head_size: size,
                query: attention("q", [heads * size, hidden], inputs_biased),
                key: attention("k", [key_value_heads * size, hidden], inputs_biased),
                value: attention("v", [key_value_heads * size, hidden], inputs_biased),
                output: attention("o", [hidden, heads * size], output_biased),
                query_norm: of_heads("q"),
                key_norm: of_heads("k"),
                value_norm: None,
                scale: 1.0 / (size as f32).sqrt(),
                rotation: Some(0),
                reach: match (causal, windows[index]) {
                    (true, window) => Reach::causal(window),
                    (false, None) => Reach::ALL,
                    (false, Some(radius)) => Reach::around(radius),
                },
            },
            attention_norms: before("input_layernorm"),
            feed_forward: FeedForward {
                gate: Some(mlp("gate", [wide, hidden])),
                up: mlp("up", [wide, hidden]),
                down: mlp("down", [hidden, wide]),
                activation: act,
            },
            feed_forward_norms: before("post_attention_layernorm"),
            injection: None,
            scale: None,
        }
    };
    Ok(Transformer {
        hidden_size: hidden,
        max_positions,
        embeddings: Embeddings {
            replaced: None,
            words: names.matrix("embed_tokens.weight", [rows(config, "vocab_size", 151_936)?, hidden]),
            positions: None,
            token_type: None,
            scale: 1.0,
            norm: None,
        },
        rotations: vec![rotation],
        relative_bias: None,
        layers: (0..count).map(layer).collect(),
        last_norm: Some(names.rms_norm("norm", hidden, epsilon)),
        projection: None,
    })
}

/// The sliding window of each layer.
fn windows(config: &JsonFile, habits: &Habits, count: usize) -> Result<Vec<Option<usize>>> {
    let window = |default| match config.get("sliding_window") {
        None => Ok(default),
        Some(_) => config.integer("sliding_window", 1..=MAX_ROWS).map(Some),
    };
    let absent = !config.has("sliding_window");
    let (window, from) = match habits.window {
        Window::Never => (None, 0),
        Window::Everywhere => (window(absent.then_some(4096))?, 0),
        Window::Stated => {
            let used = config.flag_or("use_sliding_window", false)?;
            let stated = window(absent.then_some(4096))?;
            (stated.filter(|_| used), config.integer_or("max_window_layers", 0..=MAX_ROWS, Some(28))?)
        }
    };
    if config.get("layer_types").is_none() {
        return Ok((0..count).map(|index| window.filter(|_| index >= from)).collect());
    }
    let sliding = rope::sliding_layers(config, count)?;
    if window.is_none() && sliding.contains(&true) {
        return Err(config.unsupported("layer_types", "\"full_attention\" alone where no sliding window is used"));
    }
    Ok(sliding.into_iter().map(|sliding| window.filter(|_| sliding)).collect())
}
