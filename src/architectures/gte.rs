//! `new` and `gte`: Alibaba's encoders, in the names of their remote code and in transformers' own. Post-norm, rotation,
//! packed projections with biases, a gated network without. Source: transformers' modeling_gte.py; Alibaba-NLP/new-impl.

use super::encoder::{Encoder, post_norm};
use super::fields::{accept_own_code, activation, head_size, layers, refuse_foreign, rows, width};
use super::names::Names;
use super::rope::{self, Defaults};
use crate::checkpoint::json::{JsonFile, MAX_ROWS};
use crate::error::Result;
use crate::transformer::{Activation, Attention, Embeddings, FeedForward, Layer, Positions, Rotation, Transformer};

/// Reads `model_type: new`.
pub fn read_new(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    encoder(config, names, 10_000.0, 2048)
}

/// Reads `model_type: gte`.
pub fn read_gte(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    encoder(config, names, 160_000.0, 8192)
}

fn encoder(config: &JsonFile, names: &Names<'_>, theta: f32, max_positions: usize) -> Result<Transformer> {
    refuse_foreign(config)?;
    accept_own_code(config); // Alibaba-NLP/new-impl
    for flag in ["logn_attention_scale", "logn_attention_clip1"] {
        config.refuse_flag(flag)?;
    }
    if config.text_or("layer_norm_type", "layer_norm")? != "layer_norm" {
        return Err(config.unsupported("layer_norm_type", "\"layer_norm\""));
    }
    config.flag_or("pack_qkv", true)?; // the tensors' names say it
    names.find_prefix(&["new.", "gte.", ""], "embeddings.word_embeddings.weight");
    let hidden = width(config, "hidden_size", 768)?;
    let heads = width(config, "num_attention_heads", 12)?;
    let size = head_size(config, "num_attention_heads", hidden, heads)?;
    let wide = width(config, "intermediate_size", 3072)?;
    let count = layers(config, "num_hidden_layers", 12)?;
    let max_positions = rows(config, "max_position_embeddings", max_positions)?;
    let epsilon = config.positive_or("layer_norm_eps", 1e-12)?;
    let act = activation(config, "hidden_act", "gelu")?;
    let types = config.integer_or("type_vocab_size", 0..=MAX_ROWS, Some(1))?;
    let rotated = match config.text_or("position_embedding_type", "rope")? {
        "rope" => true,
        "absolute" => false,
        _ => return Err(config.unsupported("position_embedding_type", "\"rope\", \"absolute\"")),
    };
    let rotation = rotation(config, Defaults { theta, head_size: size, max_positions })?;
    let shape = Encoder { hidden, heads, size };
    let table = |kind: &str, rows| names.matrix(&format!("embeddings.{kind}_embeddings.weight"), [rows, hidden]);
    let layer = |index: usize| layer(names, shape, (wide, act), epsilon, rotated, index);
    Ok(Transformer {
        hidden_size: hidden,
        max_positions,
        embeddings: Embeddings {
            replaced: None,
            words: table("word", rows(config, "vocab_size", 30528)?),
            positions: (!rotated).then(|| Positions { table: table("position", max_positions), skipped: None }),
            token_type: (types > 0).then(|| table("token_type", types).part(0..1)),
            scale: 1.0,
            norm: Some(names.layer_norm("embeddings.LayerNorm", hidden, epsilon)),
        },
        rotations: if rotated { vec![rotation] } else { Vec::new() },
        relative_bias: None,
        layers: (0..count).map(layer).collect(),
        last_norm: None,
        projection: None,
    })
}

fn layer(
    names: &Names<'_>,
    shape: Encoder,
    (wide, activation): (usize, Activation),
    epsilon: f32,
    rotated: bool,
    index: usize,
) -> Layer {
    let hidden = shape.hidden;
    let remote = format!("encoder.layer.{index}");
    let is_remote = names.has(&format!("{remote}.attn_ln.weight"));
    let path = if is_remote { remote } else { format!("layers.{index}") };
    let linear = |part: String, shape, biased| names.linear(&format!("{path}.{part}"), shape, biased);
    let module = if is_remote { "attention" } else { "self_attn" };
    let square = |part: &str| linear(format!("{module}.{part}"), [hidden, hidden], true);
    let packed = format!("{module}.qkv_proj");
    let attention = match names.has(&format!("{path}.{packed}.weight")) {
        true => shape.packed(&linear(packed, [3 * hidden, hidden], true), square("o_proj")),
        false => shape.attention(square("q_proj"), square("k_proj"), square("v_proj"), square("o_proj")),
    };
    let (up, gate) = if is_remote {
        let both = linear("mlp.up_gate_proj".to_owned(), [2 * wide, hidden], false);
        (both.part(0..wide), both.part(wide..2 * wide))
    } else {
        let one = |part: &str| linear(format!("mlp.{part}_proj"), [wide, hidden], false);
        (one("up"), one("gate"))
    };
    let [first, second] =
        if is_remote { ["attn_ln", "mlp_ln"] } else { ["post_attention_layernorm", "post_mlp_layernorm"] };
    let norm = |part: &str| post_norm(names.layer_norm(&format!("{path}.{part}"), hidden, epsilon));
    Layer {
        attention: Attention { rotation: rotated.then_some(0), ..attention },
        attention_norms: norm(first),
        feed_forward: FeedForward {
            gate: Some(gate),
            up,
            down: linear("mlp.down_proj".to_owned(), [hidden, wide], true),
            activation,
        },
        feed_forward_norms: norm(second),
        injection: None,
        scale: None,
    }
}

/// The remote code's `ntk`, for every length; else as transformers has it.
fn rotation(config: &JsonFile, defaults: Defaults) -> Result<Rotation> {
    let scaling = config.object("rope_scaling")?;
    let Some(scaling) = scaling.filter(|rope| matches!(rope.text_or("type", ""), Ok("ntk"))) else {
        return rope::read(config, defaults);
    };
    let theta = config.positive_or("rope_theta", defaults.theta)?;
    let factor = scaling.positive_or("factor", 1.0)?;
    if factor <= 1.0 {
        return Ok(rope::plain(Defaults { theta, ..defaults }));
    }
    let pairs = defaults.head_size as f32 / 2.0;
    let mut rotation = match scaling.get("mixed_b") {
        None => rope::plain(Defaults { theta: theta * factor, ..defaults }),
        Some(_) => rope::plain(Defaults { theta, ..defaults }),
    };
    let mixed = scaling.get("mixed_b").map(|_| scaling.positive_or("mixed_b", 1.0)).transpose()?;
    for (pair, frequency) in rotation.inverse_frequencies.iter_mut().enumerate() {
        *frequency /= match mixed {
            None => factor.powf(1.0 / pairs),
            Some(power) => (factor.ln() / pairs.powf(power) * ((pair + 1) as f32).powf(power)).exp(),
        };
    }
    Ok(rotation)
}
