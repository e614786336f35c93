//! Descriptions in, ONNX models out: one folder for each kind of provider. Neither knows a family, nor runs anything.

pub mod activations;
pub mod coreml;
pub mod cpu;
pub mod export;
pub mod inputs;
mod made;
pub mod onnx;
pub mod quantize;
pub mod round;
