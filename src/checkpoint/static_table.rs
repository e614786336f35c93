//! A folder of sentence-transformers' StaticEmbedding or of model2vec in, a table of token vectors out: rows, and for each
//! token id which row is its own and what that is multiplied by. Refused: tensors that do not fit each other, a mapping
//! out of the table.

use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::Dtype;
use serde::Deserialize;

use crate::checkpoint::json::{Limit, MAX_ROWS, MAX_WIDTH, read_file};
use crate::checkpoint::tensor_place::TensorPlace;
use crate::checkpoint::tensors::{MappedTensor, TensorReader};
use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};

/// A vector for each token.
pub struct StaticTable {
    weights: Weights,
    rows: MappedTensor,
    dtype: Dtype,
    width: usize,
    tokens: usize,
    /// Token id to row; the id itself where there is none.
    mapping: Option<Vec<usize>>,
    /// Token id to factor; 1 where there is none.
    factors: Option<Vec<f32>>,
}

impl std::fmt::Debug for StaticTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "StaticTable of {} tokens, {} wide", self.tokens, self.width)
    }
}

impl StaticTable {
    /// Maps the table of a folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let weights = Weights::open(folder)?;
        let mut reader = TensorReader::new(&weights);
        let name = if weights.contains("embedding.weight") { "embedding.weight" } else { "embeddings" };
        let table = place(&weights, name, "a tensor of shape [tokens, width], named so or `embedding.weight`")?;
        let wrong = |tensor: &str, found: String, expected: String| Error::Tensor {
            path: weights.path_of(tensor).to_owned(),
            tensor: tensor.to_owned(),
            found,
            expected,
        };
        let (count, width) = match table.shape.as_slice() {
            &[count @ 1..=MAX_ROWS, width @ 1..=MAX_WIDTH] => (count, width),
            other => {
                let expected = format!("[tokens, width], 1 to {MAX_ROWS} and 1 to {MAX_WIDTH}");
                return Err(wrong(name, format!("shape {other:?}"), expected));
            }
        };
        if !matches!(table.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::I8) {
            return Err(wrong(name, format!("dtype {:?}", table.dtype), "F32, F16, BF16 or I8".to_owned()));
        }
        let (rows, dtype) = (mapped(&mut reader, &weights, table)?, table.dtype);
        let mapping = match weights.contains("mapping") {
            false => None,
            true => {
                let place = place(&weights, "mapping", "a tensor")?;
                let numbers = mapped(&mut reader, &weights, place)?;
                let rows: Option<Vec<usize>> = match (place.shape.as_slice(), place.dtype) {
                    ([1..=MAX_ROWS], Dtype::I64) => numbers
                        .bytes()
                        .as_chunks::<8>()
                        .0
                        .iter()
                        .map(|word| usize::try_from(i64::from_le_bytes(*word)).ok().filter(|row| *row < count))
                        .collect(),
                    ([1..=MAX_ROWS], Dtype::I32) => numbers
                        .bytes()
                        .as_chunks::<4>()
                        .0
                        .iter()
                        .map(|word| usize::try_from(i32::from_le_bytes(*word)).ok().filter(|row| *row < count))
                        .collect(),
                    (shape, dtype) => {
                        let found = format!("shape {shape:?}, dtype {dtype:?}");
                        return Err(wrong("mapping", found, "shape [tokens], dtype I64 or I32".to_owned()));
                    }
                };
                let outside =
                    || wrong("mapping", "a row outside the table".to_owned(), format!("rows 0 to {}", count - 1));
                Some(rows.ok_or_else(outside)?)
            }
        };
        let tokens = mapping.as_ref().map_or(count, Vec::len);
        let factors = match weights.contains("weights") {
            false => None,
            true => {
                let place = place(&weights, "weights", "a tensor")?;
                let numbers = mapped(&mut reader, &weights, place)?;
                let fits = place.shape == [tokens];
                match place.dtype {
                    Dtype::F64 if fits => {
                        let words = numbers.bytes().as_chunks::<8>().0;
                        Some(words.iter().map(|word| f64::from_le_bytes(*word) as f32).collect())
                    }
                    Dtype::F32 | Dtype::F16 | Dtype::BF16 if fits => {
                        let mut factors = vec![0.0; tokens];
                        add(&mut factors, numbers.bytes(), place.dtype, 1.0);
                        Some(factors)
                    }
                    dtype => {
                        let found = format!("shape {:?}, dtype {dtype:?}", place.shape);
                        return Err(wrong("weights", found, format!("shape [{tokens}], dtype F64, F32, F16 or BF16")));
                    }
                }
            }
        };
        drop(reader);
        Ok(StaticTable { rows, dtype, width, tokens, mapping, factors, weights })
    }

    /// The files.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Token ids that it has a vector for.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Components of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Writes the mean of the tokens' vectors; zeros where there are none. The tokenizer has checked the ids.
    pub fn mean(&self, ids: &[i32], target: &mut [f32]) {
        let bytes = self.rows.bytes();
        let size = self.width * self.dtype.bitsize() / 8;
        target.fill(0.0);
        for &id in ids {
            let id = id as usize;
            let row = self.mapping.as_ref().map_or(id, |mapping| mapping[id]);
            let factor = self.factors.as_ref().map_or(1.0, |factors| factors[id]);
            add(target, &bytes[row * size..(row + 1) * size], self.dtype, factor);
        }
        if !ids.is_empty() {
            let count = ids.len() as f32;
            target.iter_mut().for_each(|value| *value /= count);
        }
    }
}

fn place<'w>(weights: &'w Weights, name: &str, expected: &str) -> Result<&'w TensorPlace> {
    weights.place(name).ok_or_else(|| Error::Tensor {
        path: weights.path().to_owned(),
        tensor: name.to_owned(),
        found: "nothing of that name".to_owned(),
        expected: expected.to_owned(),
    })
}

fn mapped(reader: &mut TensorReader<'_>, weights: &Weights, place: &TensorPlace) -> Result<MappedTensor> {
    reader.bytes(&weights.location(place)?, place.offset, place.length)
}

/// Adds a row of a type that `open` lets through.
fn add(target: &mut [f32], row: &[u8], dtype: Dtype, factor: f32) {
    let halves = row.as_chunks::<2>().0;
    match dtype {
        Dtype::F16 => {
            target.iter_mut().zip(halves).for_each(|(sum, v)| *sum += f16::from_le_bytes(*v).to_f32() * factor)
        }
        Dtype::BF16 => {
            target.iter_mut().zip(halves).for_each(|(sum, v)| *sum += bf16::from_le_bytes(*v).to_f32() * factor)
        }
        Dtype::I8 => target.iter_mut().zip(row).for_each(|(sum, v)| *sum += f32::from(v.cast_signed()) * factor),
        _ => target.iter_mut().zip(row.as_chunks::<4>().0).for_each(|(sum, v)| *sum += f32::from_le_bytes(*v) * factor),
    }
}

/// What tokenizer.json says of long texts.
#[derive(Debug, Deserialize)]
struct Truncation {
    max_length: usize,
    #[serde(default)]
    direction: Option<String>,
}

#[derive(Deserialize)]
struct TokenizerFile {
    truncation: Option<Truncation>,
}

/// How many tokens of a text tokenizer.json keeps, if it says so, and whether its start is cut.
pub fn truncation(folder: &Path) -> Result<Option<(Limit, bool)>> {
    let path = folder.join("tokenizer.json");
    let bytes = read_file(&path, "texts are tokenized with it")?;
    let file: TokenizerFile = serde_json::from_slice(&bytes)
        .map_err(|error| Error::malformed_by(&path, format!("not a valid tokenizer.json: {error}"), error))?;
    let Some(truncation) = file.truncation else { return Ok(None) };
    let left = match truncation.direction.as_deref() {
        None | Some("Right") => false,
        Some("Left") => true,
        Some(other) => {
            return Err(Error::unsupported(&path, "truncation.direction", format!("{other:?}"), "\"Right\", \"Left\""));
        }
    };
    Ok(Some((Limit { value: truncation.max_length, path, field: "truncation.max_length" }, left)))
}
