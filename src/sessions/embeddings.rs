//! Token ids in, embedded rows out, for graphs that leave the lookup to the host: the tables stay mapped, in whatever type
//! the checkpoint holds them. The sum of word, position and token type 0, scaled; its norm is the graph's.

use crate::checkpoint::tensors::{MappedTensor, TensorReader};
use crate::checkpoint::weights::Weights;
use crate::error::Result;
use crate::transformer::{Embeddings, Matrix, Positions, Replaced};

/// A model's embedding tables.
pub struct EmbeddingTables {
    replaced: Option<Replaced>,
    words: MappedTensor,
    positions: Option<(Positions, MappedTensor)>,
    token_type: Option<Vec<f32>>,
    scale: f32,
}

impl EmbeddingTables {
    /// Maps the tables of a checkpoint.
    pub fn open(embeddings: &Embeddings, weights: &Weights) -> Result<Self> {
        let mut tensors = TensorReader::new(weights);
        let mut table = |matrix: &Matrix| tensors.tensor(&matrix.tensor, &[matrix.tensor_rows, matrix.inputs]);
        let token_type = match &embeddings.token_type {
            Some(matrix) => Some(table(matrix)?.rows(matrix.rows.clone())),
            None => None,
        };
        let positions = match &embeddings.positions {
            Some(positions) => Some((positions.clone(), table(&positions.table)?)),
            None => None,
        };
        let (replaced, words, scale) = (embeddings.replaced.clone(), table(&embeddings.words)?, embeddings.scale);
        Ok(EmbeddingTables { replaced, words, positions, token_type, scale })
    }

    /// Writes a row's embedded tokens, (tokens, H), to the front of `target`. The tokenizer has checked the ids.
    pub fn embed(&self, ids: &[i32], target: &mut [f32]) {
        let width = self.words.row_size();
        for (id, slot) in ids.iter().zip(target.chunks_exact_mut(width)) {
            let id = self.replaced.as_ref().map_or(*id, |replaced| replaced.of(*id));
            let row = usize::try_from(id).unwrap_or(usize::MAX - 1);
            let word = self.words.rows(row..row + 1);
            slot.iter_mut().zip(word).for_each(|(slot, value)| *slot = value);
            if let Some(kind) = &self.token_type {
                slot.iter_mut().zip(kind).for_each(|(slot, kind)| *slot += kind);
            }
        }
        if let Some((positions, table)) = &self.positions {
            for (at, slot) in positions.of(ids).zip(target.chunks_exact_mut(width)) {
                slot.iter_mut().zip(table.rows(at..at + 1)).for_each(|(slot, value)| *slot += value);
            }
        }
        if self.scale != 1.0 {
            target.iter_mut().for_each(|value| *value *= self.scale);
        }
    }
}
