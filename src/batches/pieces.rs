//! A row too long to run at once goes through in pieces: each piece's share of the pooling out, and the shares' vectors
//! put together again. A weighted sum over the tokens is the sum of the pieces' sums, a maximum the largest of theirs.

use std::ops::Range;

use crate::batches::pool::PoolingInputs;
use crate::checkpoint::pooling::PoolingMode;

/// Tokens of a row that run at once.
pub const PIECE_TOKENS: usize = 512;

/// The pooling inputs of some tokens of a row, which are those of the whole row for all its `length` tokens.
pub fn share(inputs: &PoolingInputs, tokens: Range<usize>, length: usize) -> PoolingInputs {
    let rows = inputs.weights.chunks_exact(length);
    PoolingInputs {
        weights: rows.flat_map(|weights| &weights[tokens.clone()]).copied().collect(),
        bias: inputs.bias.as_ref().map(|bias| bias[tokens].to_vec()),
    }
}

/// Adds a piece's pooled vectors, (P, H) in the order of `modes`, to those of the pieces before it.
pub fn add(pooled: &mut Vec<f32>, piece: &[f32], modes: &[PoolingMode]) {
    if pooled.is_empty() {
        pooled.extend_from_slice(piece);
        return;
    }
    let hidden_size = (piece.len() / modes.len().max(1)).max(1);
    let vectors = pooled.chunks_exact_mut(hidden_size).zip(piece.chunks_exact(hidden_size));
    for (mode, (before, added)) in modes.iter().zip(vectors) {
        for (slot, &value) in before.iter_mut().zip(added) {
            if mode.is_sum() {
                *slot += value;
            } else if value > *slot || value.is_nan() {
                *slot = value; // not f32::max, which would lose a NaN
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_columns_of_the_rows_of_weights() {
        let whole = PoolingInputs { weights: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], bias: Some(vec![7.0, 8.0, 9.0]) };
        let part = PoolingInputs { weights: vec![2.0, 3.0, 5.0, 6.0], bias: Some(vec![8.0, 9.0]) };
        assert_eq!(share(&whole, 1..3, 3), part);
        let last_alone = PoolingInputs { weights: Vec::new(), bias: None };
        assert_eq!(share(&last_alone, 1..3, 3), last_alone);
    }

    #[test]
    fn sums_add_up_and_maxima_compete() {
        let modes = [PoolingMode::Mean, PoolingMode::Max];
        let mut pooled = Vec::new();
        for piece in [[1.0, 2.0, 3.0, -5.0], [10.0, 20.0, 2.0, -4.0], [0.5, 0.5, f32::NAN, -9.0], [0.0, 0.0, 9.0, -9.0]]
        {
            add(&mut pooled, &piece, &modes);
        }
        assert_eq!(pooled[..2], [11.5, 22.5]);
        assert!(pooled[2].is_nan(), "a NaN is not lost");
        assert_eq!(pooled[3], -4.0);
    }
}
