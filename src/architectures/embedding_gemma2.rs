//! `embedding_gemma2_text`, alone or inside `embedding_gemma2`, whose other towers are left out: looks both ways; wider
//! heads in global layers, bare norms of values, a signal from the embedded tokens into each layer, a last projection.
//! Source: transformers' modeling_embedding_gemma2.py, configuration_embedding_gemma2.py.

use super::fields::{activation, layers, refuse_foreign, refuse_unknown, rows, width};
use super::names::Names;
use super::rope::{self, Defaults};
use crate::checkpoint::json::{JsonFile, MAX_ROWS, MAX_WIDTH};
use crate::error::Result;
use crate::transformer::{
    Activation, Attention, BlockNorms, Embeddings, FeedForward, Injection, Layer, Norm, Reach, Replaced, Rotation,
    Transformer,
};

/// What layers have in common.
struct Shape {
    hidden: usize,
    wide: usize,
    signal: usize,
    count: usize,
    heads: usize,
    epsilon: f32,
    biased: bool,
    activation: Activation,
    window: usize,
}

/// What they differ in.
#[derive(Clone, Copy, PartialEq)]
struct Heads {
    key_value_heads: usize,
    size: usize,
}

/// Reads `model_type: embedding_gemma2`: the texts' part.
pub fn read_wrapped(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    for tower in ["vision_config", "audio_config"] {
        config.object(tower)?;
    }
    for marker in ["boi_token_id", "eoi_token_id", "boa_token_id", "eoa_token_index"] {
        config.get(marker); // around what the towers give
    }
    let Some(text) = config.object("text_config")? else {
        return Err(config.unsupported("text_config", "an object"));
    };
    if text.text_or("model_type", "embedding_gemma2_text")? != "embedding_gemma2_text" {
        return Err(text.unsupported("model_type", "\"embedding_gemma2_text\", in text_config"));
    }
    let mut network = read(&text, names)?;
    refuse_unknown(&text)?;
    let id = |file: &JsonFile, field: &str, default: Option<usize>| -> Result<i32> {
        Ok(i32::try_from(file.integer_or(field, 0..=MAX_ROWS, default)?).unwrap_or(i32::MAX))
    };
    let usual = [("image_token_id", 258_880), ("video_token_id", 258_884), ("audio_token_id", 258_881)];
    let ids = usual.iter().map(|(field, default)| id(config, field, Some(*default))).collect::<Result<Vec<_>>>()?;
    network.embeddings.replaced = Some(Replaced { ids, by: id(&text, "pad_token_id", Some(0))? });
    Ok(network)
}

/// Reads `model_type: embedding_gemma2_text`.
pub fn read(config: &JsonFile, names: &Names<'_>) -> Result<Transformer> {
    refuse_foreign(config)?;
    names.find_prefix(&["language_model.", "model.", ""], "embed_tokens.weight");
    let shape = Shape {
        hidden: width(config, "hidden_size", 512)?,
        wide: width(config, "intermediate_size", 2048)?,
        signal: width(config, "hidden_size_per_layer_input", 512)?,
        count: layers(config, "num_hidden_layers", 24)?,
        heads: width(config, "num_attention_heads", 4)?,
        epsilon: config.positive_or("rms_norm_eps", 1e-6)?,
        biased: config.flag_or("attention_bias", false)?,
        activation: activation(config, "hidden_activation", "gelu_pytorch_tanh")?,
        window: config.integer_or("sliding_window", 1..=MAX_ROWS, Some(512))?,
    };
    let hidden = shape.hidden;
    let max_positions = rows(config, "max_position_embeddings", 262_144)?;
    let local = local_layers(config, shape.count)?;
    let heads = heads_of_layers(config, &shape, &local)?;
    let layer = |index: usize| layer(names, &shape, heads[index], local[index], index);
    Ok(Transformer {
        hidden_size: hidden,
        max_positions,
        embeddings: Embeddings {
            replaced: None,
            words: names.matrix("embed_tokens.weight", [rows(config, "vocab_size", 262_144)?, hidden]),
            positions: None,
            token_type: None,
            scale: (hidden as f32).sqrt(),
            norm: None,
        },
        rotations: rotations(config, &heads, &local, max_positions)?,
        relative_bias: None,
        layers: (0..shape.count).map(layer).collect(),
        last_norm: Some(names.rms_norm("norm", hidden, shape.epsilon)),
        projection: Some(names.linear("embedding_projection", [width(config, "embedding_dim", 768)?, hidden], false)),
    })
}

fn layer(names: &Names<'_>, shape: &Shape, of: Heads, local: bool, index: usize) -> Layer {
    let Shape { hidden, wide, signal, count, heads, epsilon, biased, activation, window } = *shape;
    let Heads { key_value_heads, size } = of;
    let path = format!("layers.{index}");
    let norm = |name: &str, size| names.rms_norm(&format!("{path}.{name}"), size, epsilon);
    let linear = |name: &str, shape, biased| names.linear(&format!("{path}.{name}"), shape, biased);
    let around = |before: &str, after: &str| BlockNorms {
        input: Some(norm(&format!("{before}_layernorm"), hidden)),
        output: Some(norm(&format!("{after}_layernorm"), hidden)),
        sum: None,
    };
    let signals = names.linear("ple.per_layer_model_projection", [count * signal, hidden], false);
    // The signal is divided by √H before its norm: so is the root of what the norm adds, instead.
    let signal_epsilon = epsilon * hidden as f32;
    Layer {
        attention: Attention {
            heads,
            key_value_heads,
            head_size: size,
            query: linear("self_attn.q_proj", [heads * size, hidden], biased),
            key: linear("self_attn.k_proj", [key_value_heads * size, hidden], biased),
            value: linear("self_attn.v_proj", [key_value_heads * size, hidden], biased),
            output: linear("self_attn.o_proj", [hidden, heads * size], biased),
            query_norm: Some(norm("self_attn.q_norm", size)),
            key_norm: Some(norm("self_attn.k_norm", size)),
            value_norm: Some(Norm::bare_root_mean_square(epsilon)),
            scale: 1.0,
            rotation: Some(usize::from(local)),
            reach: if local { Reach::around(window) } else { Reach::ALL },
        },
        attention_norms: around("input", "post_attention"),
        feed_forward: FeedForward {
            gate: Some(linear("mlp.gate_proj", [wide, hidden], false)),
            up: linear("mlp.up_proj", [wide, hidden], false),
            down: linear("mlp.down_proj", [hidden, wide], false),
            activation,
        },
        feed_forward_norms: around("pre_feedforward", "post_feedforward"),
        injection: Some(Injection {
            signal: signals.part(index * signal..(index + 1) * signal),
            signal_norm: Some(names.rms_norm("ple.per_layer_projection_norm", signal, signal_epsilon)),
            gate: linear("ple_block.per_layer_input_gate", [signal, hidden], false),
            activation,
            output: linear("ple_block.per_layer_projection", [hidden, signal], false),
            norms: BlockNorms {
                output: Some(norm("ple_block.post_per_layer_input_norm", hidden)),
                ..BlockNorms::default()
            },
        }),
        scale: Some(names.vector(&format!("{path}.layer_scalar"), 1)),
    }
}

/// Which layers see their surroundings alone; never the last one.
fn local_layers(config: &JsonFile, count: usize) -> Result<Vec<bool>> {
    let every = config.integer_or("sliding_window_pattern", 1..=MAX_ROWS, Some(6))?;
    let mut local = match config.get("layer_types") {
        None => (0..count).map(|index| !(index + 1).is_multiple_of(every)).collect(),
        Some(_) => rope::sliding_layers(config, count)?,
    };
    if let Some(last) = local.last_mut() {
        *last = false;
    }
    Ok(local)
}

/// The heads of each layer: the config's own, and what `per_layer_config` says of some.
fn heads_of_layers(config: &JsonFile, shape: &Shape, local: &[bool]) -> Result<Vec<Heads>> {
    let read = |file: &JsonFile, fields: [&str; 2], usual: Heads| -> Result<Heads> {
        let [heads_field, size_field] = fields;
        let key_value_heads = width(file, heads_field, usual.key_value_heads)?;
        if !shape.heads.is_multiple_of(key_value_heads) {
            let supported = format!("a divisor of num_attention_heads, which is {}", shape.heads);
            return Err(file.unsupported(heads_field, supported));
        }
        let size = file.integer_or(size_field, 2..=MAX_WIDTH, Some(usual.size))?;
        if !size.is_multiple_of(2) {
            return Err(file.unsupported(size_field, "an even number, for rotation"));
        }
        Ok(Heads { key_value_heads, size })
    };
    let own = ["num_key_value_heads", "head_dim"];
    let usual = read(config, own, Heads { key_value_heads: 2, size: 256 })?;
    let global_fields = ["num_global_key_value_heads", "global_head_dim"];
    let global = read(config, global_fields, Heads { key_value_heads: 1, size: 512 })?;
    let Some(stated) = config.object("per_layer_config")? else {
        // Null is not absent here: transformers then leaves all layers alike.
        let alike = config.has("per_layer_config");
        return Ok(local.iter().map(|local| if *local || alike { usual } else { global }).collect());
    };
    let mut heads = vec![usual; shape.count];
    for key in stated.fields() {
        let index = key.parse().ok().filter(|index: &usize| *index < shape.count);
        let (Some(index), Some(layer)) = (index, stated.object(key)?) else {
            let supported = format!("an object that has objects for numbers of layers, 0 to {}", shape.count - 1);
            return Err(config.unsupported("per_layer_config", supported));
        };
        heads[index] = read(&layer, own, usual)?;
        refuse_unknown(&layer)?;
    }
    Ok(heads)
}

/// That of global layers, and that of local ones where there are any.
fn rotations(config: &JsonFile, heads: &[Heads], local: &[bool], max_positions: usize) -> Result<Vec<Rotation>> {
    let parameters = config.object("rope_parameters")?;
    let of = |kind: &str, is_local: bool, theta: f32| -> Result<Option<Rotation>> {
        let mut alike = heads.iter().zip(local).filter(|(_, local)| **local == is_local).map(|(heads, _)| *heads);
        let Some(first) = alike.next() else { return Ok(None) };
        if alike.any(|other| other != first) {
            return Err(config.unsupported("per_layer_config", format!("the same for each {kind} layer")));
        }
        let defaults = Defaults { theta, head_size: first.size, max_positions };
        let Some(parameters) = &parameters else { return Ok(Some(rope::plain(defaults))) };
        let Some(stated) = parameters.object(kind)? else {
            return Err(config.unsupported("rope_parameters", format!("an object that has {kind}")));
        };
        rope::of(config, "rope_parameters", &stated, defaults).map(Some)
    };
    let [global, local] = [of("full_attention", false, 1_000_000.0)?, of("sliding_attention", true, 10_000.0)?];
    Ok(global.into_iter().chain(local).collect())
}
