//! Batches to pooled rows: ONNX Runtime's sessions, on what they run, and how that is proven.

pub mod arguments;
pub mod bucketed;
pub mod buckets;
pub mod declared;
pub mod decoder;
pub mod embeddings;
mod encoder;
mod frame;
mod library;
pub mod lookup;
mod loops;
pub mod onnx_file;
pub mod onnx_inputs;
pub mod open;
mod operators;
pub mod proof;
pub mod provider;
pub mod runtime;
pub mod session;
pub mod shapes;
pub mod shared;
pub mod static_table;
