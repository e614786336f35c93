//! Operators of our own: arithmetic on memory, without files, graphs or ONNX Runtime.
//!
//! Parameters come as slices and shapes, which constructors check; a run is a number of items that any threads may share.
// The generic code is unrolled over constant ranges; iterators and their closures are not sure to be inlined into
// `#[target_feature]` functions.
#![allow(clippy::needless_range_loop, clippy::too_many_arguments)]

/// Calls a macro with the number of rows that are left, or that a block has at most.
macro_rules! by_rows {
    ($left:expr, $block:ident) => {
        match $left {
            1 => $block!(1),
            2 => $block!(2),
            3 => $block!(3),
            4 => $block!(4),
            5 => $block!(5),
            _ => $block!(6),
        }
    };
}

pub(crate) mod activation;
pub(crate) mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod dispatch;
mod exponential;
mod fused;
pub(crate) mod heads;
mod lanes;
pub(crate) mod linear;
mod narrow;
mod online_softmax;
mod operands;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod panel;
mod portable;
pub(crate) mod processor;
pub(crate) mod product;
pub(crate) mod quantized;
pub(crate) mod rows;
mod terms;
#[cfg(test)]
mod tests;
mod tiles;
pub(crate) mod weights;
mod wide;

/// Runs a function once for each number below a count, on any threads.
pub(crate) type InParallel<'a, E> = dyn Fn(usize, &(dyn Fn(usize) + Sync)) -> Result<(), E> + 'a;
