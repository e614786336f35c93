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

pub mod architectures;
pub mod batches;
pub mod checkpoint;
pub mod embedder;
pub mod ending;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod guard;
pub mod inspect;
pub mod interrupt;
pub mod lowering;
pub mod memory;
pub mod options;
#[cfg(feature = "python")]
mod python;
pub mod registry;
pub mod sessions;
pub mod spec;
pub mod texts;
pub mod transformer;
