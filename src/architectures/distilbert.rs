//! `distilbert`: BERT under other names, without token types. Source: transformers' modeling_distilbert.py.

use super::encoder::{Encoder, post_norm};
use super::fields::{activation, head_size, layers, refuse_foreign, rows, width};
use super::names::Names;
use crate::checkpoint::json::JsonFile;
use crate::error::Result;
use crate::transformer::{Embeddings, FeedForward, Layer, Positions, Transformer};

/// ε of every LayerNorm: no field says it.
const EPSILON: f32 = 1e-12;

/// Reads `model_type: distilbert`.
pub fn read(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    refuse_foreign(config)?;
    names.find_prefix(&["distilbert.", ""], "embeddings.word_embeddings.weight");
    // transformers takes both spellings.
    let either = |new: &'static str, old: &'static str| if config.has(old) { old } else { new };
    let hidden = width(config, either("hidden_size", "dim"), 768)?;
    let heads = width(config, either("num_attention_heads", "n_heads"), 12)?;
    let count = layers(config, either("num_hidden_layers", "n_layers"), 6)?;
    let wide = width(config, "hidden_dim", 3072)?;
    // It says how the table was begun, and the table is in the checkpoint.
    config.flag_or("sinusoidal_pos_embds", false)?;
    let size = head_size(config, either("num_attention_heads", "n_heads"), hidden, heads)?;
    let act = activation(config, "activation", "gelu")?;
    let positions = rows(config, "max_position_embeddings", 512)?;
    let shape = Encoder { hidden, heads, size };
    let layer = |index: usize| {
        let path = format!("transformer.layer.{index}");
        let linear = |part: &str, shape| names.linear(&format!("{path}.{part}"), shape, true);
        let square = |part: &str| linear(&format!("attention.{part}"), [hidden, hidden]);
        let norm = |name: &str| post_norm(names.layer_norm(&format!("{path}.{name}"), hidden, EPSILON));
        Layer {
            attention: shape.attention(square("q_lin"), square("k_lin"), square("v_lin"), square("out_lin")),
            attention_norms: norm("sa_layer_norm"),
            feed_forward: FeedForward {
                gate: None,
                up: linear("ffn.lin1", [wide, hidden]),
                down: linear("ffn.lin2", [hidden, wide]),
                activation: act,
            },
            feed_forward_norms: norm("output_layer_norm"),
            injection: None,
            scale: None,
        }
    };
    let table = |kind: &str, rows| names.matrix(&format!("embeddings.{kind}_embeddings.weight"), [rows, hidden]);
    Ok(Transformer {
        hidden_size: hidden,
        max_positions: positions,
        embeddings: Embeddings {
            replaced: None,
            words: table("word", rows(config, "vocab_size", 30522)?),
            positions: Some(Positions { table: table("position", positions), skipped: None }),
            token_type: None,
            scale: 1.0,
            norm: Some(names.layer_norm("embeddings.LayerNorm", hidden, EPSILON)),
        },
        rotations: Vec::new(),
        relative_bias: None,
        layers: (0..count).map(layer).collect(),
        last_norm: None,
        projection: None,
    })
}
