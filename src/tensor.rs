//! A tensor's numbers: the place of a tensor in a file in, float32 out, whatever float type the file holds.

use std::fs::File;
use std::path::Path;

use half::{bf16, f16};
use memmap2::{Mmap, MmapOptions};
use safetensors::tensor::Dtype;

use crate::error::{Error, Result};
use crate::weights::TensorPlace;

/// A tensor of a checkpoint, mapped.
pub struct MappedTensor {
    map: Mmap,
    dtype: Dtype,
}

impl MappedTensor {
    /// Maps the tensor's bytes of its file.
    pub fn open(path: &Path, place: &TensorPlace) -> Result<Self> {
        let unreadable = |error: std::io::Error| Error::malformed_by(path, format!("cannot be read: {error}"), error);
        let length = usize::try_from(place.length).map_err(|_| Error::malformed(path, "larger than memory can map"))?;
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: read-only. A file that another process truncates meanwhile could fault; checkpoints are replaced by
        // renaming, and every reader of mapped weights rests on that.
        let map = unsafe { MmapOptions::new().offset(place.offset).len(length).map(&file) }.map_err(unreadable)?;
        Ok(MappedTensor { map, dtype: place.dtype })
    }

    /// Widens the numbers from index `first` on into `target`; those past the end are left as they are.
    pub fn read(&self, first: usize, target: &mut [f32]) {
        match self.dtype {
            Dtype::BF16 => widen(&self.map, first, target, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F16 => widen(&self.map, first, target, |bytes| f16::from_le_bytes(bytes).to_f32()),
            _ => widen(&self.map, first, target, f32::from_le_bytes),
        }
    }
}

fn widen<const SIZE: usize>(bytes: &[u8], first: usize, target: &mut [f32], number: impl Fn([u8; SIZE]) -> f32) {
    let (numbers, _) = bytes.as_chunks::<SIZE>();
    for (slot, bytes) in target.iter_mut().zip(numbers.get(first..).unwrap_or_default()) {
        *slot = number(*bytes);
    }
}
