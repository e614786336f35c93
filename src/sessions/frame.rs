//! What a run reads of its positions alone: rotations, who sees whom, buckets of distances. In: a description, the tokens
//! of the prefix and of the longest row. Out: the inputs of that run.

use super::arguments::{Arguments, argument};
use crate::batches::plan::PaddedBatch;
use crate::lowering::inputs::{self, UNSEEN};
use crate::lowering::onnx::builder::Operators;
use crate::transformer::{Reach, RelativeBias, Transformer};

/// The tables of one run. P tokens of the prefix, L of the longest row, T = P + L.
#[derive(Debug, Default)]
pub struct Frame {
    /// Cosines and sines of each rotation: (L, D/2).
    rotations: Vec<[Vec<f32>; 2]>,
    /// (G·L, T); nothing where every query sees every key.
    visibilities: Vec<Option<Vec<f32>>>,
    /// (L, L); for our own operators (2·L - 1).
    relative_buckets: Option<Vec<i32>>,
    /// (B, L).
    position_ids: Option<Vec<i32>>,
}

impl Frame {
    /// Works the tables out.
    pub fn of(network: &Transformer, operators: Operators, batch: &PaddedBatch, past: usize) -> Self {
        let (length, total) = (batch.length, past + batch.length);
        let rotations = network.rotations.iter().map(|rotation| {
            // transformers rounds position times frequency to float32 before it takes the cosine; so does this.
            let turned = |function: fn(f32) -> f32| {
                let angles = (past..total).flat_map(|position| {
                    rotation.inverse_frequencies.iter().map(move |frequency| position as f32 * frequency)
                });
                angles.map(|angle| function(angle) * rotation.attention_factor).collect()
            };
            [turned(f32::cos), turned(f32::sin)]
        });
        let visibilities = network.visibilities().into_iter().map(|(reach, group)| {
            let limited = reach != Reach::ALL && !operators.attend();
            limited.then(|| (past..total).flat_map(|query| seen(reach, query, total)).collect::<Vec<_>>().repeat(group))
        });
        let pairs = || (0..length).flat_map(|query| (0..length).map(move |key| (query, key)));
        let distances = || (1 - length as i64..length as i64).map(|key| (0.max(-key) as usize, 0.max(key) as usize));
        let position_ids = network.embeddings.positions.as_ref().filter(|positions| positions.skipped.is_some());
        Frame {
            rotations: rotations.collect(),
            visibilities: visibilities.collect(),
            relative_buckets: network.relative_bias.as_ref().map(|_| match operators {
                Operators::Usual => pairs().map(|(query, key)| RelativeBias::bucket(query, key) as i32).collect(),
                Operators::OwnAttention | Operators::Own => {
                    distances().map(|(query, key)| RelativeBias::bucket(query, key) as i32).collect()
                }
            }),
            position_ids: position_ids.map(|positions| {
                let rows = batch.input_ids.chunks_exact(length.max(1)).zip(&batch.lengths);
                let of_row = |(ids, tokens): (&[i32], &usize)| {
                    let mut row: Vec<i32> = positions.of(&ids[..*tokens]).map(|at| at as i32).collect();
                    row.resize(length, 0);
                    row
                };
                rows.flat_map(of_row).collect()
            }),
        }
    }

    /// Adds the tables to a run's inputs.
    pub fn arguments<'a>(
        &'a self,
        list: &mut Arguments<'a>,
        batch: &PaddedBatch,
        past: usize,
    ) -> Result<(), ort::Error> {
        let (length, total) = (batch.length, past + batch.length);
        for (index, [cos, sin]) in self.rotations.iter().enumerate() {
            let shape = [length, cos.len() / length.max(1)];
            argument(list, inputs::cos(index), &shape, cos)?;
            argument(list, inputs::sin(index), &shape, sin)?;
        }
        for (index, table) in self.visibilities.iter().enumerate() {
            if let Some(table) = table {
                argument(list, inputs::visibility_bias(index), &[table.len() / total.max(1), total], table)?;
            }
        }
        if let Some(buckets) = &self.relative_buckets {
            let square = [length, length];
            let shape = if buckets.len() == length * length { &square[..] } else { &[buckets.len()] };
            argument(list, inputs::RELATIVE_BUCKETS, shape, buckets)?;
        }
        if let Some(ids) = &self.position_ids {
            argument(list, inputs::POSITION_IDS, &[batch.rows, length], ids)?;
        }
        Ok(())
    }
}

/// What is added to a query's scores over the first `total` tokens.
pub fn seen(reach: Reach, query: usize, total: usize) -> impl Iterator<Item = f32> {
    (0..total).map(move |key| if reach.sees(query, key) { 0.0 } else { UNSEEN })
}
