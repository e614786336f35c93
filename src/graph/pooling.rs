//! Pooling inside the graph: every mode but `max` is a weighted sum over the tokens, so one product with weights that
//! the host makes serves them all (`pool.rs`), and the hidden states never leave the runtime.

use super::OUTPUT;
use super::builder::{GraphBuilder, Size, Value};
use super::inputs;
use super::proto::{AttributeProto, ElementType};
use crate::error::Result;
use crate::model::pooling::PoolingMode;

/// (B, L, H) -> (B, P, H), in the order of `modes`; makes it the graph's output.
pub fn pool(
    builder: &mut GraphBuilder,
    hidden_states: &Value,
    modes: &[PoolingMode],
    hidden_size: usize,
) -> Result<()> {
    let (rows, length) = (Size::Symbol("B"), Size::Symbol("L"));
    let summed = modes.iter().filter(|mode| mode.is_sum()).count();
    let with_max = summed < modes.len();
    let sums = |builder: &mut GraphBuilder, name: &str| -> Result<Value> {
        let shape = [rows, Size::Fixed(summed), length];
        let weights = builder.input(inputs::POOL_WEIGHTS, ElementType::Float32, &shape)?;
        builder.op(name, "MatMul", &[&weights, hidden_states], &[])
    };
    let maximum = |builder: &mut GraphBuilder, name: &str| -> Result<Value> {
        let bias = builder.input(inputs::POOL_BIAS, ElementType::Float32, &[rows, length, Size::Fixed(1)])?;
        let visible = builder.op("pool.visible", "Add", &[hidden_states, &bias], &[])?;
        let axes = builder.integers("pool.axes", &[1])?;
        builder.op(name, "ReduceMax", &[&visible, &axes], &[AttributeProto::int("keepdims", 1)])
    };
    let pooled = match (summed, with_max) {
        (_, false) => sums(builder, OUTPUT)?,
        (0, true) => maximum(builder, OUTPUT)?,
        (_, true) => {
            let sums = sums(builder, "pool.sums")?;
            let maximum = maximum(builder, "pool.max")?;
            let joined = builder.op("pool.joined", "Concat", &[&sums, &maximum], &[AttributeProto::int("axis", 1)])?;
            // The sums lie first and the maximum last; put each where `modes` has it.
            let mut next_sum = 0..;
            let order: Vec<i64> = modes
                .iter()
                .map(|mode| if mode.is_sum() { next_sum.next().unwrap_or(0) } else { summed as i64 })
                .collect();
            let order = builder.integers("pool.order", &order)?;
            builder.op(OUTPUT, "Gather", &[&joined, &order], &[AttributeProto::int("axis", 1)])?
        }
    };
    builder.output(&pooled, ElementType::Float32, &[rows, Size::Fixed(modes.len()), Size::Fixed(hidden_size)]);
    Ok(())
}
