//! A float weight matrix in, an int8 one out: symmetric, with a scale for each output channel. Refused: values that are
//! not finite, whose channel would have no scale.

use crate::checkpoint::tensors::TensorReader;
use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};
use crate::lowering::made::made;
use crate::memory::filled;
use crate::transformer::Matrix;

/// Output channels that are turned at once: their bytes of one input fill a cache line.
const BLOCK: usize = 64;

/// A quantized matrix: what a product of int8 values gives times the scale of its channel is the float product.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedMatrix {
    /// (inputs, outputs).
    pub values: Vec<i8>,
    /// (outputs).
    pub scales: Vec<f32>,
}

/// The largest magnitude that a weight may take. x86 processors without VNNI add pairs of products in 16 bits, which
/// saturate: 2 · 255 · 63 still fits, 2 · 255 · 127 does not. Giving up a bit of the weights costs less than one of the
/// activations (MiniLM, 1,024 docstrings: lowest cosine 0.982 against 0.971; at full range 0.986; `benches/choices.py`).
pub fn weight_limit() -> f32 {
    #[cfg(target_arch = "x86_64")]
    if !(is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni")) {
        return 63.0;
    }
    127.0
}

/// Quantizes matrices of a checkpoint, several at a time.
pub fn quantize_all(weights: &Weights, matrices: &[Matrix], threads: usize) -> Result<Vec<QuantizedMatrix>> {
    made(weights, matrices, threads, |tensors, matrix| quantize(tensors, matrix, weight_limit()))
}

fn quantize(tensors: &mut TensorReader<'_>, matrix: &Matrix, limit: f32) -> Result<QuantizedMatrix> {
    let (outputs, inputs, tensor) = (matrix.outputs(), matrix.inputs, &matrix.tensor);
    let mapped = tensors.tensor(tensor, &[matrix.tensor_rows, inputs])?;
    let purpose = || format!("for tensor `{tensor}` in int8");
    let mut values = filled(outputs * inputs, 0_i8, purpose)?;
    let mut scales = filled(outputs, 0.0_f32, purpose)?;
    let mut block = filled(BLOCK * inputs, 0_i8, purpose)?;
    for first in (0..outputs).step_by(BLOCK) {
        let count = BLOCK.min(outputs - first);
        let numbers = mapped.rows(matrix.rows.start + first..matrix.rows.start + first + count);
        let rows = numbers.chunks_exact(inputs).zip(block.chunks_exact_mut(inputs));
        for (channel, (row, quantized)) in (first..).zip(rows) {
            // f32::max would lose a NaN.
            let magnitude = |value: &f32| if value.is_nan() { f32::INFINITY } else { value.abs() };
            let peak = row.iter().map(magnitude).fold(0.0, f32::max);
            if !peak.is_finite() {
                return Err(Error::Tensor {
                    path: tensors.weights().path_of(tensor).to_owned(),
                    tensor: tensor.clone(),
                    found: format!("a value in row {} that is not finite", matrix.rows.start + channel),
                    expected: "finite values, to quantize them".to_owned(),
                });
            }
            scales[channel] = peak / limit;
            let inverse = if peak > 0.0 { limit / peak } else { 0.0 };
            for (slot, value) in quantized.iter_mut().zip(row) {
                *slot = (value * inverse).round_ties_even() as i8;
            }
        }
        for (input, line) in values.chunks_exact_mut(outputs).enumerate() {
            for (offset, slot) in line[first..first + count].iter_mut().enumerate() {
                *slot = block[offset * inputs + input];
            }
        }
    }
    Ok(QuantizedMatrix { values, scales })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::weights::testing::weights_filled;

    fn matrix(outputs: usize, inputs: usize) -> Matrix {
        Matrix::whole("w", [outputs, inputs])
    }

    #[test]
    fn each_channel_has_its_own_scale_and_lies_in_a_column() {
        let (_folder, weights) = weights_filled(&[("w", &[3, 2], &[1.0, -0.5, 0.0, 0.0, -100.0, 50.0])]);
        let quantized = quantize(&mut TensorReader::new(&weights), &matrix(3, 2), 127.0).unwrap();
        assert_eq!(quantized.values, [127, 0, -127, -64, 0, 64]);
        assert_eq!(quantized.scales, [1.0 / 127.0, 0.0, 100.0 / 127.0]);
    }

    #[test]
    fn every_value_is_within_half_a_step() {
        let numbers: Vec<f32> = (0..130 * 7).map(|index| ((index * 7919) % 1009) as f32 - 500.0).collect();
        let (_folder, weights) = weights_filled(&[("w", &[130, 7], &numbers)]);
        for limit in [63.0, 127.0] {
            let quantized = quantize(&mut TensorReader::new(&weights), &matrix(130, 7), limit).unwrap();
            for (index, number) in numbers.iter().enumerate() {
                let (channel, input) = (index / 7, index % 7);
                let value = f32::from(quantized.values[input * 130 + channel]);
                assert!(value.abs() <= limit);
                assert!((value * quantized.scales[channel] - number).abs() <= 0.5001 * quantized.scales[channel]);
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for bad in [f32::NAN, f32::INFINITY] {
            let (_folder, weights) = weights_filled(&[("w", &[2, 2], &[1.0, 2.0, bad, 3.0])]);
            let message = quantize_all(&weights, &[matrix(2, 2)], 2).unwrap_err().to_string();
            assert!(message.contains("`w`: found a value in row 1 that is not finite"), "{message}");
        }
    }
}

#[cfg(test)]
mod properties {
    use super::*;
    use crate::checkpoint::weights::testing::weights_filled;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A matrix with rows of very different sizes, some of them of zeros.
    fn matrix() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
        let size = prop_oneof![Just(0.0_f32), Just(1e-30), Just(1.0), Just(3e38)];
        (1_usize..140, 1_usize..9).prop_flat_map(move |(outputs, inputs)| {
            let row = (size.clone(), vec(-1.0_f32..=1.0, inputs));
            let rows = vec(row.prop_map(|(size, row)| row.into_iter().map(|value| value * size).collect()), outputs);
            rows.prop_map(move |rows: Vec<Vec<f32>>| (outputs, inputs, rows.concat()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn values_are_within_half_a_step_of_a_symmetric_scale(
            (outputs, inputs, numbers) in matrix(),
            limit in prop_oneof![Just(63.0_f32), Just(127.0)],
        ) {
            let of = |numbers: &[f32]| {
                let (_folder, weights) = weights_filled(&[("w", &[outputs, inputs], numbers)]);
                let matrix = Matrix::whole("w", [outputs, inputs]);
                quantize(&mut TensorReader::new(&weights), &matrix, limit).unwrap()
            };
            let found = of(&numbers);
            prop_assert_eq!((found.values.len(), found.scales.len()), (outputs * inputs, outputs));
            for (channel, row) in numbers.chunks_exact(inputs).enumerate() {
                let scale = found.scales[channel];
                let values: Vec<f32> = (0..inputs).map(|input| f32::from(found.values[input * outputs + channel])).collect();
                let peak = row.iter().fold(0.0_f32, |peak, value| peak.max(value.abs()));
                let largest = values.iter().fold(0.0_f32, |peak, value| peak.max(value.abs()));
                prop_assert_eq!(largest, if peak > 0.0 { limit } else { 0.0 }, "the whole range is used, and no more");
                for (value, number) in values.iter().zip(row) {
                    let error = (f64::from(*value) * f64::from(scale) - f64::from(*number)).abs();
                    prop_assert!(error <= 0.5001 * f64::from(scale), "{} as {} steps of {}", number, value, scale);
                }
            }
            let mirrored = of(&numbers.iter().map(|number| -number).collect::<Vec<f32>>());
            prop_assert_eq!(&mirrored.scales, &found.scales);
            prop_assert!(mirrored.values.iter().zip(&found.values).all(|(left, right)| *left == -*right));
        }
    }
}
