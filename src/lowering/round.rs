//! A float weight matrix in, the same in bfloat16 out, each value the nearest. Refused: values that bfloat16 has not, past its
//! largest or not finite.

use half::bf16;

use crate::checkpoint::tensors::TensorReader;
use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};
use crate::lowering::made::made;
use crate::memory::room_for;
use crate::transformer::Matrix;

/// Rows that are widened at a time.
const BLOCK: usize = 64;

/// Rounds matrices of a checkpoint, (outputs, inputs) each, several at a time.
pub fn round_all(weights: &Weights, matrices: &[Matrix], threads: usize) -> Result<Vec<Vec<bf16>>> {
    made(weights, matrices, threads, round)
}

fn round(tensors: &mut TensorReader<'_>, matrix: &Matrix) -> Result<Vec<bf16>> {
    let (tensor, inputs) = (&matrix.tensor, matrix.inputs);
    let mapped = tensors.tensor(tensor, &[matrix.tensor_rows, inputs])?;
    let purpose = || format!("for tensor `{tensor}` in bfloat16");
    let mut rounded: Vec<bf16> = room_for(matrix.outputs() * inputs, purpose)?;
    for first in matrix.rows.clone().step_by(BLOCK) {
        for value in mapped.rows(first..matrix.rows.end.min(first + BLOCK)) {
            let nearest = bf16::from_f32(value);
            if !nearest.is_finite() {
                return Err(Error::Tensor {
                    path: tensors.weights().path_of(tensor).to_owned(),
                    tensor: tensor.clone(),
                    found: format!("{value:e} in row {}", matrix.rows.start + rounded.len() / inputs.max(1)),
                    expected: format!("values up to {:e}, to round them to bfloat16", bf16::MAX),
                });
            }
            rounded.push(nearest);
        }
    }
    Ok(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::weights::testing::weights_filled;

    #[test]
    fn values_become_the_nearest_and_ranges_of_rows_are_kept() {
        let numbers: Vec<f32> = (0..200 * 3).map(|index| 1.0 + index as f32 / 512.0).collect();
        let (_folder, weights) = weights_filled(&[("w", &[200, 3], &numbers)]);
        let part = Matrix { rows: 70..199, ..Matrix::whole("w", [200, 3]) };
        let found = round_all(&weights, &[part, Matrix::whole("w", [200, 3])], 2).unwrap();
        let expected: Vec<bf16> = numbers.iter().copied().map(bf16::from_f32).collect();
        assert_eq!(found, [expected[210..597].to_vec(), expected.clone()]);
        assert!(expected.iter().zip(&numbers).any(|(rounded, number)| rounded.to_f32() != *number));
    }

    #[test]
    fn what_bfloat16_has_not_is_refused() {
        for (bad, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::MAX, "3.4028235e38")] {
            let (_folder, weights) = weights_filled(&[("w", &[2, 2], &[1.0, 2.0, bad, 3.0])]);
            let message = round_all(&weights, &[Matrix::whole("w", [2, 2])], 1).unwrap_err().to_string();
            assert!(message.contains(&format!("`w`: found {name} in row 1, expected values up to 3.3")), "{message}");
        }
    }
}
