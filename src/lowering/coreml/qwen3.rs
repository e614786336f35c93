//! The Qwen3 decoder (transformers' `Qwen3Model`) in the provider's operators. N query heads in groups of G that share
//! one of K key/value heads, of size D each; the residual stream is 2-D, (B·L, H). The γ of each RMSNorm is in the
//! columns of the projection that follows it, 1/√D in the γ of the queries.

use super::INPUTS_EMBEDS;
use super::parts::{HIDDEN, StaticGraph};
use crate::architectures::qwen3::Qwen3Config;
use crate::error::Result;
use crate::lowering::onnx::builder::Value;
use crate::lowering::onnx::folding::Part;

/// What every layer reads beside its weights.
struct Shared {
    config: Qwen3Config,
    prefix: &'static str,
    /// (1, L, 1, D).
    cos: Value,
    /// (1, L, 1, D): the first half negated, so that no value needs to be.
    sin: Value,
    /// (1, 1, G·L, L): 0 where a query sees a key, else [`HIDDEN`].
    causal_bias: Value,
}

/// Embedded tokens to hidden states: (B, L, H) -> (B·L, H).
pub fn decoder(graph: &mut StaticGraph<'_>, config: &Qwen3Config) -> Result<Value> {
    let (rows, length, hidden) = (graph.rows(), graph.length(), config.hidden_size);
    let embedded = graph.input(INPUTS_EMBEDS, &[rows, length, hidden])?;
    let shared = shared(graph, config)?;
    let mut residual = graph.reshape("embedded", &embedded, &[rows * length, hidden])?;
    for layer in 0..config.num_hidden_layers {
        let attended = attention(graph, &shared, layer, &residual)?;
        residual = graph.op(&format!("layers.{layer}.attended"), "Add", &[&attended, &residual])?;
        let expanded = feed_forward(graph, &shared, layer, &residual)?;
        residual = graph.op(&format!("layers.{layer}"), "Add", &[&expanded, &residual])?;
    }
    let normed = graph.rms_norm("normed", &residual, 1, config.rms_norm_eps)?;
    let gamma = graph.weight(&format!("{}norm.weight", shared.prefix), &[hidden])?;
    graph.op("hidden_states", "Mul", &[&normed, &gamma])
}

fn shared(graph: &mut StaticGraph<'_>, config: &Qwen3Config) -> Result<Shared> {
    let (length, width) = (graph.length(), config.head_dim);
    let group = config.num_attention_heads / config.num_key_value_heads;
    // transformers rounds position times frequency to float32 before it takes the cosine; so does this.
    let frequencies = config.inverse_frequencies();
    let angles = |position: usize| frequencies.iter().map(move |frequency| position as f32 * frequency);
    let cos: Vec<f32> = (0..length).flat_map(|at| angles(at).chain(angles(at)).map(f32::cos)).collect();
    let sin: Vec<f32> =
        (0..length).flat_map(|at| angles(at).map(|x| -x.sin()).chain(angles(at).map(f32::sin))).collect();
    let seen = |query: usize| (0..length).map(move |key| if key <= query { 0.0 } else { HIDDEN });
    let causal: Vec<f32> = (0..length).flat_map(seen).collect();
    Ok(Shared {
        config: config.clone(),
        prefix: if graph.has_weight("model.embed_tokens.weight") { "model." } else { "" },
        cos: graph.constant("cos", &[1, length, 1, width], &cos)?,
        sin: graph.constant("sin", &[1, length, 1, width], &sin)?,
        causal_bias: graph.constant("causal_bias", &[1, 1, group * length, length], &causal.repeat(group))?,
    })
}

impl Shared {
    fn tensor(&self, layer: usize, module: &str) -> String {
        format!("{}layers.{layer}.{module}", self.prefix)
    }

    /// A projection of a normed state, the norm's γ in its columns.
    fn after_norm(&self, layer: usize, module: &str, norm: &str, outputs: usize) -> Part {
        Part {
            column_scale: Some(self.tensor(layer, &format!("{norm}.weight"))),
            ..Part::plain(self.tensor(layer, &format!("{module}.weight")), &[outputs, self.config.hidden_size])
        }
    }
}

/// RMSNorm, self-attention, output projection. (B·L, H) -> (B·L, H).
fn attention(graph: &mut StaticGraph<'_>, shared: &Shared, layer: usize, residual: &Value) -> Result<Value> {
    let config = &shared.config;
    let (rows, length) = (graph.rows(), graph.length());
    let (heads, key_heads, width) = (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
    let (rotated_heads, group) = (heads + key_heads, heads / key_heads);
    let name = |part: &str| format!("layers.{layer}.attention.{part}");
    let parts = [("q", heads), ("k", key_heads), ("v", key_heads)];

    let normed = graph.rms_norm(&name("input"), residual, 1, config.rms_norm_eps)?;
    let outputs = (heads + 2 * key_heads) * width;
    let stacked = parts.map(|(part, heads)| {
        shared.after_norm(layer, &format!("self_attn.{part}_proj"), "input_layernorm", heads * width)
    });
    let weight = graph.folded(&name("qkv.weight"), &[outputs, config.hidden_size], stacked.to_vec())?;
    let bias = match config.attention_bias {
        false => None,
        true => {
            let biases = parts.map(|(part, heads)| {
                Part::plain(shared.tensor(layer, &format!("self_attn.{part}_proj.bias")), &[heads * width])
            });
            Some(graph.folded(&name("qkv.bias"), &[outputs], biases.to_vec())?)
        }
    };
    let projected = graph.gemm(&name("qkv"), &normed, &weight, bias.as_ref())?;
    let [rotating, value] = graph.split(&name("qk"), &projected, 1, [rotated_heads * width, key_heads * width])?;

    // Queries and keys go through their norms and the rotation together: (B, L, N + K, D).
    let by_head = graph.reshape(&name("qk.heads"), &rotating, &[rows, length, rotated_heads, width])?;
    let normed = graph.rms_norm(&name("qk.normed"), &by_head, 3, config.rms_norm_eps)?;
    let query_gamma = Part {
        scale: 1.0 / (width as f32).sqrt(),
        copies: heads,
        ..Part::plain(shared.tensor(layer, "self_attn.q_norm.weight"), &[width])
    };
    let key_gamma =
        Part { copies: key_heads, ..Part::plain(shared.tensor(layer, "self_attn.k_norm.weight"), &[width]) };
    let gamma = graph.folded(&name("qk.gamma"), &[1, 1, rotated_heads, width], vec![query_gamma, key_gamma])?;
    let scaled = graph.op(&name("qk.scaled"), "Mul", &[&normed, &gamma])?;
    let rotated = rotate(graph, shared, &name("qk"), &scaled)?;
    let [query, key] = graph.split(&name("q"), &rotated, 2, [heads, key_heads])?;

    // (B, L, N, D) -> (B, K, G·L, D): the query heads of a group lie side by side, so keys and values serve them all.
    let query = graph.transpose(&name("q.swapped"), &query, &[0, 2, 1, 3])?;
    let query = graph.reshape(&name("q.grouped"), &query, &[rows, key_heads, group * length, width])?;
    let key = graph.transpose(&name("k.swapped"), &key, &[0, 2, 3, 1])?;
    let value = graph.reshape(&name("v.split"), &value, &[rows, length, key_heads, width])?;
    let value = graph.transpose(&name("v.swapped"), &value, &[0, 2, 1, 3])?;
    let context = graph.attend(&name("heads"), [&query, &key, &value], &shared.causal_bias)?;

    let ungrouped = graph.reshape(&name("context.ungrouped"), &context, &[rows, heads, length, width])?;
    let swapped = graph.transpose(&name("context.swapped"), &ungrouped, &[0, 2, 1, 3])?;
    let joined = graph.reshape(&name("context.joined"), &swapped, &[rows * length, heads * width])?;
    let module = shared.tensor(layer, "self_attn.o_proj");
    let weight = graph.weight(&format!("{module}.weight"), &[config.hidden_size, heads * width])?;
    let bias = match config.attention_bias {
        false => None,
        true => Some(graph.weight(&format!("{module}.bias"), &[config.hidden_size])?),
    };
    graph.gemm(&name("o"), &joined, &weight, bias.as_ref())
}

/// The rotary embedding: x · cos + [x₂, x₁] · [-sin, sin]. (B, L, heads, D) -> the same.
fn rotate(graph: &mut StaticGraph<'_>, shared: &Shared, name: &str, x: &Value) -> Result<Value> {
    let half = shared.config.head_dim / 2;
    let [first, second] = graph.split(&format!("{name}.halves"), x, 3, [half, half])?;
    let turned = graph.concat(&format!("{name}.turned"), &[&second, &first], 3)?;
    let across = graph.op(&format!("{name}.across"), "Mul", &[&turned, &shared.sin])?;
    let along = graph.op(&format!("{name}.along"), "Mul", &[x, &shared.cos])?;
    graph.op(&format!("{name}.rotated"), "Add", &[&along, &across])
}

/// RMSNorm, then `down(silu(gate(x)) * up(x))`. (B·L, H) -> (B·L, H).
fn feed_forward(graph: &mut StaticGraph<'_>, shared: &Shared, layer: usize, residual: &Value) -> Result<Value> {
    let config = &shared.config;
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let name = |part: &str| format!("layers.{layer}.mlp.{part}");
    let normed = graph.rms_norm(&name("input"), residual, 1, config.rms_norm_eps)?;
    let mut project = |part: &str| -> Result<Value> {
        let folded = shared.after_norm(layer, &format!("mlp.{part}_proj"), "post_attention_layernorm", wide);
        let weight = graph.folded(&name(&format!("{part}.weight")), &[wide, hidden], vec![folded])?;
        graph.gemm(&name(part), &normed, &weight, None)
    };
    let (gate, up) = (project("gate")?, project("up")?);
    let sigmoid = graph.op(&name("sigmoid"), "Sigmoid", &[&gate])?;
    let activated = graph.op(&name("silu"), "Mul", &[&gate, &sigmoid])?;
    let product = graph.op(&name("product"), "Mul", &[&activated, &up])?;
    let weight = graph.weight(&shared.tensor(layer, "mlp.down_proj.weight"), &[hidden, wide])?;
    graph.gemm(&name("down"), &product, &weight, None)
}
