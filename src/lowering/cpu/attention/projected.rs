//! Attention in one operator over projections that are made before it: for layers that rotate or norm their heads, and for
//! arithmetics whose products the packed operator does not know.

use super::packed::{attributes, stacked_bias};
use super::{Tables, projection};
use crate::error::Result;
use crate::lowering::cpu::linear::linear;
use crate::lowering::onnx::builder::{GraphBuilder, Value};
use crate::lowering::onnx::proto::AttributeProto;
use crate::transformer::Attention;

/// (B, L, H) -> (B, L, N·D).
pub fn context(
    builder: &mut GraphBuilder,
    tables: &Tables,
    name: &str,
    attention: &Attention,
    states: &Value,
) -> Result<Value> {
    let heads = [attention.heads, attention.head_size];
    let parts = [
        ("query", &attention.query, &attention.query_norm),
        ("key", &attention.key, &attention.key_norm),
        ("value", &attention.value, &attention.value_norm),
    ];
    let untouched = attention.rotation.is_none() && parts.iter().all(|(_, _, norm)| norm.is_none());
    let stacked = parts.map(|(_, part, _)| part);
    let bias = if untouched { stacked_bias(builder, name, stacked)? } else { None };
    let mut inputs = Vec::with_capacity(6);
    for (part, how, norm) in parts {
        let name = format!("{name}.{part}");
        inputs.push(match bias {
            // The operator adds the bias itself.
            Some(_) => linear(builder, &name, states, &how.weight)?,
            None => projection(builder, &name, states, how, norm.as_ref(), heads)?,
        });
    }
    if let Some([cos, sin]) = tables.rotation(attention)? {
        let first = builder.sizes(&[0])?;
        for part in &mut inputs[..2] {
            let name = format!("{}.rotated", part.name());
            *part = builder.contrib(&name, "RotaryEmbedding", &[part, &first, cos, sin], &[])?;
        }
    }
    inputs.push(bias.unwrap_or_else(Value::absent));
    inputs.push(tables.mask()?.clone());
    inputs.extend(tables.bias_of_heads(builder, attention)?);
    let inputs: Vec<&Value> = inputs.iter().collect();
    let attributes: Vec<AttributeProto> = attributes(attention);
    builder.contrib(name, "MultiHeadAttention", &inputs, &attributes)
}
