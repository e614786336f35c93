//! `Y = X·Wᵀ + bias` in 8-bit integers, to the same bits on every processor.
//!
//! Inputs are cut into blocks of [`BLOCK`](block::BLOCK), the last filled up with zeros. Of each block, a row of activations and
//! an output's weights are [rotated](block::rotate), which leaves their product as it is, and rounded to ±127 steps of a size
//! of their own. The product of two blocks is a sum of integers, exact in any order; as float32 it is multiplied with the two
//! step sizes' product, blocks are added in their order, and the bias last, each step rounded once. Nothing of that depends on
//! the instructions or on the other rows. A row with a value that is not finite, or so large that its sums are not, gives NaN.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod block;
#[cfg(test)]
mod emulated;
mod integers;
pub(crate) mod linear;
pub(crate) mod multiplier;
mod operands;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod vnni;
pub(crate) mod weights;
