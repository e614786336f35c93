//! Attention in one operator of ours, over projections that are made before it: for every layer, whatever its heads share or
//! see, after a prefix or without one. Heads stay side by side in their rows, so that nothing is transposed, and who sees
//! whom is two numbers.

use super::grouped::past;
use super::{Picked, Tables, projection};
use crate::error::{Error, Result};
use crate::lowering::cpu::norms::picked;
use crate::lowering::inputs;
use crate::lowering::onnx::builder::{GraphBuilder, Size, Value};
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
    let inputs: Vec<&Value> = inputs.iter().collect();
    let tokens = |limit: Option<usize>| limit.map_or(-1, |tokens| tokens as i64);
    let attributes = [
        AttributeProto::int("heads", attention.heads as i64),
        AttributeProto::int("key_value_heads", attention.key_value_heads as i64),
        AttributeProto::float("scale", attention.scale),
        AttributeProto::int("back", tokens(attention.reach.back)),
        AttributeProto::int("ahead", tokens(attention.reach.ahead)),
    ];
    builder.own(&name("context"), "Attention", &inputs, &attributes)
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
