//! Graphs for ONNX Runtime's CPU and CUDA providers, in its fused operators, over any batch and length.

pub mod bert;
mod layers;
pub mod pooling;
mod quantized;
pub mod qwen3;
