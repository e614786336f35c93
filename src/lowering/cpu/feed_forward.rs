//! The feed-forward network. (B, L, H) -> (B, L, H), without the last bias, which is left to the sum that follows.

use super::linear::linear;
use super::norms::biased;
use crate::error::Result;
use crate::lowering::activations;
use crate::lowering::onnx::builder::{GraphBuilder, Operators, Value};
use crate::lowering::onnx::proto::AttributeProto;
use crate::transformer::{Activation, FeedForward, Vector};

/// Writes the nodes of one layer's, whose names begin with `path`.
pub fn feed_forward(builder: &mut GraphBuilder, path: &str, network: &FeedForward, states: &Value) -> Result<Value> {
    let FeedForward { gate, up, down, activation } = network;
    let name = |part: &str| format!("{path}.{part}");
    let inner = match gate {
        None => {
            let wide = linear(builder, &name("up"), states, &up.weight)?;
            activated(builder, &name("activated"), wide, up.bias.as_ref(), *activation)?
        }
        Some(gate) => {
            let gated = linear(builder, &name("gate"), states, &gate.weight)?;
            let wide = linear(builder, &name("up"), states, &up.weight)?;
            let wide = biased(builder, wide, up.bias.as_ref())?;
            multiplied(builder, [&name("activated"), &name("product")], gated, gate.bias.as_ref(), *activation, &wide)?
        }
    };
    linear(builder, &name("down"), &inner, &down.weight)
}

/// `activation(x + bias)`, in one operator where there is one.
pub fn activated(
    builder: &mut GraphBuilder,
    name: &str,
    x: Value,
    bias: Option<&Vector>,
    activation: Activation,
) -> Result<Value> {
    if let Some(own) = own(builder, name, &x, bias, activation, None)? {
        return Ok(own);
    }
    match (activation, bias) {
        (Activation::Gelu, Some(bias)) => {
            let bias = builder.vector(bias)?;
            builder.contrib(name, "BiasGelu", &[&x, &bias], &[])
        }
        (Activation::Gelu, None) => builder.contrib(name, "Gelu", &[&x], &[]),
        (Activation::GeluTanh, Some(bias)) => {
            let bias = builder.vector(bias)?;
            builder.contrib(name, "FastGelu", &[&x, &bias], &[])
        }
        (Activation::GeluTanh, None) => builder.contrib(name, "FastGelu", &[&x], &[]),
        (Activation::Relu, bias) => {
            let x = biased(builder, x, bias)?;
            builder.op(name, "Relu", &[&x], &[])
        }
        // QuickGelu with alpha 1 is x * sigmoid(x): SiLU in one pass.
        (Activation::Silu, bias) => {
            let x = biased(builder, x, bias)?;
            builder.contrib(name, "QuickGelu", &[&x], &[AttributeProto::float("alpha", 1.0)])
        }
    }
}

/// `activation(x + bias) · factor`, in one operator where it is ours.
pub fn multiplied(
    builder: &mut GraphBuilder,
    [activated_name, name]: [&str; 2],
    x: Value,
    bias: Option<&Vector>,
    activation: Activation,
    factor: &Value,
) -> Result<Value> {
    if let Some(own) = own(builder, name, &x, bias, activation, Some(factor))? {
        return Ok(own);
    }
    let activated = activated(builder, activated_name, x, bias, activation)?;
    builder.op(name, "Mul", &[&activated, factor], &[])
}

/// All that in the operator of ours, where there is one for it.
fn own(
    builder: &mut GraphBuilder,
    name: &str,
    x: &Value,
    bias: Option<&Vector>,
    activation: Activation,
    factor: Option<&Value>,
) -> Result<Option<Value>> {
    let function = match activation {
        Activation::Gelu => activations::GELU,
        Activation::GeluTanh => activations::GELU_TANH,
        Activation::Silu => activations::SILU,
        Activation::Relu => return Ok(None),
    };
    match builder.operators() {
        Operators::Usual => return Ok(None),
        Operators::OwnAttention | Operators::Own => {}
    }
    let attributes = [
        AttributeProto::int("function", function),
        AttributeProto::int("biased", i64::from(bias.is_some())),
        AttributeProto::int("multiplied", i64::from(factor.is_some())),
    ];
    let mut inputs = vec![x.clone()];
    if let Some(bias) = bias {
        inputs.push(builder.vector(bias)?);
    }
    inputs.extend(factor.cloned());
    builder.own(name, activations::OPERATOR, &inputs.iter().collect::<Vec<_>>(), &attributes).map(Some)
}
