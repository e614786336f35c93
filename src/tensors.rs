//! Places of tensors in, their numbers out: the checkpoint's files, mapped, for what the host computes with weights
//! itself (folding, embedding lookup). Refused: a file that has changed since its header was read.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::Dtype;

use crate::error::{Error, Result};
use crate::weights::{TensorPlace, Weights};

/// Maps each file of a checkpoint once.
pub struct TensorReader<'w> {
    weights: &'w Weights,
    /// By the number of the file.
    maps: HashMap<usize, Arc<Mmap>>,
}

/// A tensor in its file, and what keeps the file mapped.
pub struct MappedTensor {
    map: Arc<Mmap>,
    bytes: Range<usize>,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl<'w> TensorReader<'w> {
    /// A reader of these weights.
    pub fn new(weights: &'w Weights) -> Self {
        TensorReader { weights, maps: HashMap::new() }
    }

    /// The weights that it reads.
    pub fn weights(&self) -> &'w Weights {
        self.weights
    }

    /// The tensor, which must have this shape and a float type.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<MappedTensor> {
        let place = self.weights.tensor(name, shape)?;
        let map = self.map(place)?;
        let start = usize::try_from(place.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(place.length).unwrap_or(usize::MAX));
        if map.len() < end {
            let problem = format!("tensor `{name}` ends past the end of the file, which has become shorter");
            return Err(Error::malformed(self.weights.path(), problem));
        }
        Ok(MappedTensor { map, bytes: start..end, dtype: place.dtype, shape: shape.to_vec() })
    }

    fn map(&mut self, place: &TensorPlace) -> Result<Arc<Mmap>> {
        if let Some(map) = self.maps.get(&place.shard) {
            return Ok(map.clone());
        }
        let map = Arc::new(self.weights.file(place).map()?);
        self.maps.insert(place.shard, map.clone());
        Ok(map)
    }
}

impl MappedTensor {
    /// The bytes as they lie in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.bytes.clone()]
    }

    /// Numbers of a row along the first axis.
    pub fn row_size(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Rows along the first axis, widened to float32; rows outside the tensor are left out.
    pub fn rows(&self, rows: Range<usize>) -> Vec<f32> {
        let row_bytes = self.row_size() * self.dtype.bitsize() / 8;
        let bytes = self.bytes();
        let at = |row: usize| row.saturating_mul(row_bytes).min(bytes.len());
        let bytes = &bytes[at(rows.start)..at(rows.end)];
        let halves = || bytes.as_chunks::<2>().0.iter();
        match self.dtype {
            Dtype::F16 => halves().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect(),
            Dtype::BF16 => halves().map(|pair| bf16::from_le_bytes(*pair).to_f32()).collect(),
            _ => bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::testing::weights_of;
    use std::fs::File;

    #[test]
    fn rows_are_cut_at_the_tensor() {
        let (_folder, weights) = weights_of(&[("a", &[3, 2]), ("b", &[4])]);
        let mut reader = TensorReader::new(&weights);
        let tensor = reader.tensor("a", &[3, 2]).unwrap();
        assert_eq!((tensor.bytes().len(), tensor.row_size()), (24, 2));
        assert_eq!(tensor.rows(1..9), [0.0; 4]);
        assert!(tensor.rows(7..9).is_empty());
        assert!(reader.tensor("a", &[2, 3]).is_err());
    }

    #[test]
    fn a_file_cut_after_its_header_was_read_is_refused() {
        let (folder, weights) = weights_of(&[("a", &[4096])]);
        let file = File::options().write(true).open(folder.path().join("model.safetensors")).unwrap();
        file.set_len(200).unwrap();
        let problem = TensorReader::new(&weights).tensor("a", &[4096]).err().unwrap().to_string();
        assert!(problem.contains("model.safetensors: has 200 bytes, and had "), "{problem}");
    }
}
