//! The host's share of pooling: what each token weighs (the graph does the sums), and the last step of every vector,
//! truncation and normalisation.

use crate::batch::PaddedBatch;
use crate::model::pooling::PoolingMode;

/// The graph's pooling inputs for one batch.
#[derive(Debug, PartialEq)]
pub struct PoolingInputs {
    /// (B, P', L): a row of weights for each mode but `max`, in order. Empty where P' is 0.
    pub weights: Vec<f32>,
    /// (B, L, 1), where `max` is among the modes.
    pub bias: Option<Vec<f32>>,
}

/// Weights over the tokens as sentence-transformers' `Pooling` sees them. `skipped` leading tokens (the prompt's, where
/// `include_prompt` is false) count as padding.
pub fn pooling_inputs(modes: &[PoolingMode], batch: &PaddedBatch, skipped: usize) -> PoolingInputs {
    let summed: Vec<PoolingMode> = modes.iter().copied().filter(|mode| mode.is_sum()).collect();
    let mut weights = vec![0.0; batch.rows * summed.len() * batch.length];
    let mut rows = weights.chunks_exact_mut(batch.length);
    for &length in &batch.lengths {
        for (&mode, row) in summed.iter().zip(&mut rows) {
            weigh(mode, row, skipped.min(length), length);
        }
    }
    let bias = modes.iter().any(|mode| !mode.is_sum()).then(|| {
        let rows = batch.lengths.iter();
        rows.flat_map(|&length| (0..batch.length).map(move |at| visibility(at, skipped.min(length), length))).collect()
    });
    PoolingInputs { weights, bias }
}

/// What `max` adds to a token: nothing, or what loses against every visible one.
fn visibility(position: usize, first: usize, end: usize) -> f32 {
    if (first..end).contains(&position) { 0.0 } else { f32::NEG_INFINITY }
}

/// Fills one row of weights; tokens `first..end` count.
fn weigh(mode: PoolingMode, weights: &mut [f32], first: usize, end: usize) {
    let count = (end - first) as f32;
    match mode {
        PoolingMode::Cls => weights[if end > first { first } else { 0 }] = 1.0,
        PoolingMode::LastToken if end > first => weights[end - 1] = 1.0,
        PoolingMode::LastToken | PoolingMode::Max => {}
        PoolingMode::Mean => weights[first..end].fill(1.0 / count),
        PoolingMode::MeanSqrtLen => weights[first..end].fill(1.0 / count.sqrt()),
        PoolingMode::WeightedMean => {
            let total: f64 = (first..end).map(|at| (at + 1) as f64).sum();
            for (at, weight) in weights.iter_mut().enumerate().take(end).skip(first) {
                *weight = ((at + 1) as f64 / total) as f32;
            }
        }
    }
}

/// What the graph does with its pooling inputs, for hidden states that a foreign graph puts out: (B, L, H) -> (B, P·H),
/// in the order of `modes`.
pub fn pool_hidden_states(
    hidden_states: &[f32],
    modes: &[PoolingMode],
    batch: &PaddedBatch,
    inputs: &PoolingInputs,
) -> Vec<f32> {
    let hidden_size = hidden_states.len() / (batch.rows * batch.length);
    let mut pooled = Vec::with_capacity(batch.rows * modes.len() * hidden_size);
    let mut weights = inputs.weights.chunks_exact(batch.length);
    for (row, tokens) in hidden_states.chunks_exact(batch.length * hidden_size).enumerate() {
        for mode in modes {
            let start = pooled.len();
            if !mode.is_sum() {
                pooled.resize(start + hidden_size, f32::NEG_INFINITY);
                let bias = inputs.bias.iter().flat_map(|bias| &bias[row * batch.length..]);
                // What padding's states are does not matter, not even NaN.
                for (token, bias) in tokens.chunks_exact(hidden_size).zip(bias).filter(|(_, bias)| **bias == 0.0) {
                    // Not f32::max, which would lose a NaN.
                    let larger = |sum: &mut f32, value: f32| {
                        if value > *sum || value.is_nan() {
                            *sum = value
                        }
                    };
                    pooled[start..].iter_mut().zip(token).for_each(|(slot, value)| larger(slot, value + bias));
                }
            } else {
                pooled.resize(start + hidden_size, 0.0);
                let weighted = tokens.chunks_exact(hidden_size).zip(weights.next().unwrap_or_default());
                for (token, weight) in weighted.filter(|(_, weight)| **weight != 0.0) {
                    pooled[start..].iter_mut().zip(token).for_each(|(slot, value)| *slot += value * weight);
                }
            }
        }
    }
    pooled
}

/// A vector with a component that is NaN or infinite.
#[derive(Debug, PartialEq, Eq)]
pub struct NotFinite;

/// Writes the first `target.len()` components of a pooled vector, scaled to length 1 where asked. A vector of length 0
/// stays 0 (as in torch's `normalize`, which divides by at least 1e-12).
pub fn finish_row(pooled: &[f32], normalize: bool, target: &mut [f32]) -> Result<(), NotFinite> {
    let kept = &pooled[..target.len()];
    // In float64 no sum of float32's squares overflows, so this one is finite exactly where every component is.
    let squares = kept.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>();
    if !squares.is_finite() {
        return Err(NotFinite);
    }
    if !normalize {
        target.copy_from_slice(kept);
        return Ok(());
    }
    let norm = squares.sqrt().max(1e-12);
    for (slot, value) in target.iter_mut().zip(kept) {
        *slot = (f64::from(*value) / norm) as f32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lengths: &[usize], length: usize) -> PaddedBatch {
        PaddedBatch {
            rows: lengths.len(),
            length,
            lengths: lengths.to_vec(),
            input_ids: vec![0; lengths.len() * length],
            attention_mask: vec![0; lengths.len() * length],
            frees_memory: false,
        }
    }

    #[test]
    fn weights_of_each_mode() {
        let of = |mode| pooling_inputs(&[mode], &batch(&[2], 4), 0).weights;
        assert_eq!(of(PoolingMode::Cls), [1.0, 0.0, 0.0, 0.0]);
        let prompted = pooling_inputs(&[PoolingMode::Cls], &batch(&[3], 4), 1).weights;
        assert_eq!(prompted, [0.0, 1.0, 0.0, 0.0], "the first token after the prompt");
        assert_eq!(of(PoolingMode::Mean), [0.5, 0.5, 0.0, 0.0]);
        assert_eq!(of(PoolingMode::LastToken), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(of(PoolingMode::WeightedMean), [1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0]);
        assert_eq!(of(PoolingMode::MeanSqrtLen), [0.5_f32.sqrt(), 0.5_f32.sqrt(), 0.0, 0.0]);
        assert!(of(PoolingMode::Max).is_empty());
    }

    #[test]
    fn modes_lie_side_by_side_per_row() {
        let inputs = pooling_inputs(&[PoolingMode::Cls, PoolingMode::Max, PoolingMode::Mean], &batch(&[1, 2], 2), 0);
        assert_eq!(inputs.weights, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.5, 0.5]);
        assert_eq!(inputs.bias, Some(vec![0.0, f32::NEG_INFINITY, 0.0, 0.0]));
    }

    #[test]
    fn no_token_left_is_no_weight() {
        for mode in [PoolingMode::Mean, PoolingMode::MeanSqrtLen, PoolingMode::WeightedMean, PoolingMode::LastToken] {
            assert_eq!(pooling_inputs(&[mode], &batch(&[0], 1), 0).weights, [0.0]);
            assert_eq!(pooling_inputs(&[mode], &batch(&[2], 2), 5).weights, [0.0, 0.0]);
        }
    }

    #[test]
    fn rows_are_cut_before_they_are_normalised() {
        let mut target = [0.0; 2];
        finish_row(&[3.0, 4.0, 12.0], true, &mut target).unwrap();
        assert_eq!(target, [0.6, 0.8]);
        finish_row(&[3.0, 4.0, 12.0], false, &mut target).unwrap();
        assert_eq!(target, [3.0, 4.0]);
        finish_row(&[0.0, 0.0], true, &mut target).unwrap();
        assert_eq!(target, [0.0, 0.0]);
        finish_row(&[f32::MAX, f32::MAX], true, &mut target).unwrap();
        assert!((target[0] - 0.5_f32.sqrt()).abs() < 1e-7, "squares of large values do not overflow");
    }

    #[test]
    fn one_component_that_is_no_number_refuses_the_row() {
        let mut target = [7.0; 2];
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for normalize in [true, false] {
                assert_eq!(finish_row(&[3.0, bad], normalize, &mut target), Err(NotFinite));
                assert_eq!(target, [7.0, 7.0], "nothing is written");
                finish_row(&[3.0, 4.0, bad], normalize, &mut [0.0; 2]).expect("what is cut off does not count");
            }
        }
    }

    #[test]
    fn padding_that_is_no_number_pools_nothing() {
        let modes = [PoolingMode::Max, PoolingMode::Mean];
        let padded = batch(&[1], 2);
        for bad in [f32::NAN, f32::INFINITY] {
            let states = [-1.0, 2.0, bad, bad];
            let pooled = pool_hidden_states(&states, &modes, &padded, &pooling_inputs(&modes, &padded, 0));
            assert_eq!(pooled, [-1.0, 2.0, -1.0, 2.0]);
        }
    }
}
