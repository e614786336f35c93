//! Pooling in the provider's operators: the sums as one product, the maximum over what the bias leaves visible.

use super::parts::StaticGraph;
use super::{OUTPUT, POOL_BIAS, POOL_W};
use crate::error::Result;
use crate::graph::builder::Value;
use crate::model::pooling::PoolingMode;

/// (B·L, H) -> (B, P, H), in the order of `modes`; makes it the graph's output.
pub fn pool(graph: &mut StaticGraph<'_>, hidden_states: &Value, modes: &[PoolingMode], hidden: usize) -> Result<()> {
    let (rows, length) = (graph.rows(), graph.length());
    let by_row = graph.reshape("pool.states", hidden_states, &[rows, length, hidden])?;
    let summed = modes.iter().filter(|mode| mode.is_sum()).count();
    // A mode is there at most once, so the sums before the maximum and those after it lie together.
    let maximum_at = modes.iter().position(|mode| !mode.is_sum());
    let sums = |graph: &mut StaticGraph<'_>, name: &str| -> Result<Value> {
        let weights = graph.input(POOL_W, &[rows, summed, length])?;
        graph.op(name, "MatMul", &[&weights, &by_row])
    };
    let maximum = |graph: &mut StaticGraph<'_>, name: &str| -> Result<Value> {
        let bias = graph.input(POOL_BIAS, &[rows, length, 1])?;
        let visible = graph.op("pool.visible", "Add", &[&by_row, &bias])?;
        graph.reduce(name, "ReduceMax", &visible, 1)
    };
    let pooled = match maximum_at {
        None => sums(graph, OUTPUT)?,
        Some(_) if summed == 0 => maximum(graph, OUTPUT)?,
        Some(at) => {
            let sums = sums(graph, "pool.sums")?;
            let maximum = maximum(graph, "pool.max")?;
            if at == 0 {
                graph.concat(OUTPUT, &[&maximum, &sums], 1)?
            } else if at == summed {
                graph.concat(OUTPUT, &[&sums, &maximum], 1)?
            } else {
                let [before, after] = graph.split("pool.before", &sums, 1, [at, summed - at])?;
                graph.concat(OUTPUT, &[&before, &maximum, &after], 1)?
            }
        }
    };
    graph.output(&pooled, &[rows, modes.len(), hidden]);
    Ok(())
}
