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
// Python is the only caller.
#![cfg_attr(not(feature = "python"), allow(dead_code, unused_imports))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod architectures;
mod batches;
mod checkpoint;
mod embedder;
mod ending;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod guard;
mod inspect;
mod interrupt;
// Registration with ONNX Runtime is not there yet.
#[allow(dead_code)]
mod kernels;
mod lowering;
mod memory;
mod options;
#[cfg(feature = "python")]
mod python;
mod registry;
mod sessions;
mod spec;
mod texts;
mod transformer;
