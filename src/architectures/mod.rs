//! What a `config.json` says of its architecture.

pub mod bert;
pub mod qwen3;
