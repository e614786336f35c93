//! Operators of our own: arithmetic on memory, without files, graphs or ONNX Runtime.
//!
//! Parameters come as slices and shapes, which constructors check; a run is a number of items that any threads may share.
// The generic code is unrolled over constant ranges; iterators and their closures are not sure to be inlined into
// `#[target_feature]` functions.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod lanes;
pub(crate) mod linear;
mod narrow;
mod panel;
mod portable;
pub(crate) mod processor;
pub(crate) mod rows;
#[cfg(test)]
mod tests;
pub(crate) mod weights;
