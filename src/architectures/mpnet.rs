//! `mpnet`: BERT with a bias by distance in every layer and positions that count from the padding's row on. Source:
//! transformers' modeling_mpnet.py.

use super::encoder::{Encoder, post_norm};
use super::fields::{activation, head_size, layers, refuse_foreign, rows, width};
use super::names::Names;
use crate::checkpoint::json::JsonFile;
use crate::error::Result;
use crate::transformer::{Embeddings, FeedForward, Layer, Positions, RelativeBias, Transformer};

/// The padding's id is fixed in the model's code, whatever config.json says.
const PADDING: i32 = 1;

/// Reads `model_type: mpnet`.
pub fn read(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    refuse_foreign(config)?;
    names.find_prefix(&["mpnet.", ""], "embeddings.word_embeddings.weight");
    let buckets = rows(config, "relative_attention_num_buckets", RelativeBias::BUCKETS)?;
    if buckets != RelativeBias::BUCKETS {
        // The model's code computes with 32 whatever the table has.
        return Err(config.unsupported("relative_attention_num_buckets", RelativeBias::BUCKETS.to_string()));
    }
    let hidden = width(config, "hidden_size", 768)?;
    let heads = width(config, "num_attention_heads", 12)?;
    let size = head_size(config, "num_attention_heads", hidden, heads)?;
    let wide = width(config, "intermediate_size", 3072)?;
    let act = activation(config, "hidden_act", "gelu")?;
    let epsilon = config.positive_or("layer_norm_eps", 1e-12)?;
    let shape = Encoder { hidden, heads, size };
    let layer = |index: usize| {
        let path = format!("encoder.layer.{index}");
        let part = |part: &str| names.linear(&format!("{path}.attention.attn.{part}"), [hidden, hidden], true);
        let dense = |part: &str, shape| names.linear(&format!("{path}.{part}.dense"), shape, true);
        let norm = |part: &str| post_norm(names.layer_norm(&format!("{path}.{part}.LayerNorm"), hidden, epsilon));
        Layer {
            attention: shape.attention(part("q"), part("k"), part("v"), part("o")),
            attention_norms: norm("attention"),
            feed_forward: FeedForward {
                gate: None,
                up: dense("intermediate", [wide, hidden]),
                down: dense("output", [hidden, wide]),
                activation: act,
            },
            feed_forward_norms: norm("output"),
            injection: None,
            scale: None,
        }
    };
    let table = |kind: &str, rows| names.matrix(&format!("embeddings.{kind}_embeddings.weight"), [rows, hidden]);
    let positions = table("position", config.integer_or("max_position_embeddings", 3..=1 << 24, Some(512))?);
    let positions = Positions { table: positions, skipped: Some(PADDING) };
    Ok(Transformer {
        hidden_size: hidden,
        max_positions: positions.reach(),
        embeddings: Embeddings {
            replaced: None,
            words: table("word", rows(config, "vocab_size", 30527)?),
            positions: Some(positions),
            token_type: None,
            scale: 1.0,
            norm: Some(names.layer_norm("embeddings.LayerNorm", hidden, epsilon)),
        },
        rotations: Vec::new(),
        relative_bias: Some(RelativeBias {
            table: names.matrix("encoder.relative_attention_bias.weight", [RelativeBias::BUCKETS, heads]),
        }),
        layers: (0..layers(config, "num_hidden_layers", 12)?).map(layer).collect(),
        last_norm: None,
        projection: None,
    })
}
