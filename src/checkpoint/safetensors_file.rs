//! A safetensors file, mapped, in; the places of its tensors out. Every size in the header is checked against the file by
//! the `safetensors` crate.

use std::path::Path;

use safetensors::tensor::{SafeTensorError, SafeTensors};

use super::tensor_place::{Places, TensorPlace};
use crate::error::{Error, Result};

/// Reads the header.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Places> {
    let (header_length, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| {
        Error::malformed_by(path, format!("not a valid safetensors file: {}", explain(&error)), error)
    })?;
    let base = 8 + header_length as u64;
    let place = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (begin, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let length = end.saturating_sub(begin);
        (name, TensorPlace { dtype: info.dtype, shape: info.shape.clone(), offset: base + begin, length, shard: 0 })
    };
    Ok(metadata.tensors().into_iter().map(place).collect())
}

/// The `safetensors` crate's errors in words that say what to do.
fn explain(error: &SafeTensorError) -> String {
    use SafeTensorError as E;
    match error {
        E::HeaderTooSmall => "it is shorter than the 8 bytes that give the header's length".to_owned(),
        E::HeaderTooLarge => "its header claims more than 100 MB".to_owned(),
        E::InvalidHeaderLength => "its header is longer than the file (truncated download?)".to_owned(),
        E::InvalidHeader(_) => "its header is not UTF-8".to_owned(),
        E::InvalidHeaderDeserialization(error) => format!("its header is not JSON of tensors: {error}"),
        E::InvalidOffset(name) => format!("the offsets of tensor `{name}` overlap another's, or leave a gap"),
        E::MetadataIncompleteBuffer => "its tensors do not end where the file ends (truncated download?)".to_owned(),
        E::TensorInvalidInfo => "a tensor's offsets do not match its shape and dtype".to_owned(),
        E::ValidationOverflow => "a tensor's shape is larger than any memory".to_owned(),
        other => format!("{other:?}"),
    }
}
