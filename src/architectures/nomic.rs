//! `nomic_bert`, in the names and fields of its published remote code and in transformers' own. Post-norm, rotation, a
//! gated network, no biases but the norms'. Source: transformers' modeling_nomic_bert.py; nomic-ai's modeling_hf_nomic_bert.py.

use super::encoder::{Encoder, post_norm};
use super::fields::{accept_own_code, activation, head_size, layers, refuse_foreign, rows, width};
use super::names::Names;
use super::rope::{self, Defaults};
use crate::checkpoint::json::{JsonFile, MAX_ROWS};
use crate::error::Result;
use crate::transformer::{Activation, Attention, Embeddings, FeedForward, Layer, Norm, Rotation, Transformer};

/// What both spellings come to.
struct Shape {
    encoder: Encoder,
    wide: usize,
    layers: usize,
    max_positions: usize,
    epsilon: f32,
    activation: Activation,
    rotation: Rotation,
    /// Whether the tensors have the remote code's names.
    remote: bool,
}

/// Reads `model_type: nomic_bert`.
pub fn read(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    refuse_foreign(config)?;
    accept_own_code(config); // nomic-ai/nomic-bert-2048
    names.find_prefix(&["bert.", "nomic_bert.", ""], "embeddings.word_embeddings.weight");
    let remote = names.has("emb_ln.weight");
    let shape = if config.has("n_embd") { remote_fields(config, remote)? } else { own_fields(config, remote)? };
    let Encoder { hidden, .. } = shape.encoder;
    let table = |kind: &str, rows| names.matrix(&format!("embeddings.{kind}_embeddings.weight"), [rows, hidden]);
    let types = config.integer_or("type_vocab_size", 0..=MAX_ROWS, Some(2))?;
    let norm = if remote { "emb_ln" } else { "embeddings.LayerNorm" };
    Ok(Transformer {
        hidden_size: hidden,
        max_positions: shape.max_positions,
        embeddings: Embeddings {
            replaced: None,
            words: table("word", rows(config, "vocab_size", 30528)?),
            positions: None,
            token_type: (types > 0).then(|| table("token_type", types).part(0..1)),
            scale: 1.0,
            norm: Some(names.layer_norm(norm, hidden, shape.epsilon)),
        },
        rotations: vec![shape.rotation.clone()],
        relative_bias: None,
        layers: (0..shape.layers).map(|index| layer(names, &shape, index)).collect(),
        last_norm: None,
        projection: None,
    })
}

fn layer(names: &Names<'_>, shape: &Shape, index: usize) -> Layer {
    let Encoder { hidden, .. } = shape.encoder;
    let path = if shape.remote { format!("encoder.layers.{index}") } else { format!("layers.{index}") };
    let linear = |part: &str, shape| names.linear(&format!("{path}.{part}"), shape, false);
    let norm = |part: &str| -> Norm { names.layer_norm(&format!("{path}.{part}"), hidden, shape.epsilon) };
    let square = |part: &str| linear(part, [hidden, hidden]);
    let attention = if shape.remote {
        shape.encoder.packed(&linear("attn.Wqkv", [3 * hidden, hidden]), square("attn.out_proj"))
    } else {
        let part = |part: &str| square(&format!("self_attn.{part}_proj"));
        shape.encoder.attention(part("q"), part("k"), part("v"), part("o"))
    };
    let [up, gate, down] = if shape.remote { ["fc11", "fc12", "fc2"] } else { ["up_proj", "gate_proj", "down_proj"] };
    let [first, second] =
        if shape.remote { ["norm1", "norm2"] } else { ["post_attention_layernorm", "post_mlp_layernorm"] };
    Layer {
        attention: Attention { rotation: Some(0), ..attention },
        attention_norms: post_norm(norm(first)),
        feed_forward: FeedForward {
            gate: Some(linear(&format!("mlp.{gate}"), [shape.wide, hidden])),
            up: linear(&format!("mlp.{up}"), [shape.wide, hidden]),
            down: linear(&format!("mlp.{down}"), [hidden, shape.wide]),
            activation: shape.activation,
        },
        feed_forward_norms: post_norm(norm(second)),
        injection: None,
        scale: None,
    }
}

/// The remote code's fields.
fn remote_fields(config: &JsonFile, remote: bool) -> Result<Shape> {
    for flag in [
        "rotary_emb_interleaved",
        "qkv_proj_bias",
        "mlp_fc1_bias",
        "mlp_fc2_bias",
        "prenorm",
        "parallel_block",
        "use_rms_norm",
        "causal",
    ] {
        config.refuse_flag(flag)?;
    }
    config.refuse_present("rotary_emb_scale_base")?;
    for (field, idle) in [("num_experts", 0), ("moe_every_n_layers", 0)] {
        if config.integer_or(field, 0..=MAX_ROWS, Some(0))? > idle {
            return Err(config.unsupported(field, "0 or absent"));
        }
    }
    for (field, only) in [("rotary_emb_fraction", 1.0)] {
        if config.positive_or(field, only)? != only {
            return Err(config.unsupported(field, only.to_string()));
        }
    }
    if !config.flag_or("scale_attn_weights", true)? {
        return Err(config.unsupported("scale_attn_weights", "true"));
    }
    let act = match config.text_or("activation_function", "swiglu")? {
        "swiglu" => Activation::Silu,
        "geglu" => Activation::Gelu,
        _ => return Err(config.unsupported("activation_function", "\"swiglu\", \"geglu\"")),
    };
    let hidden = width(config, "n_embd", 768)?;
    let heads = width(config, "n_head", 12)?;
    let size = head_size(config, "n_head", hidden, heads)?;
    let trained = rows(config, "max_trained_positions", 2048)?;
    let positions = rows(config, "n_positions", 2048)?;
    // With a scaling factor θ grows with rows longer than those trained on; rows end there.
    let scaled = config.get("rotary_scaling_factor").is_some();
    let max_positions = if scaled { positions.min(trained) } else { positions };
    let theta = config.positive_or("rotary_emb_base", 10_000.0)?;
    Ok(Shape {
        encoder: Encoder { hidden, heads, size },
        wide: width(config, "n_inner", 4 * hidden)?,
        layers: layers(config, "n_layer", 12)?,
        max_positions,
        epsilon: config.positive_or("layer_norm_epsilon", 1e-5)?,
        activation: act,
        rotation: rope::plain(Defaults { theta, head_size: size, max_positions }),
        remote,
    })
}

/// transformers' own fields.
fn own_fields(config: &JsonFile, remote: bool) -> Result<Shape> {
    let hidden = width(config, "hidden_size", 768)?;
    let heads = width(config, "num_attention_heads", 12)?;
    let size = head_size(config, "num_attention_heads", hidden, heads)?;
    if config.integer_or("head_dim", 1..=MAX_ROWS, Some(size))? != size {
        return Err(config.unsupported("head_dim", format!("{size}, or absent")));
    }
    let max_positions = rows(config, "max_position_embeddings", 2048)?;
    Ok(Shape {
        encoder: Encoder { hidden, heads, size },
        wide: width(config, "intermediate_size", 3072)?,
        layers: layers(config, "num_hidden_layers", 12)?,
        max_positions,
        epsilon: config.positive_or("layer_norm_eps", 1e-12)?,
        activation: activation(config, "hidden_act", "silu")?,
        rotation: rope::read(config, Defaults { theta: 1000.0, head_size: size, max_positions })?,
        remote,
    })
}
