//! Embedded tokens to hidden states in the provider's operators; the residual stream is 2-D, (B·L, H). The weight of an
//! RMSNorm is in the columns of the products that follow it.

use super::attention::{Tables, attention};
use super::parts::StaticGraph;
use crate::error::Result;
use crate::lowering::inputs::INPUTS_EMBEDS;
use crate::lowering::onnx::builder::Value;
use crate::lowering::onnx::proto::AttributeProto;
use crate::transformer::{Activation, BlockNorms, FeedForward, Injection, Norm, Transformer};

/// (B, L, H) -> (B·L, H).
pub fn hidden_states(graph: &mut StaticGraph<'_>, network: &Transformer) -> Result<Value> {
    let (rows, length, hidden) = (graph.rows(), graph.length(), network.hidden_size);
    let embedded = graph.input(INPUTS_EMBEDS, &[rows, length, hidden])?;
    let tables = Tables::declare(graph, network)?;
    let mut stream = graph.reshape("embedded", &embedded, &[rows * length, hidden])?;
    if let Some(norm) = &network.embeddings.norm {
        stream = graph.norm("embedded.normed", &stream, norm)?;
    }
    let embedded = stream.clone();
    for (index, layer) in network.layers.iter().enumerate() {
        let name = format!("layers.{index}.attention");
        let norms = &layer.attention_norms;
        let (states, owed) = graph.norm_before(&format!("{name}.input"), &stream, norms.input.as_ref())?;
        let attended = attention(graph, &tables, &name, &layer.attention, &states, owed)?;
        stream = added(graph, &name, norms, &attended, &stream)?;

        let name = format!("layers.{index}.feed_forward");
        let norms = &layer.feed_forward_norms;
        let (states, owed) = graph.norm_before(&format!("{name}.input"), &stream, norms.input.as_ref())?;
        let expanded = {
            let network = &layer.feed_forward;
            let inner = inner(graph, &name, network, &states, owed)?;
            graph.linear(&format!("{name}.down"), &inner, &network.down, None)?
        };
        stream = added(graph, &name, norms, &expanded, &stream)?;

        if let Some(block) = &layer.injection {
            stream = injected(graph, &format!("layers.{index}.injection"), block, &embedded, &stream)?;
        }
        if let Some(scale) = &layer.scale {
            let factor = graph.vector(scale)?;
            stream = graph.op(&format!("layers.{index}.scaled"), "Mul", &[&stream, &factor])?;
        }
    }
    if let Some(norm) = &network.last_norm {
        stream = graph.norm("normed", &stream, norm)?;
    }
    match &network.projection {
        Some(projection) => graph.linear("projected", &stream, projection, None),
        None => Ok(stream),
    }
}

/// `sum(residual + output(x))`, each norm where there is one.
fn added(graph: &mut StaticGraph<'_>, name: &str, norms: &BlockNorms, x: &Value, residual: &Value) -> Result<Value> {
    let x = match &norms.output {
        Some(norm) => graph.norm(&format!("{name}.output.normed"), x, norm)?,
        None => x.clone(),
    };
    let sum = graph.op(&format!("{name}.sum"), "Add", &[&x, residual])?;
    match &norms.sum {
        Some(norm) => graph.norm(&format!("{name}.sum.normed"), &sum, norm),
        None => Ok(sum),
    }
}

/// The stream with what a layer takes from the embedded tokens. The signal's norm has one weight for all layers: it is in
/// the columns of each one's output.
fn injected(
    graph: &mut StaticGraph<'_>,
    name: &str,
    block: &Injection,
    embedded: &Value,
    stream: &Value,
) -> Result<Value> {
    let Injection { signal, signal_norm, gate, activation, output, norms } = block;
    let (states, owed) = graph.norm_before(&format!("{name}.input"), stream, norms.input.as_ref())?;
    let gate = graph.linear(&format!("{name}.gate"), &states, gate, owed)?;
    let gate = activated(graph, name, &gate, *activation)?;
    let signal = graph.linear(&format!("{name}.signal"), embedded, signal, None)?;
    let (signal, owed) = graph.norm_before(&format!("{name}.signal.normed"), &signal, signal_norm.as_ref())?;
    let passed = graph.op(&format!("{name}.product"), "Mul", &[&gate, &signal])?;
    let output = graph.linear(&format!("{name}.output"), &passed, output, owed)?;
    added(graph, name, norms, &output, stream)
}

/// H -> width, activated.
fn inner(
    graph: &mut StaticGraph<'_>,
    name: &str,
    network: &FeedForward,
    states: &Value,
    owed: Option<&Norm>,
) -> Result<Value> {
    let up = graph.linear(&format!("{name}.up"), states, &network.up, owed)?;
    let Some(gate) = &network.gate else { return activated(graph, name, &up, network.activation) };
    let gate = graph.linear(&format!("{name}.gate"), states, gate, owed)?;
    let gate = activated(graph, name, &gate, network.activation)?;
    graph.op(&format!("{name}.product"), "Mul", &[&gate, &up])
}

fn activated(graph: &mut StaticGraph<'_>, name: &str, x: &Value, activation: Activation) -> Result<Value> {
    let name = format!("{name}.activated");
    match activation {
        Activation::Gelu => graph.op_with(&name, "Gelu", &[x], AttributeProto::text("approximate", "none")),
        Activation::GeluTanh => graph.op_with(&name, "Gelu", &[x], AttributeProto::text("approximate", "tanh")),
        Activation::Relu => graph.op(&name, "Relu", &[x]),
        Activation::Silu => {
            let sigmoid = graph.op(&format!("{name}.sigmoid"), "Sigmoid", &[x])?;
            graph.op(&name, "Mul", &[x, &sigmoid])
        }
    }
}
