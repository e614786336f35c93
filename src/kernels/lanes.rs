//! The few vector operations that the kernels are written in, so that tiling and tails are one text for all processors.
//!
//! Implementations: [`portable`](super::portable), [`avx2`](super::avx2), [`avx512`](super::avx512). Their functions and
//! the generic ones over them are `#[inline(always)]`: only so do they become part of a `#[target_feature]` function,
//! [`Lanes::apart`]'s, and compile to the processor's instructions. No closures in between, for the same reason.

/// Vectors of `WIDTH` float32.
///
/// # Safety
/// Every function needs the processor's instructions, which a [`Path`](super::processor::Path) proves, and pointers to
/// as many values as it reads or writes; none needs an alignment.
pub(super) trait Lanes {
    /// `WIDTH` values.
    type Vector: Copy;
    /// Values of a vector.
    const WIDTH: usize;
    /// Rows whose sums, a vector each, fit the registers beside weights that are being turned.
    const ROWS: usize;

    /// All lanes the same.
    unsafe fn all(value: f32) -> Self::Vector;
    /// Reads `WIDTH` values.
    unsafe fn load(from: *const f32) -> Self::Vector;
    /// Writes `WIDTH` values.
    unsafe fn store(to: *mut f32, values: Self::Vector);
    /// The sum, lane by lane.
    unsafe fn add(left: Self::Vector, right: Self::Vector) -> Self::Vector;
    /// The product, lane by lane.
    unsafe fn multiply(left: Self::Vector, right: Self::Vector) -> Self::Vector;
    /// The quotient, lane by lane.
    unsafe fn divide(left: Self::Vector, right: Self::Vector) -> Self::Vector;
    /// The larger, lane by lane; of NaN and another, either.
    unsafe fn larger(left: Self::Vector, right: Self::Vector) -> Self::Vector;
    /// 2^n, where n, from -126 to 127, is in the lowest 9 bits of each lane and the next 14 are 0.
    unsafe fn power_of_two(exponents: Self::Vector) -> Self::Vector;
    /// `value`, or 0 in the lanes where `x` is less than `least`.
    unsafe fn zero_below(x: Self::Vector, least: f32, value: Self::Vector) -> Self::Vector;
    /// `left · right + sum`, rounded once.
    unsafe fn multiply_add(left: Self::Vector, right: Self::Vector, sum: Self::Vector) -> Self::Vector;
    /// Four words of 32 bits from each of `WIDTH` rows that lie `stride` bytes apart: word w of all rows in vector w.
    unsafe fn words(from: *const u8, stride: usize) -> [Self::Vector; 4];
    /// The bfloat16 in the lower, and in the upper, half of each word.
    unsafe fn bfloat16(words: Self::Vector) -> [Self::Vector; 2];
    /// The float16 in the lower, and in the upper, half of each word.
    unsafe fn float16(words: Self::Vector) -> [Self::Vector; 2];
    /// Asks for the cache line of an address that need not be mapped.
    unsafe fn prefetch(from: *const u8);

    /// Does work in a function of its own, compiled for the instructions. What has many variants does each apart: the
    /// compiler takes minutes for a function of all of them, and seconds for the same as functions.
    /// It is what is not inlined, since rustc 1.95 drops `#[inline(never)]` from functions with `#[target_feature]`.
    unsafe fn apart<W: Work>(work: W);
}

/// What is done in vectors of any width.
pub(super) trait Work {
    /// Does it.
    ///
    /// # Safety
    /// [`Lanes`]', and what the work asks for.
    unsafe fn run<L: Lanes>(self);
}
