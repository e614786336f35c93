//! Where the tensors of a file lie: what readers of files hand over.

use safetensors::Dtype;

/// Where a tensor lies.
#[derive(Debug, Clone)]
pub struct TensorPlace {
    /// Its type in the file.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Which of the checkpoint's files.
    pub shard: usize,
}

/// Names and places of a file's tensors; the shard is the caller's to say.
pub type Places = Vec<(String, TensorPlace)>;
