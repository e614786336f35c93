//! ironvec: text embeddings from a checkpoint folder, computed by ONNX Runtime, without an export step.
//!
//! A text goes one way: [`tokenize`] (texts to rows of ids), [`batch`] (lengths to a plan), [`session`] (a batch to
//! pooled rows), [`pool`] (truncation, normalisation), the caller's memory. [`embedder`] tells that story from top to
//! bottom. Beside that road, walked once per model: [`model`] (a folder to a `Spec`), [`weights`] (mapped safetensors),
//! [`graph`] (`Spec` and tensor offsets to ONNX bytes), [`runtime`] (libonnxruntime). Apart from both, [`coverage`] says
//! what CoreML would take of any ONNX file: [`shapes`] (what ONNX Runtime infers), [`inspect`] (the provider's rules).
//!
//! In shapes, everywhere: B rows in a batch, L padded length in tokens, H hidden size, D size of one attention head,
//! P pooled vectors per row.
//!
//! Lints hold the line that no user or file data can panic: `unwrap`, `expect` and `panic!` warn, and warnings fail CI.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod batch;
pub mod bucketed;
pub mod buckets;
pub mod cache;
pub mod coverage;
pub mod decoder;
pub mod embedder;
pub mod embeddings;
pub mod ending;
pub mod engine;
pub mod error;
pub mod export;
pub mod graph;
pub mod identity;
pub mod inspect;
pub mod model;
pub mod onnx_file;
pub mod options;
pub mod pieces;
pub mod pool;
pub mod precision;
pub mod prefix;
pub mod prefix_store;
pub mod provider;
#[cfg(feature = "python")]
mod python;
pub mod quantize;
pub mod registry;
pub mod runtime;
pub mod session;
pub mod shapes;
pub mod tensors;
pub mod tokenize;
pub mod weights;
pub mod window;
