//! sentence-transformers' LayerNorm: a row less its mean, by its standard deviation, scaled and shifted.

use super::HeadModule;

/// torch's default, which the module's config cannot change.
const EPSILON: f64 = 1e-5;

/// A norm of the whole row.
#[derive(Debug)]
pub struct LayerNorm {
    /// Multiplies.
    pub weight: Vec<f32>,
    /// Is added.
    pub bias: Vec<f32>,
}

impl HeadModule for LayerNorm {
    fn inputs(&self) -> Option<usize> {
        Some(self.weight.len())
    }

    fn outputs(&self, inputs: usize) -> usize {
        inputs
    }

    fn apply(&self, mut rows: Vec<f32>, inputs: usize) -> Vec<f32> {
        for row in rows.chunks_exact_mut(inputs.max(1)) {
            let count = row.len() as f64;
            let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
            let variance = row.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
            let scale = 1.0 / (variance + EPSILON).sqrt();
            for (value, (weight, bias)) in row.iter_mut().zip(self.weight.iter().zip(&self.bias)) {
                *value = ((f64::from(*value) - mean) * scale) as f32 * weight + bias;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_mean_0_and_deviation_1() {
        let norm = LayerNorm { weight: vec![1.0, 2.0], bias: vec![0.0, 1.0] };
        let rows = norm.apply(vec![3.0, 5.0, 7.0, 7.0], 2);
        for (found, expected) in rows.iter().zip([-1.0, 3.0, 0.0, 1.0]) {
            assert!((found - expected).abs() < 1e-4, "{rows:?}");
        }
    }
}
