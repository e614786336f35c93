//! Graphs for ONNX Runtime's CPU and CUDA providers: its fused operators, any batch and length. In: a description, its
//! weights' places, what is pooled. Out: a model with the inputs of [`inputs`](super::inputs), whose weights point into
//! the checkpoint. B rows, L tokens.

mod attention;
mod embeddings;
mod feed_forward;
mod injection;
mod linear;
mod norms;
mod pooling;

use crate::checkpoint::pooling::PoolingMode;
use crate::checkpoint::weights::Weights;
use crate::error::Result;
use crate::lowering::inputs::{INPUT_IDS, OUTPUT};
use crate::lowering::onnx::builder::{GraphBuilder, Operators, Size};
use crate::lowering::onnx::model::Model;
use crate::lowering::onnx::proto::ElementType;
use crate::options::Arithmetic;
use crate::transformer::Transformer;
use attention::{Picked, Tables, attention};
use feed_forward::feed_forward;
use injection::injection;
use linear::linear;
use norms::Stream;

const LAST_AXIS: i64 = -1;

/// Writes the graph. Where a causal model pools its last token alone, only that one goes through the last layer.
pub fn lower(
    network: &Transformer,
    modes: &[PoolingMode],
    weights: &Weights,
    arithmetic: Arithmetic,
    operators: Operators,
) -> Result<Model> {
    let mut graph = GraphBuilder::new("ironvec", weights, arithmetic, operators);
    let builder = &mut graph;
    let hidden = network.hidden_size;
    let rows = Size::Symbol("B");
    let input_ids = builder.input(INPUT_IDS, ElementType::Int32, &[rows, Size::Symbol("L")])?;
    let tables = Tables::declare(builder, network)?;
    let embedded = embeddings::embed(builder, &network.embeddings, &input_ids)?;
    let mut stream = Stream::new(embedded.clone(), hidden);
    let last_alone = network.is_causal() && modes == [PoolingMode::LastToken];
    for (index, layer) in network.layers.iter().enumerate() {
        let path = |part: &str| format!("layers.{index}.{part}");
        let norms = &layer.attention_norms;
        let states = stream.enter(builder, &path("normed"), norms)?;
        let picks = match last_alone && index + 1 == network.layers.len() {
            true => Some(Picked::declare(builder, &layer.attention)?),
            false => None,
        };
        let attended = attention(builder, &tables, index, &layer.attention, &states, picks.as_ref())?;
        if let Some(picks) = &picks {
            // From here on only the pooled token matters: its residual, its feed-forward.
            stream.pick(builder, &picks.column)?;
        }
        let bias = layer.attention.output.bias.as_ref();
        stream.leave(builder, [&path("attention.normed"), &path("attended")], attended, bias, norms)?;

        let norms = &layer.feed_forward_norms;
        let states = stream.enter(builder, &path("attended.normed"), norms)?;
        let expanded = feed_forward(builder, &path("feed_forward"), &layer.feed_forward, &states)?;
        let bias = layer.feed_forward.down.bias.as_ref();
        stream.leave(builder, [&path("feed_forward.normed"), &path("states")], expanded, bias, norms)?;

        if let Some(how) = &layer.injection {
            let embedded = match &picks {
                Some(picks) => norms::picked(builder, "last.embedded", &embedded, &picks.column)?,
                None => embedded.clone(),
            };
            let states = stream.enter(builder, &path("injection.input"), &how.norms)?;
            let injected = injection(builder, &path("injection"), how, &embedded, &states)?;
            let bias = how.output.bias.as_ref();
            stream.leave(builder, [&path("injection.normed"), &path("injected")], injected, bias, &how.norms)?;
        }
        stream.scale(builder, &path("scaled"), layer.scale.as_ref())?;
    }
    let mut states = match &network.last_norm {
        Some(how) => stream.normed(builder, "hidden_states", how)?,
        None => stream.sum(builder)?,
    };
    if let Some(projection) = &network.projection {
        states = linear(builder, "projected", &states, &projection.weight)?;
        states = norms::biased(builder, states, projection.bias.as_ref())?;
    }
    if last_alone {
        let pooled = builder.op(OUTPUT, "Identity", &[&states], &[])?;
        builder.output(&pooled, ElementType::Float32, &[rows, Size::Fixed(1), Size::Fixed(network.output_size())]);
    } else {
        pooling::pool(builder, &states, modes, network.output_size())?;
    }
    Ok(graph.finish())
}
