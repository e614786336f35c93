//! Weights that no file holds as the graph wants them: stacked, scaled, with a norm's γ in their columns, in another
//! type. A [`Folded`] says what to make; the bytes are made when they are written, a few rows at a time.

use std::io::Write;

use half::f16;

use super::proto::ElementType;
use crate::error::{Error, Result};
use crate::tensors::TensorReader;

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

/// A tensor of the checkpoint as a part of a folded one.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name in the checkpoint.
    pub tensor: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// A tensor of as many numbers as it has columns, which multiplies them.
    pub column_scale: Option<String>,
    /// Multiplies every number.
    pub scale: f32,
    /// How many copies lie one after the other.
    pub copies: usize,
}

impl Part {
    /// A tensor as it is.
    pub fn plain(tensor: impl Into<String>, shape: &[usize]) -> Self {
        Part { tensor: tensor.into(), shape: shape.to_vec(), column_scale: None, scale: 1.0, copies: 1 }
    }
}

/// An initializer made of parts, one after the other.
#[derive(Debug)]
pub struct Folded {
    /// Its name in the graph.
    pub name: String,
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
    pub fn after(end: u64, name: &str, element: FloatType, parts: Vec<Part>) -> Self {
        let numbers: usize = parts.iter().map(|part| part.copies * part.shape.iter().product::<usize>()).sum();
        let offset = end.next_multiple_of(ALIGNMENT);
        Folded { name: name.to_owned(), element, offset, length: (numbers * element.bytes()) as u64, parts }
    }

    /// Makes the bytes. Refused: a number that float16 cannot hold.
    pub fn write(&self, tensors: &mut TensorReader<'_>, out: &mut dyn Write) -> Result<(), FoldError> {
        for part in &self.parts {
            let tensor = tensors.tensor(&part.tensor, &part.shape)?;
            let columns = match &part.column_scale {
                Some(name) => Some(tensors.tensor(name, &[tensor.row_size()])?.rows(0..tensor.row_size())),
                None => None,
            };
            let row_size = tensor.row_size().max(1);
            let step = (CHUNK / row_size).max(1);
            for _ in 0..part.copies {
                for start in (0..part.shape[0]).step_by(step) {
                    let mut values = tensor.rows(start..(start + step).min(part.shape[0]));
                    if let Some(columns) = &columns {
                        let scaled = |row: &mut [f32]| row.iter_mut().zip(columns).for_each(|(x, scale)| *x *= scale);
                        values.chunks_exact_mut(row_size).for_each(scaled);
                    }
                    if part.scale != 1.0 {
                        values.iter_mut().for_each(|value| *value *= part.scale);
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

/// Float32 numbers as an initializer's bytes.
pub fn encode(values: &[f32], element: FloatType) -> Vec<u8> {
    match element {
        FloatType::Float16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        FloatType::Float32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// Why a folded tensor was not written.
#[derive(Debug)]
pub enum FoldError {
    /// The checkpoint does not give it.
    Weights(Error),
    /// The disk does not take it.
    Disk(std::io::Error),
}

impl From<Error> for FoldError {
    fn from(error: Error) -> Self {
        FoldError::Weights(error)
    }
}

impl From<std::io::Error> for FoldError {
    fn from(error: std::io::Error) -> Self {
        FoldError::Disk(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::testing::weights_filled;

    fn written(element: FloatType, parts: Vec<Part>, weights: &crate::weights::Weights) -> Result<Vec<u8>, FoldError> {
        let folded = Folded::after(3, "folded", element, parts);
        let mut bytes = Vec::new();
        folded.write(&mut TensorReader::new(weights), &mut bytes)?;
        assert_eq!((folded.offset, folded.length), (64, bytes.len() as u64));
        Ok(bytes)
    }

    #[test]
    fn parts_are_stacked_scaled_and_repeated() {
        let (_folder, weights) =
            weights_filled(&[("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), ("g", &[2], &[10.0, 100.0]), ("v", &[1], &[7.0])]);
        let scaled = Part { column_scale: Some("g".to_owned()), scale: 0.5, ..Part::plain("w", &[2, 2]) };
        let parts = vec![scaled, Part { copies: 2, ..Part::plain("v", &[1]) }];
        let bytes = written(FloatType::Float32, parts.clone(), &weights).unwrap();
        let expected = [5.0, 100.0, 15.0, 200.0, 7.0, 7.0];
        assert_eq!(bytes, encode(&expected, FloatType::Float32));
        assert_eq!(written(FloatType::Float16, parts, &weights).unwrap(), encode(&expected, FloatType::Float16));
    }

    #[test]
    fn what_float16_cannot_hold_is_named() {
        let (_folder, weights) = weights_filled(&[("w", &[2], &[1.0, 70000.0])]);
        let refused = written(FloatType::Float16, vec![Part::plain("w", &[2])], &weights);
        let Err(FoldError::Weights(error)) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains("tensor `w` holds 70000, which float16 cannot"), "{error}");
        assert!(written(FloatType::Float32, vec![Part::plain("w", &[2])], &weights).is_ok());
    }
}
