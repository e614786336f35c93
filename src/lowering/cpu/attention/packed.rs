//! Projections and attention in one operator: for layers without rotation, whose heads all have keys of their own.

use super::Tables;
use crate::error::Result;
use crate::lowering::inputs::UNSEEN;
use crate::lowering::onnx::builder::{GraphBuilder, Value};
use crate::lowering::onnx::proto::AttributeProto;
use crate::transformer::{Attention, Linear};

/// (B, L, H) -> (B, L, N·D).
pub fn context(
    builder: &mut GraphBuilder,
    tables: &Tables,
    name: &str,
    attention: &Attention,
    states: &Value,
) -> Result<Value> {
    let parts = [&attention.query, &attention.key, &attention.value];
    let weight = stacked_weight(builder, name, parts)?;
    // The operator wants (inputs, outputs); the runtime folds both steps at load.
    let permutation = AttributeProto::ints("perm", &[1, 0]);
    let weight = builder.op(&format!("{name}.weight.transposed"), "Transpose", &[&weight], &[permutation])?;
    let bias = stacked_bias(builder, name, parts)?;
    let limit = tables.bias_of_heads(builder, attention)?;
    let mut inputs = vec![states.clone(), weight, bias.unwrap_or_else(Value::absent), tables.mask()?.clone()];
    if let Some(limit) = limit {
        inputs.extend([Value::absent(), limit]);
    }
    let inputs: Vec<&Value> = inputs.iter().collect();
    builder.contrib(name, "Attention", &inputs, &attributes(attention))
}

/// What both attention operators are told.
pub fn attributes(attention: &Attention) -> Vec<AttributeProto> {
    let mut attributes = vec![
        AttributeProto::int("num_heads", attention.heads as i64),
        AttributeProto::float("mask_filter_value", 2.0 * UNSEEN),
    ];
    if attention.scale != 1.0 / (attention.head_size as f32).sqrt() {
        attributes.push(AttributeProto::float("scale", attention.scale));
    }
    attributes
}

/// The weights of queries, keys and values, one below the other: (outputs, inputs). The runtime does it at load.
pub fn stacked_weight(builder: &mut GraphBuilder, name: &str, parts: [&Linear; 3]) -> Result<Value> {
    let mut weights = Vec::new();
    for part in parts {
        weights.push(builder.matrix(&part.weight)?);
    }
    below_each_other(builder, &format!("{name}.weight"), &weights)
}

/// The biases of queries, keys and values, one after the other; nothing where one of them has none.
pub fn stacked_bias(builder: &mut GraphBuilder, name: &str, parts: [&Linear; 3]) -> Result<Option<Value>> {
    let mut biases = Vec::new();
    for part in parts {
        let Some(bias) = &part.bias else { return Ok(None) };
        biases.push(builder.vector(bias)?);
    }
    below_each_other(builder, &format!("{name}.bias"), &biases).map(Some)
}

fn below_each_other(builder: &mut GraphBuilder, name: &str, parts: &[Value]) -> Result<Value> {
    let parts: Vec<&Value> = parts.iter().collect();
    builder.op(name, "Concat", &parts, &[AttributeProto::int("axis", 0)])
}
