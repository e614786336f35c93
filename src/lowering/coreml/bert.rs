//! The BERT encoder (transformers' `BertModel` without its pooler) in the provider's operators. N heads of size D; the
//! residual stream is 2-D, (B·L, H).

use super::parts::StaticGraph;
use super::{INPUTS_EMBEDS, MASK_BIAS};
use crate::architectures::bert::{Activation, BertConfig};
use crate::error::Result;
use crate::lowering::onnx::builder::Value;
use crate::lowering::onnx::folding::Part;
use crate::lowering::onnx::proto::AttributeProto;

/// Embedded tokens to hidden states: (B, L, H) -> (B·L, H).
pub fn encoder(graph: &mut StaticGraph<'_>, config: &BertConfig) -> Result<Value> {
    let (rows, length, hidden) = (graph.rows(), graph.length(), config.hidden_size);
    let embedded = graph.input(INPUTS_EMBEDS, &[rows, length, hidden])?;
    let mask_bias = graph.input(MASK_BIAS, &[rows, 1, 1, length])?;
    let prefix = if graph.has_weight("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
    let flat = graph.reshape("embedded", &embedded, &[rows * length, hidden])?;
    let norm = format!("{prefix}embeddings.LayerNorm");
    let mut hidden_states = graph.layer_norm("embedded.normed", &flat, &norm, hidden, config.layer_norm_eps)?;
    for layer in 0..config.num_hidden_layers {
        let path = format!("{prefix}encoder.layer.{layer}");
        let attended = attention(graph, config, &path, &hidden_states, &mask_bias)?;
        hidden_states = feed_forward(graph, config, &path, &attended)?;
    }
    Ok(hidden_states)
}

/// Self-attention, output projection, residual, LayerNorm. (B·L, H) -> (B·L, H).
fn attention(
    graph: &mut StaticGraph<'_>,
    config: &BertConfig,
    path: &str,
    states: &Value,
    mask_bias: &Value,
) -> Result<Value> {
    let (rows, length, hidden) = (graph.rows(), graph.length(), config.hidden_size);
    let (heads, width) = (config.num_attention_heads, config.hidden_size / config.num_attention_heads);
    let name = |part: &str| format!("{path}.attention.{part}");
    let stacked = |kind: &str, shape: &[usize]| -> Vec<Part> {
        ["query", "key", "value"]
            .map(|part| Part {
                scale: if part == "query" { 1.0 / (width as f32).sqrt() } else { 1.0 },
                ..Part::plain(format!("{path}.attention.self.{part}.{kind}"), shape)
            })
            .to_vec()
    };
    let weight = graph.folded(&name("qkv.weight"), &[3 * hidden, hidden], stacked("weight", &[hidden, hidden]))?;
    let bias = graph.folded(&name("qkv.bias"), &[3 * hidden], stacked("bias", &[hidden]))?;
    let projected = graph.gemm(&name("qkv"), states, &weight, Some(&bias))?;
    let parts = graph.split(&name("qkv.parts"), &projected, 1, [hidden; 3])?;

    // (B·L, H) -> (B, N, L, D); the keys (B, N, D, L).
    let orders = [("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])];
    let mut by_head = Vec::with_capacity(3);
    for (part, (letter, order)) in parts.iter().zip(orders) {
        let split = graph.reshape(&name(&format!("{letter}.split")), part, &[rows, length, heads, width])?;
        by_head.push(graph.transpose(&name(letter), &split, &order)?);
    }
    let context = graph.attend(&name("heads"), [&by_head[0], &by_head[1], &by_head[2]], mask_bias)?;
    let joined = graph.transpose(&name("context.swapped"), &context, &[0, 2, 1, 3])?;
    let joined = graph.reshape(&name("context.joined"), &joined, &[rows * length, hidden])?;
    dense_and_norm(graph, config, &format!("{path}.attention.output"), &joined, hidden, states)
}

/// H -> intermediate -> activation -> H, residual, LayerNorm. (B·L, H) -> (B·L, H).
fn feed_forward(graph: &mut StaticGraph<'_>, config: &BertConfig, path: &str, attended: &Value) -> Result<Value> {
    let width = config.intermediate_size;
    let inner = format!("{path}.intermediate");
    let weight = graph.weight(&format!("{inner}.dense.weight"), &[width, config.hidden_size])?;
    let bias = graph.weight(&format!("{inner}.dense.bias"), &[width])?;
    let wide = graph.gemm(&format!("{inner}.projection"), attended, &weight, Some(&bias))?;
    let activated = match config.hidden_act {
        Activation::Gelu => graph.op_with(&inner, "Gelu", &[&wide], AttributeProto::text("approximate", "none"))?,
        Activation::GeluTanh => graph.op_with(&inner, "Gelu", &[&wide], AttributeProto::text("approximate", "tanh"))?,
        Activation::Relu => graph.op(&inner, "Relu", &[&wide])?,
    };
    dense_and_norm(graph, config, &format!("{path}.output"), &activated, width, attended)
}

/// `LayerNorm(dense(x) + residual)`. (B·L, width) -> (B·L, H).
fn dense_and_norm(
    graph: &mut StaticGraph<'_>,
    config: &BertConfig,
    path: &str,
    x: &Value,
    width: usize,
    residual: &Value,
) -> Result<Value> {
    let hidden = config.hidden_size;
    let weight = graph.weight(&format!("{path}.dense.weight"), &[hidden, width])?;
    let bias = graph.weight(&format!("{path}.dense.bias"), &[hidden])?;
    let dense = graph.gemm(&format!("{path}.projection"), x, &weight, Some(&bias))?;
    let sum = graph.op(&format!("{path}.sum"), "Add", &[&dense, residual])?;
    graph.layer_norm(path, &sum, &format!("{path}.LayerNorm"), hidden, config.layer_norm_eps)
}
