//! Attention in one operator of ours, over projections that are made before it: for every layer, whatever its heads share or
//! see, after a prefix or without one. Heads stay side by side in their rows, so that nothing is transposed, and who sees
//! whom is two numbers.

use super::grouped::past;
use super::packed::{stacked_bias, stacked_weight};
use super::{Picked, Tables, biases_agree, is_plain, projection};
use crate::error::{Error, Result};
use crate::lowering::cpu::norms::picked;
use crate::lowering::inputs;
use crate::lowering::onnx::builder::{GraphBuilder, Operators, Size, Value};
use crate::lowering::onnx::proto::{AttributeProto, ElementType};
use crate::transformer::Attention;

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
    let first = builder.sizes(&[0])?;
    let (asking, positions) = match picks {
        Some(picks) => (picked(builder, "last.states", states, &picks.column)?, &picks.index),
        None => (states.clone(), &first),
    };
    let (heads, shared) = ([attention.heads, attention.head_size], [attention.key_value_heads, attention.head_size]);
    let Attention { query, key, value, query_norm, key_norm, value_norm, .. } = attention;
    if packs(builder, tables, attention) && picks.is_none() {
        let packed = packed(builder, &name("packed"), attention, states)?;
        let mut inputs = vec![packed.clone(), packed.clone(), packed, tables.mask()?.clone()];
        inputs.extend(tables.relative().cloned());
        return attend(builder, &name("context"), attention, &inputs);
    }
    let mut query = projection(builder, &name("query"), &asking, query, query_norm.as_ref(), heads)?;
    let mut key = projection(builder, &name("key"), states, key, key_norm.as_ref(), shared)?;
    let value = projection(builder, &name("value"), states, value, value_norm.as_ref(), shared)?;
    if let Some([cos, sin]) = tables.rotation(attention)? {
        for (part, positions) in [(&mut query, positions), (&mut key, &first)] {
            let name = format!("{}.rotated", part.name());
            *part = builder.contrib(&name, "RotaryEmbedding", &[part, positions, cos, sin], &[])?;
        }
    }
    let mut inputs = vec![query, key, value, tables.mask()?.clone()];
    if tables.is_causal() {
        capture(builder, tables, &inputs[1], &inputs::present_key(index), attention)?;
        capture(builder, tables, &inputs[2], &inputs::present_value(index), attention)?;
        inputs.push(past(builder, &inputs::past_key(index), attention)?);
        inputs.push(past(builder, &inputs::past_value(index), attention)?);
    }
    match tables.relative() {
        // In the prefix's place: releases of onnxruntime have crashed on an input that is left out before others.
        Some(relative) if !tables.is_causal() => inputs.push(relative.clone()),
        Some(_) => return Err(Error::Graph { problem: "a relative bias in a causal model".to_owned() }),
        None => {}
    }
    attend(builder, &name("context"), attention, &inputs)
}

/// Whether queries, keys and values come of one product: where nothing is done to one of them alone, and its weights may be
/// put together, below each other.
fn packs(builder: &GraphBuilder, tables: &Tables, attention: &Attention) -> bool {
    let products = match builder.operators() {
        Operators::OwnAttention => builder.arithmetic().is_float(),
        Operators::Usual | Operators::Own => false,
    };
    products && !tables.is_causal() && is_plain(attention) && biases_agree(attention)
}

/// Queries, keys and values side by side. (B, L, H) -> (B, L, (N + 2·K)·D).
fn packed(builder: &mut GraphBuilder, name: &str, attention: &Attention, states: &Value) -> Result<Value> {
    let parts = [&attention.query, &attention.key, &attention.value];
    let weight = stacked_weight(builder, name, parts)?;
    let product = builder.contrib(name, "FusedMatMul", &[states, &weight], &[AttributeProto::int("transB", 1)])?;
    match stacked_bias(builder, name, parts)? {
        Some(bias) => builder.op(&format!("{name}.biased"), "Add", &[&product, &bias], &[]),
        None => Ok(product),
    }
}

/// The operator, over inputs whose first three are one where they are packed.
fn attend(builder: &mut GraphBuilder, name: &str, attention: &Attention, inputs: &[Value]) -> Result<Value> {
    let is_packed = inputs[0] == inputs[1];
    let inputs: Vec<&Value> = inputs.iter().collect();
    let tokens = |limit: Option<usize>| limit.map_or(-1, |tokens| tokens as i64);
    let attributes = [
        AttributeProto::int("heads", attention.heads as i64),
        AttributeProto::int("key_value_heads", attention.key_value_heads as i64),
        AttributeProto::float("scale", attention.scale),
        AttributeProto::int("packed", i64::from(is_packed)),
        AttributeProto::int("back", tokens(attention.reach.back)),
        AttributeProto::int("ahead", tokens(attention.reach.ahead)),
    ];
    builder.own(name, "Attention", &inputs, &attributes)
}

/// Makes the first row's first tokens an output, (1, K, tokens, D): as many as the graph is asked for, none in most runs.
fn capture(
    builder: &mut GraphBuilder,
    tables: &Tables,
    states: &Value,
    name: &str,
    attention: &Attention,
) -> Result<()> {
    let Some(wanted) = tables.capture() else { return Ok(()) };
    let (heads, size) = (attention.key_value_heads, attention.head_size);
    let (starts, axes) = (builder.sizes(&[0, 0])?, builder.sizes(&[0, 1])?);
    let kept = builder.op(&format!("{name}.kept"), "Slice", &[states, &starts, wanted, &axes], &[])?;
    let split = builder.sizes(&[0, 0, heads as i64, size as i64])?;
    let split = builder.op(&format!("{name}.split"), "Reshape", &[&kept, &split], &[])?;
    let turned = builder.op(name, "Transpose", &[&split], &[AttributeProto::ints("perm", &[0, 2, 1, 3])])?;
    let shape = [Size::Symbol("one"), Size::Fixed(heads), Size::Symbol("captured"), Size::Fixed(size)];
    builder.output(&turned, ElementType::Float32, &shape);
    Ok(())
}
