//! Attention in products and a softmax, for what the fused operators do not do: heads that share keys, and causal rows that
//! follow a prefix. The G query heads of a key/value head lie below each other, so that keys and values are read as they
//! are. P tokens of the prefix, L of the row in this run, T = P + L.

use super::{Tables, projection};
use crate::error::{Error, Result};
use crate::lowering::cpu::norms::{last_axis, picked};
use crate::lowering::inputs;
use crate::lowering::onnx::builder::{GraphBuilder, Operators, Size, Value};
use crate::lowering::onnx::proto::{AttributeProto, ElementType};
use crate::transformer::{Attention, Linear, Norm};

/// One query of each row.
pub struct Picked {
    /// (B, 1): which.
    pub index: Value,
    /// (B, 1, 1): the same.
    pub column: Value,
    /// (B, 1, G, T): what it sees; our own operator knows.
    pub bias: Option<Value>,
}

impl Picked {
    /// Declares the inputs, for a layer.
    pub fn declare(builder: &mut GraphBuilder, attention: &Attention) -> Result<Self> {
        let rows = Size::Symbol("B");
        let index = builder.input(inputs::LAST_INDEX, ElementType::Int64, &[rows, Size::Fixed(1)])?;
        let shape = [rows, Size::Fixed(1), Size::Fixed(attention.group()), Size::Symbol("T")];
        let bias = match builder.operators() {
            Operators::Usual => Some(builder.input(inputs::LAST_BIAS, ElementType::Float32, &shape)?),
            Operators::OwnAttention | Operators::Own => None,
        };
        let axes = builder.sizes(&[2])?;
        let column = builder.op("last_index.column", "Unsqueeze", &[&index, &axes], &[])?;
        Ok(Picked { index, column, bias })
    }
}

/// (B, L, H) -> (B, L or 1, N·D).
pub fn context(
    builder: &mut GraphBuilder,
    tables: &Tables,
    index: usize,
    attention: &Attention,
    states: &Value,
    picks: Option<&Picked>,
) -> Result<Value> {
    let name = |part: &str| format!("layers.{index}.attention.{part}");
    let (groups, size) = (attention.key_value_heads as i64, attention.head_size as i64);
    let Attention { query, key, value, query_norm, key_norm, value_norm, .. } = attention;
    let rotation = tables.rotation(attention)?;
    let first = builder.sizes(&[0])?;
    let (own, bias, positions) = match picks {
        Some(picks) => {
            let own = picked(builder, "last.states", states, &picks.column)?;
            (own, usual(picks.bias.as_ref())?, picks.index.clone())
        }
        None => (states.clone(), tables.bias_of_groups(builder, attention)?, first.clone()),
    };
    let mut heads = |part: &str, from: &Value, how: &Linear, norm: &Option<Norm>, count: usize, at: Option<&Value>| {
        let shape = [count, attention.head_size];
        let flat = projection(builder, &name(part), from, how, norm.as_ref(), shape)?;
        by_head(builder, &name(part), &flat, attention.head_size, rotation.zip(at))
    };
    let key = heads("key", states, key, key_norm, attention.key_value_heads, Some(&first))?;
    let value = heads("value", states, value, value_norm, attention.key_value_heads, None)?;
    let query = heads("query", &own, query, query_norm, attention.heads, Some(&positions))?;

    let grouped = builder.sizes(&[0, groups, -1, size])?;
    let query = builder.op(&name("query.grouped"), "Reshape", &[&query, &grouped], &[])?;
    let scaled = [AttributeProto::int("transB", 1), AttributeProto::float("alpha", attention.scale)];
    let own_scores =
        |builder: &mut GraphBuilder, name: &str| builder.contrib(name, "FusedMatMul", &[&query, &key], &scaled);
    let visible = |builder: &mut GraphBuilder, scores: &Value| -> Result<Value> {
        let visible = builder.op(&name("scores.visible"), "Add", &[scores, &bias], &[])?;
        builder.op(&name("weights"), "Softmax", &[&visible], &[last_axis()])
    };
    let context = match tables.prefix() {
        None => {
            let scores = own_scores(builder, &name("scores"))?;
            let weights = visible(builder, &scores)?;
            builder.op(&name("context"), "MatMul", &[&weights, &value], &[])?
        }
        Some(prefix) => {
            let past_key = past(builder, &inputs::past_key(index), attention)?;
            let past_value = past(builder, &inputs::past_value(index), attention)?;
            capture(builder, &prefix.capture, &key, &inputs::present_key(index), attention)?;
            capture(builder, &prefix.capture, &value, &inputs::present_value(index), attention)?;
            let past_scores = builder.contrib(&name("scores.past"), "FusedMatMul", &[&query, &past_key], &scaled)?;
            let own_scores = own_scores(builder, &name("scores.own"))?;
            let scores = builder.op(&name("scores"), "Concat", &[&past_scores, &own_scores], &[last_axis()])?;
            let weights = visible(builder, &scores)?;
            let parts = [&weights, &usual(prefix.score_sizes.as_ref())?];
            let past_weights = builder.op(&name("weights.past"), "Split", &parts, &[last_axis()])?;
            let own_weights = builder.further_output(&past_weights, "own")?;
            let from_past = builder.op(&name("context.past"), "MatMul", &[&past_weights, &past_value], &[])?;
            let from_own = builder.op(&name("context.own"), "MatMul", &[&own_weights, &value], &[])?;
            builder.op(&name("context"), "Add", &[&from_past, &from_own], &[])?
        }
    };
    let ungrouped = builder.sizes(&[0, attention.heads as i64, -1, size])?;
    let ungrouped = builder.op(&name("context.ungrouped"), "Reshape", &[&context, &ungrouped], &[])?;
    let swapped = builder.op(&name("context.swapped"), "Transpose", &[&ungrouped], &[swap_heads()])?;
    let joined = builder.sizes(&[0, 0, attention.heads as i64 * size])?;
    builder.op(&name("context.joined"), "Reshape", &[&swapped, &joined], &[])
}

/// An input that graphs of the usual operators declare.
fn usual(input: Option<&Value>) -> Result<Value> {
    input.cloned().ok_or_else(|| Error::Graph { problem: "an input of the usual operators is not declared".to_owned() })
}

/// (B, L, heads · D) -> (B, heads, L, D), rotated where a rotation and positions are given.
fn by_head(
    builder: &mut GraphBuilder,
    name: &str,
    flat: &Value,
    size: usize,
    rotation: Option<(&[Value; 2], &Value)>,
) -> Result<Value> {
    let split = builder.sizes(&[0, 0, -1, size as i64])?;
    let split = builder.op(&format!("{name}.split"), "Reshape", &[flat, &split], &[])?;
    let swapped = builder.op(&format!("{name}.swapped"), "Transpose", &[&split], &[swap_heads()])?;
    match rotation {
        None => Ok(swapped),
        Some(([cos, sin], positions)) => {
            builder.contrib(&format!("{name}.rotated"), "RotaryEmbedding", &[&swapped, positions, cos, sin], &[])
        }
    }
}

/// (B, L, heads, D) <-> (B, heads, L, D).
fn swap_heads() -> AttributeProto {
    AttributeProto::ints("perm", &[0, 2, 1, 3])
}

/// A prefix's keys or values: one row for the whole batch.
pub fn past(builder: &mut GraphBuilder, name: &str, attention: &Attention) -> Result<Value> {
    let (heads, size) = (Size::Fixed(attention.key_value_heads), Size::Fixed(attention.head_size));
    builder.input(name, ElementType::Float32, &[Size::Fixed(1), heads, Size::Symbol("P"), size])
}

/// Makes the first row's first tokens an output: as many as `wanted` says, none in most runs.
fn capture(
    builder: &mut GraphBuilder,
    wanted: &Value,
    states: &Value,
    name: &str,
    attention: &Attention,
) -> Result<()> {
    let (starts, axes) = (builder.sizes(&[0, 0])?, builder.sizes(&[0, 2])?);
    let kept = builder.op(name, "Slice", &[states, &starts, wanted, &axes], &[])?;
    let (heads, size) = (Size::Fixed(attention.key_value_heads), Size::Fixed(attention.head_size));
    builder.output(&kept, ElementType::Float32, &[Size::Symbol("one"), heads, Size::Symbol("captured"), size]);
    Ok(())
}
