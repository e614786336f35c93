//! The few operations that the integer product is written in.
//!
//! As [`Lanes`](crate::kernels::lanes::Lanes), implementations and generic code are `#[inline(always)]`, so that they become
//! part of the `#[target_feature]` function that is called.

use super::block::{BLOCK, Step};
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
use crate::kernels::tiles::Tiles;

/// Sums of products of 8-bit integers for `OUTPUTS` outputs at once.
///
/// # Safety
/// Every function needs the processor's instructions, which the multiplier proves, and pointers to as many values as it
/// reads or writes; none needs an alignment.
pub(super) trait Integers {
    /// An activation as it is stored.
    type Activation: Step;
    /// `GROUP` weights of each output.
    type Weights: Copy;
    /// An integer for each output.
    type Sums: Copy;
    /// A float for each output.
    type Floats: Copy;
    /// Outputs of a panel.
    const OUTPUTS: usize;
    /// Inputs of an output that lie side by side.
    const GROUP: usize;
    /// What stored weights have too much: instructions that take them unsigned want 128.
    const OFFSET: u8;

    /// As [`block::rotate`](super::block::rotate), which it equals to the bit.
    unsafe fn rotate(values: &mut [f32; BLOCK]);
    /// The same integer for each output.
    unsafe fn all(value: i32) -> Self::Sums;
    /// Reads `OUTPUTS` × `GROUP` bytes.
    unsafe fn weights(from: *const u8) -> Self::Weights;
    /// Adds the products with `GROUP` activations, exactly.
    unsafe fn multiply_add(x: *const Self::Activation, weights: Self::Weights, sums: Self::Sums) -> Self::Sums;
    /// Zeros.
    unsafe fn zeros() -> Self::Floats;
    /// Reads `OUTPUTS` bfloat16.
    unsafe fn sizes(from: *const u8) -> Self::Floats;
    /// `total + sums · (sizes · size)`, each operation rounded.
    unsafe fn add_scaled(total: Self::Floats, sums: Self::Sums, sizes: Self::Floats, size: f32) -> Self::Floats;
    /// Writes `OUTPUTS` values.
    unsafe fn store(to: *mut f32, values: Self::Floats);
}

/// Outputs of a panel at most.
pub(super) const MOST_OUTPUTS: usize = 32;

#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
/// Integers whose activations and weights lie as tiles read them.
///
/// # Safety
/// [`Integers`]'.
pub(super) trait InTiles: Integers<Activation = i8> {
    /// Who multiplies tiles.
    type Tiles: Tiles;

    /// Reads a sum for each output, and adds one integer to all.
    unsafe fn sums(from: *const i32, more: i32) -> Self::Sums;
}
