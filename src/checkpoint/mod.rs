//! The files of a checkpoint: JSON, sentence-transformers' modules, tensors; what they are known by and where files made of them are kept.

pub mod cache;
pub mod external_data;
pub mod head;
pub mod held;
pub mod identity;
pub mod json;
pub mod modules;
pub mod onnx_file;
pub mod pooling;
pub mod safetensors_file;
pub mod static_table;
pub mod tensor_place;
pub mod tensors;
pub mod torch;
pub mod weights;
pub mod whole_file;
pub mod windows_path;
