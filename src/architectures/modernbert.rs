//! `modernbert`: pre-norm, rotation, a gated network, local and global layers in turn. Source: transformers'
//! modeling_modernbert.py, configuration_modernbert.py.

use super::encoder::{Encoder, pre_norm};
use super::fields::{activation, head_size, layers, refuse_foreign, rows, width};
use super::names::Names;
use super::rope::{self, Defaults};
use crate::checkpoint::json::{JsonFile, MAX_ROWS};
use crate::error::Result;
use crate::transformer::{Attention, Embeddings, FeedForward, Layer, Reach, Rotation, Transformer};

/// Reads `model_type: modernbert`.
pub fn read(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    refuse_foreign(config)?;
    // Files carry these two beside the fields that count, and transformers reads neither.
    config.text_or("position_embedding_type", "absolute")?;
    config.positive_or("layer_norm_eps", 1e-5)?;
    names.find_prefix(&["model.", ""], "embeddings.tok_embeddings.weight");
    let hidden = width(config, "hidden_size", 768)?;
    let heads = width(config, "num_attention_heads", 12)?;
    let size = head_size(config, "num_attention_heads", hidden, heads)?;
    let wide = width(config, "intermediate_size", 1152)?;
    let count = layers(config, "num_hidden_layers", 22)?;
    let max_positions = rows(config, "max_position_embeddings", 8192)?;
    let epsilon = config.positive_or("norm_eps", 1e-5)?;
    let norm_biased = config.flag_or("norm_bias", false)?;
    let attention_biased = config.flag_or("attention_bias", false)?;
    let mlp_biased = config.flag_or("mlp_bias", false)?;
    let act = activation(config, "hidden_activation", "gelu")?;
    let radius = config.integer_or("local_attention", 2..=MAX_ROWS, Some(128))? / 2;
    let local = local_layers(config, count)?;
    let usual = Defaults { theta: 10_000.0, head_size: size, max_positions };
    let rotations = vec![
        rotation(config, "full_attention", "global_rope_theta", Defaults { theta: 160_000.0, ..usual })?,
        rotation(config, "sliding_attention", "local_rope_theta", usual)?,
    ];
    let norm = |name: &str| names.layer_norm_biased(name, hidden, epsilon, norm_biased);
    let shape = Encoder { hidden, heads, size };
    let layer = |index: usize| {
        let path = format!("layers.{index}");
        let packed = names.linear(&format!("{path}.attn.Wqkv"), [3 * hidden, hidden], attention_biased);
        let output = names.linear(&format!("{path}.attn.Wo"), [hidden, hidden], attention_biased);
        let inner = names.linear(&format!("{path}.mlp.Wi"), [2 * wide, hidden], mlp_biased);
        Layer {
            attention: Attention {
                rotation: Some(usize::from(local[index])),
                reach: if local[index] { Reach::around(radius) } else { Reach::ALL },
                ..shape.packed(&packed, output)
            },
            // The embeddings' own norm stands before the first.
            attention_norms: pre_norm((index > 0).then(|| norm(&format!("{path}.attn_norm")))),
            feed_forward: FeedForward {
                gate: Some(inner.part(0..wide)),
                up: inner.part(wide..2 * wide),
                down: names.linear(&format!("{path}.mlp.Wo"), [hidden, wide], mlp_biased),
                activation: act,
            },
            feed_forward_norms: pre_norm(Some(norm(&format!("{path}.mlp_norm")))),
            injection: None,
            scale: None,
        }
    };
    Ok(Transformer {
        hidden_size: hidden,
        max_positions,
        embeddings: Embeddings {
            replaced: None,
            words: names.matrix("embeddings.tok_embeddings.weight", [rows(config, "vocab_size", 50368)?, hidden]),
            positions: None,
            token_type: None,
            scale: 1.0,
            norm: Some(norm("embeddings.norm")),
        },
        rotations,
        relative_bias: None,
        layers: (0..count).map(layer).collect(),
        last_norm: Some(norm("final_norm")),
        projection: None,
    })
}

/// Which layers see their surroundings alone.
fn local_layers(config: &JsonFile, count: usize) -> Result<Vec<bool>> {
    let every = config.integer_or("global_attn_every_n_layers", 1..=MAX_ROWS, Some(3))?;
    match config.get("layer_types") {
        None => Ok((0..count).map(|index| !index.is_multiple_of(every)).collect()),
        Some(_) => rope::sliding_layers(config, count),
    }
}

/// The rotation of one kind of layer: nested in `rope_parameters`, with θ beside it in older files.
fn rotation(config: &JsonFile, kind: &str, old_theta: &str, defaults: Defaults) -> Result<Rotation> {
    let theta = config.positive_or(old_theta, defaults.theta)?;
    let defaults = Defaults { theta, ..defaults };
    config.refuse_present("rope_scaling")?;
    rope::of_kind(config, kind, defaults)
}
