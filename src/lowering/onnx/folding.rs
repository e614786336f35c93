//! Weights that no file holds as the graph wants them: stacked, scaled, with a norm's γ in their columns, in another
//! type. A [`Folded`] says what to make; the bytes are made when they are written, a few rows at a time.

use std::io::Write;
use std::ops::Range;

use half::f16;

use super::proto::ElementType;
use crate::checkpoint::tensors::TensorReader;
use crate::checkpoint::whole_file::WriteError;
use crate::error::{Error, Result};
use crate::transformer::{Matrix, Vector};

/// Numbers that are converted at once: 16 MB of float32.
const CHUNK: usize = 4 << 20;
/// Offsets of tensors in a data file are multiples of this.
const ALIGNMENT: u64 = 64;

/// What a graph of fixed shape holds, takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FloatType {
    /// Four bytes.
    Float32,
    /// Two bytes, up to 65,504.
    Float16,
}

impl FloatType {
    /// ONNX's name for it.
    pub fn element(self) -> ElementType {
        match self {
            FloatType::Float32 => ElementType::Float32,
            FloatType::Float16 => ElementType::Float16,
        }
    }

    /// The name that callers use.
    pub fn name(self) -> &'static str {
        match self {
            FloatType::Float32 => "float32",
            FloatType::Float16 => "float16",
        }
    }

    /// Bytes of a number.
    fn bytes(self) -> usize {
        match self {
            FloatType::Float32 => size_of::<f32>(),
            FloatType::Float16 => size_of::<f16>(),
        }
    }
}

/// A range of a tensor's rows as a part of a folded one: `(x + offset) · scale`, its columns multiplied.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name in the checkpoint.
    pub tensor: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// The rows that are taken.
    pub rows: Range<usize>,
    /// A norm's weight, which multiplies the columns, and what is added to it before.
    pub column_scale: Option<(Vector, f32)>,
    /// Is added to every number.
    pub offset: f32,
    /// Multiplies every number.
    pub scale: f32,
    /// How many copies lie one after the other.
    pub copies: usize,
}

impl Part {
    fn plain(tensor: &str, shape: &[usize], rows: &Range<usize>) -> Self {
        Part {
            tensor: tensor.to_owned(),
            shape: shape.to_vec(),
            rows: rows.clone(),
            column_scale: None,
            offset: 0.0,
            scale: 1.0,
            copies: 1,
        }
    }

    /// A matrix as it is.
    pub fn matrix(matrix: &Matrix) -> Self {
        Part::plain(&matrix.tensor, &[matrix.tensor_rows, matrix.inputs], &matrix.rows)
    }

    /// A vector as it is.
    pub fn vector(vector: &Vector) -> Self {
        Part::plain(&vector.tensor, &[vector.tensor_size], &vector.range)
    }

    fn numbers(&self) -> usize {
        self.copies * self.rows.len() * self.shape.iter().skip(1).product::<usize>()
    }
}

/// An initializer made of parts, one after the other.
#[derive(Debug)]
pub struct Folded {
    /// Its type in the graph.
    pub element: FloatType,
    /// First byte in the data file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    parts: Vec<Part>,
}

impl Folded {
    /// A tensor that begins at the next aligned offset after `end`.
    pub fn after(end: u64, element: FloatType, parts: Vec<Part>) -> Self {
        let numbers: usize = parts.iter().map(Part::numbers).sum();
        let offset = end.next_multiple_of(ALIGNMENT);
        Folded { element, offset, length: (numbers * element.bytes()) as u64, parts }
    }

    /// Makes the bytes. Refused: a number that float16 cannot hold.
    pub fn write(&self, tensors: &mut TensorReader<'_>, out: &mut dyn Write) -> Result<(), WriteError> {
        for part in &self.parts {
            let tensor = tensors.tensor(&part.tensor, &part.shape)?;
            let columns = match &part.column_scale {
                Some((scale, offset)) => Some(column_scale(tensors, scale, *offset, tensor.row_size())?),
                None => None,
            };
            let row_size = tensor.row_size().max(1);
            let step = (CHUNK / row_size).max(1);
            for _ in 0..part.copies {
                for start in part.rows.clone().step_by(step) {
                    let mut values = tensor.rows(start..(start + step).min(part.rows.end));
                    if let Some(columns) = &columns {
                        let scaled = |row: &mut [f32]| row.iter_mut().zip(columns).for_each(|(x, scale)| *x *= scale);
                        values.chunks_exact_mut(row_size).for_each(scaled);
                    }
                    if part.offset != 0.0 || part.scale != 1.0 {
                        values.iter_mut().for_each(|value| *value = (*value + part.offset) * part.scale);
                    }
                    out.write_all(&self.encode(&values, &part.tensor)?)?;
                }
            }
        }
        Ok(())
    }

    fn encode(&self, values: &[f32], tensor: &str) -> Result<Vec<u8>> {
        let too_large = |value: &&f32| match self.element {
            FloatType::Float32 => false,
            FloatType::Float16 => value.is_finite() && f16::from_f32(**value).is_infinite(),
        };
        if let Some(large) = values.iter().find(too_large) {
            return Err(Error::Argument {
                argument: "dtype",
                found: "\"float16\"".to_owned(),
                expected: format!("\"float32\": tensor `{tensor}` holds {large}, which float16 cannot"),
            });
        }
        Ok(encode(values, self.element))
    }
}

fn column_scale(tensors: &mut TensorReader<'_>, scale: &Vector, offset: f32, columns: usize) -> Result<Vec<f32>> {
    if scale.size() != columns {
        return Err(Error::Graph {
            problem: format!("{} numbers of {} for {columns} columns", scale.size(), scale.name()),
        });
    }
    let mut values = tensors.tensor(&scale.tensor, &[scale.tensor_size])?.rows(scale.range.clone());
    values.iter_mut().for_each(|value| *value += offset);
    Ok(values)
}

/// Float32 numbers as an initializer's bytes.
pub fn encode(values: &[f32], element: FloatType) -> Vec<u8> {
    match element {
        FloatType::Float16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        FloatType::Float32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::weights::testing::weights_filled;

    fn written(
        element: FloatType,
        parts: Vec<Part>,
        weights: &crate::checkpoint::weights::Weights,
    ) -> Result<Vec<u8>, WriteError> {
        let folded = Folded::after(3, element, parts);
        let mut bytes = Vec::new();
        folded.write(&mut TensorReader::new(weights), &mut bytes)?;
        assert_eq!((folded.offset, folded.length), (64, bytes.len() as u64));
        Ok(bytes)
    }

    #[test]
    fn parts_are_stacked_scaled_and_repeated() {
        let (_folder, weights) =
            weights_filled(&[("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), ("g", &[2], &[10.0, 100.0]), ("v", &[1], &[7.0])]);
        let matrix = Part::matrix(&Matrix::whole("w", [2, 2]));
        let scaled = Part { column_scale: Some((Vector::whole("g", 2), 0.0)), scale: 0.5, ..matrix };
        let shifted = Part { copies: 2, offset: 1.0, ..Part::vector(&Vector::whole("v", 1)) };
        let parts = vec![scaled, shifted, Part::matrix(&Matrix::whole("w", [2, 2]).part(1..2))];
        let bytes = written(FloatType::Float32, parts.clone(), &weights).unwrap();
        let expected = [5.0, 100.0, 15.0, 200.0, 8.0, 8.0, 3.0, 4.0];
        assert_eq!(bytes, encode(&expected, FloatType::Float32));
        assert_eq!(written(FloatType::Float16, parts, &weights).unwrap(), encode(&expected, FloatType::Float16));
    }

    #[test]
    fn what_float16_cannot_hold_is_named() {
        let (_folder, weights) = weights_filled(&[("w", &[2], &[1.0, 70000.0])]);
        let refused = written(FloatType::Float16, vec![Part::vector(&Vector::whole("w", 2))], &weights);
        let Err(WriteError::Weights(error)) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains("tensor `w` holds 70000, which float16 cannot"), "{error}");
        assert!(written(FloatType::Float32, vec![Part::vector(&Vector::whole("w", 2))], &weights).is_ok());
    }
}
