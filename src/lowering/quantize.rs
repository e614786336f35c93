//! A checkpoint's matrices in, the same in 8-bit steps out, for the products of
//! [`kernels::quantized`](crate::kernels::quantized). Refused: values that are not finite, which no step size fits.

use crate::checkpoint::tensors::TensorReader;
use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};
use crate::kernels::quantized::multiplier::Multiplier;
use crate::kernels::quantized::weights::QuantizedMatrix;
use crate::lowering::made::made;
use crate::transformer::Matrix;

/// Quantizes matrices of a checkpoint, several at a time.
pub fn quantize_all(
    weights: &Weights,
    matrices: &[Matrix],
    multiplier: Multiplier,
    threads: usize,
) -> Result<Vec<QuantizedMatrix>> {
    made(weights, matrices, threads, |tensors, matrix| quantize(tensors, matrix, multiplier))
}

fn quantize(tensors: &mut TensorReader<'_>, matrix: &Matrix, multiplier: Multiplier) -> Result<QuantizedMatrix> {
    let (outputs, inputs, tensor) = (matrix.outputs(), matrix.inputs, &matrix.tensor);
    let mapped = tensors.tensor(tensor, &[matrix.tensor_rows, inputs])?;
    let mut quantized = QuantizedMatrix::zeros(outputs, inputs, multiplier).ok_or_else(|| Error::Memory {
        purpose: format!("for tensor `{tensor}` in int8"),
        source: std::io::Error::from(std::io::ErrorKind::OutOfMemory).into(),
    })?;
    for first in (0..outputs).step_by(QuantizedMatrix::OUTPUTS_AT_ONCE) {
        let count = QuantizedMatrix::OUTPUTS_AT_ONCE.min(outputs - first);
        let start = matrix.rows.start + first;
        let filled = quantized.fill(first, &mapped.rows(start..start + count));
        filled.map_err(|output| Error::Tensor {
            path: tensors.weights().path_of(tensor).to_owned(),
            tensor: tensor.clone(),
            found: format!("a value in row {} that is not finite", matrix.rows.start + output),
            expected: "finite values, to quantize them".to_owned(),
        })?;
    }
    Ok(quantized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::weights::testing::weights_filled;
    use crate::kernels::processor::Path;

    #[test]
    fn what_is_not_finite_is_refused_by_the_row_of_the_tensor() {
        let multiplier = Multiplier::of(Path::portable());
        for bad in [f32::NAN, f32::INFINITY] {
            let (_folder, weights) = weights_filled(&[("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, bad, 3.0])]);
            let whole = Matrix::whole("w", [3, 2]);
            assert_eq!(quantize_all(&weights, &[whole.part(0..2)], multiplier, 2).unwrap()[0].outputs(), 2);
            for matrix in [whole.part(1..3), whole] {
                let message = quantize_all(&weights, &[matrix], multiplier, 2).unwrap_err().to_string();
                assert!(message.contains("`w`: found a value in row 2 that is not finite"), "{message}");
            }
        }
    }

    #[test]
    fn matrices_come_in_their_order() {
        let (_folder, weights) = weights_filled(&[("a", &[3, 2], &[1.0; 6]), ("b", &[40, 1], &[2.0; 40])]);
        let matrices = [Matrix::whole("a", [3, 2]), Matrix::whole("b", [40, 1])];
        let quantized = quantize_all(&weights, &matrices, Multiplier::of(Path::portable()), 3).unwrap();
        let shapes: Vec<_> = quantized.iter().map(|matrix| (matrix.outputs(), matrix.inputs())).collect();
        assert_eq!(shapes, [(3, 2), (40, 1)]);
    }
}
