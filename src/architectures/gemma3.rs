//! `gemma3_text`: norms around each block that scale by 1 + weight, norms of queries and keys, local and global layers
//! with rotations of their own; causal, or looking both ways. Source: transformers' modeling_gemma3.py, masking_utils.py.

use super::fields::{activation, layers, refuse_foreign, rows, width};
use super::names::Names;
use super::rope::{self, Defaults};
use crate::checkpoint::json::{JsonFile, MAX_ROWS, MAX_WIDTH};
use crate::error::Result;
use crate::transformer::{Attention, BlockNorms, Embeddings, FeedForward, Layer, Norm, Reach, Rotation, Transformer};

/// Reads `model_type: gemma3_text`.
pub fn read(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    refuse_foreign(config)?;
    config.refuse_present("attn_logit_softcapping")?;
    names.find_prefix(&["model.", ""], "embed_tokens.weight");
    let hidden = width(config, "hidden_size", 2304)?;
    let heads = width(config, "num_attention_heads", 8)?;
    let key_value_heads = width(config, "num_key_value_heads", 4)?;
    if !heads.is_multiple_of(key_value_heads) {
        let supported = format!("a divisor of num_attention_heads, which is {heads}");
        return Err(config.unsupported("num_key_value_heads", supported));
    }
    let size = config.integer_or("head_dim", 2..=MAX_WIDTH, Some(256))?;
    let wide = width(config, "intermediate_size", 9216)?;
    let count = layers(config, "num_hidden_layers", 26)?;
    let max_positions = rows(config, "max_position_embeddings", 131_072)?;
    let epsilon = config.positive_or("rms_norm_eps", 1e-6)?;
    let biased = config.flag_or("attention_bias", false)?;
    let act = activation(config, "hidden_activation", "gelu_pytorch_tanh")?;
    let scale = 1.0 / config.positive_or("query_pre_attn_scalar", 256.0)?.sqrt();
    let window = config.integer_or("sliding_window", 1..=MAX_ROWS, Some(4096))?;
    let causal = !config.flag_or("use_bidirectional_attention", false)?;
    let local = local_layers(config, count)?;
    let usual = Defaults { theta: 1_000_000.0, head_size: size, max_positions };
    let norm = |name: &str, size| Norm { weight_offset: 1.0, ..names.rms_norm(name, size, epsilon) };
    let layer = |index: usize| {
        let path = format!("layers.{index}");
        let attention = |part: &str, shape| names.linear(&format!("{path}.self_attn.{part}_proj"), shape, biased);
        let mlp = |part: &str, shape| names.linear(&format!("{path}.mlp.{part}_proj"), shape, false);
        let around = |before: &str, after: &str| BlockNorms {
            input: Some(norm(&format!("{path}.{before}_layernorm"), hidden)),
            output: Some(norm(&format!("{path}.{after}_layernorm"), hidden)),
            sum: None,
        };
        Layer {
            attention: Attention {
                heads,
                key_value_heads,
                head_size: size,
                query: attention("q", [heads * size, hidden]),
                key: attention("k", [key_value_heads * size, hidden]),
                value: attention("v", [key_value_heads * size, hidden]),
                output: attention("o", [hidden, heads * size]),
                query_norm: Some(norm(&format!("{path}.self_attn.q_norm"), size)),
                key_norm: Some(norm(&format!("{path}.self_attn.k_norm"), size)),
                value_norm: None,
                scale,
                rotation: Some(usize::from(local[index])),
                reach: match (causal, local[index]) {
                    (true, local) => Reach::causal(local.then_some(window)),
                    (false, true) => Reach::around(window / 2),
                    (false, false) => Reach::ALL,
                },
            },
            attention_norms: around("input", "post_attention"),
            feed_forward: FeedForward {
                gate: Some(mlp("gate", [wide, hidden])),
                up: mlp("up", [wide, hidden]),
                down: mlp("down", [hidden, wide]),
                activation: act,
            },
            feed_forward_norms: around("pre_feedforward", "post_feedforward"),
            injection: None,
            scale: None,
        }
    };
    Ok(Transformer {
        hidden_size: hidden,
        max_positions,
        embeddings: Embeddings {
            replaced: None,
            words: names.matrix("embed_tokens.weight", [rows(config, "vocab_size", 262_208)?, hidden]),
            positions: None,
            token_type: None,
            scale: (hidden as f32).sqrt(),
            norm: None,
        },
        rotations: rotations(config, usual)?,
        relative_bias: None,
        layers: (0..count).map(layer).collect(),
        last_norm: Some(norm("norm", hidden)),
        projection: None,
    })
}

/// Which layers see their surroundings alone.
fn local_layers(config: &JsonFile, count: usize) -> Result<Vec<bool>> {
    let every = config.integer_or("sliding_window_pattern", 1..=MAX_ROWS, Some(6))?;
    // A name of older files, which transformers no longer reads: beside layer_types it says the same.
    config.integer_or("_sliding_window_pattern", 1..=MAX_ROWS, Some(6))?;
    match config.get("layer_types") {
        None => Ok((0..count).map(|index| !(index + 1).is_multiple_of(every)).collect()),
        Some(_) => rope::sliding_layers(config, count),
    }
}

/// That of global layers, and that of local ones.
fn rotations(config: &JsonFile, usual: Defaults) -> Result<Vec<Rotation>> {
    let global = Defaults { theta: config.positive_or("rope_theta", usual.theta)?, ..usual };
    let local = Defaults { theta: config.positive_or("rope_local_base_freq", 10_000.0)?, ..usual };
    let scaling = config.object("rope_scaling")?.filter(|rope| rope.fields().next().is_some());
    let first = match scaling {
        Some(scaling) => rope::of(config, "rope_scaling", &scaling, global)?,
        None => rope::of_kind(config, "full_attention", global)?,
    };
    Ok(vec![first, rope::of_kind(config, "sliding_attention", local)?])
}
