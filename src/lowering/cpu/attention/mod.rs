//! Self-attention, from the states that a layer's input norm gives to what its output projection puts out, without that
//! one's bias. Which operators serve a layer is decided by its description alone: the most fused that fits.

mod grouped;
mod own;
mod packed;
mod projected;
mod tables;

use super::linear::{biased_linear, linear};
use super::norms::norm_of_heads;
use crate::error::Result;
use crate::lowering::onnx::builder::{GraphBuilder, Value};
use crate::options::Arithmetic;
use crate::transformer::{Attention, Linear, Norm};

pub use grouped::Picked;
pub use tables::Tables;

/// The attention of layer `index`. `picked` asks for one query of each row instead of all. (B, L, H) -> (B, L or 1, H).
pub fn attention(
    builder: &mut GraphBuilder,
    tables: &Tables,
    index: usize,
    attention: &Attention,
    states: &Value,
    picked: Option<&Picked>,
) -> Result<Value> {
    let name = format!("layers.{index}.attention");
    let packs = match builder.arithmetic() {
        Arithmetic::Float32 | Arithmetic::Float16 => is_plain(attention) && biases_agree(attention),
        Arithmetic::Int8 | Arithmetic::Bfloat16 => false, // the packed operator takes float weights alone
    };
    let context = if builder.operators().attend() {
        own::context(builder, tables, index, attention, states, picked)?
    } else if tables.is_causal() || attention.group() > 1 {
        grouped::context(builder, tables, index, attention, states, picked)?
    } else if packs {
        packed::context(builder, tables, &name, attention, states)?
    } else {
        projected::context(builder, tables, &name, attention, states)?
    };
    linear(builder, &format!("{name}.output"), &context, &attention.output.weight)
}

/// Whether nothing happens to queries, keys and values after their products.
fn is_plain(attention: &Attention) -> bool {
    let norms = [&attention.query_norm, &attention.key_norm, &attention.value_norm];
    attention.rotation.is_none() && norms.iter().all(|norm| norm.is_none())
}

/// Whether all of queries, keys and values have a bias, or none.
fn biases_agree(attention: &Attention) -> bool {
    let parts = [&attention.query, &attention.key, &attention.value];
    parts.iter().all(|part| part.bias.is_some()) || parts.iter().all(|part| part.bias.is_none())
}

/// A projection with its bias, each head normed where there is a norm. (B, L, H) -> (B, L, heads · D).
fn projection(
    builder: &mut GraphBuilder,
    name: &str,
    states: &Value,
    how: &Linear,
    norm: Option<&Norm>,
    [heads, size]: [usize; 2],
) -> Result<Value> {
    let product = biased_linear(builder, name, states, how)?;
    match norm {
        Some(norm) => norm_of_heads(builder, product, norm, heads, size),
        None => Ok(product),
    }
}
