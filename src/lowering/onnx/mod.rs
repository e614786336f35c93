//! ONNX models under construction: messages, the builder, constants that point into a checkpoint or are folded.

pub mod builder;
pub mod files;
pub mod folding;
mod initializers;
pub mod model;
pub mod proto;
