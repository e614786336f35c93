//! `bert`, and what differs from it by its positions alone: `roberta`, `xlm-roberta`, `camembert`. Source: transformers'
//! modeling_bert.py, modeling_xlm_roberta.py.

use super::encoder::{Encoder, post_norm};
use super::fields::{activation, head_size, layers, refuse_foreign, rows, width};
use super::names::Names;
use crate::checkpoint::json::{JsonFile, MAX_ROWS};
use crate::error::Result;
use crate::transformer::{Embeddings, FeedForward, Layer, Positions, Transformer};

/// Reads `model_type: bert`.
pub fn read(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    encoder(config, names, &["bert.", ""], None)
}

/// Reads the RoBERTa kind: positions count from the padding's id on.
pub fn read_roberta(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    let padding = config.integer_or("pad_token_id", 0..=MAX_ROWS, Some(1))?;
    encoder(config, names, &["roberta.", ""], Some(padding as i32))
}

fn encoder(config: &JsonFile, names: &Names<'_>, prefixes: &[&str], skipped: Option<i32>) -> Result<Transformer> {
    if config.text_or("position_embedding_type", "absolute")? != "absolute" {
        return Err(config.unsupported("position_embedding_type", "\"absolute\""));
    }
    refuse_foreign(config)?;
    names.find_prefix(prefixes, "embeddings.word_embeddings.weight");
    let hidden = width(config, "hidden_size", 768)?;
    let heads = width(config, "num_attention_heads", 12)?;
    let size = head_size(config, "num_attention_heads", hidden, heads)?;
    let wide = width(config, "intermediate_size", 3072)?;
    let act = activation(config, "hidden_act", "gelu")?;
    let epsilon = config.positive_or("layer_norm_eps", 1e-12)?;
    let table = |kind: &str, rows| names.matrix(&format!("embeddings.{kind}_embeddings.weight"), [rows, hidden]);
    let positions = Positions { table: table("position", rows(config, "max_position_embeddings", 512)?), skipped };
    if positions.reach() == 0 {
        let supported = format!("more than the {} that padding takes", positions.table.outputs());
        return Err(config.unsupported("max_position_embeddings", supported));
    }
    let dense = |path: &str, shape| names.linear(&format!("{path}.dense"), shape, true);
    let after = |path: String| post_norm(names.layer_norm(&path, hidden, epsilon));
    let shape = Encoder { hidden, heads, size };
    let layer = |index: usize| {
        let path = format!("encoder.layer.{index}");
        let part = |part: &str| names.linear(&format!("{path}.attention.self.{part}"), [hidden, hidden], true);
        Layer {
            attention: shape.attention(
                part("query"),
                part("key"),
                part("value"),
                dense(&format!("{path}.attention.output"), [hidden, hidden]),
            ),
            attention_norms: after(format!("{path}.attention.output.LayerNorm")),
            feed_forward: FeedForward {
                gate: None,
                up: dense(&format!("{path}.intermediate"), [wide, hidden]),
                down: dense(&format!("{path}.output"), [hidden, wide]),
                activation: act,
            },
            feed_forward_norms: after(format!("{path}.output.LayerNorm")),
            injection: None,
            scale: None,
        }
    };
    Ok(Transformer {
        hidden_size: hidden,
        max_positions: positions.reach(),
        embeddings: Embeddings {
            replaced: None,
            words: table("word", rows(config, "vocab_size", 30522)?),
            positions: Some(positions),
            token_type: Some(table("token_type", rows(config, "type_vocab_size", 2)?).part(0..1)),
            scale: 1.0,
            norm: Some(names.layer_norm("embeddings.LayerNorm", hidden, epsilon)),
        },
        rotations: Vec::new(),
        relative_bias: None,
        layers: (0..layers(config, "num_hidden_layers", 12)?).map(layer).collect(),
        last_norm: None,
        projection: None,
    })
}
