//! ironvec: text embeddings from a checkpoint folder, computed by ONNX Runtime, without an export step.
//!
//! A text goes one way: [`texts`] (to rows of ids), [`batches`] (rows to a plan), [`sessions`] (a batch to pooled rows),
//! [`batches`] again (head modules, cut, normalisation), the caller's memory. [`embedder`] tells that story from top to
//! bottom. Beside that road, walked once per model: [`checkpoint`] (the files of a folder), [`architectures`] (config.json
//! to the one description in [`transformer`]), [`lowering`] (a description to ONNX bytes). Apart from both, [`inspect`]
//! says what CoreML would take of any ONNX file.
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
