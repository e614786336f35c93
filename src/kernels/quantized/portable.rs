//! [`Integers`] in plain Rust: every processor, and what the others are tested against.

use super::block::{BLOCK, rotate};
use super::integers::Integers;

/// Plain Rust.
pub(super) struct Portable;

/// Outputs of a panel.
const OUTPUTS: usize = 16;

impl Integers for Portable {
    type Activation = i16;
    type Weights = [[i8; 2]; OUTPUTS];
    type Sums = [i32; OUTPUTS];
    type Floats = [f32; OUTPUTS];
    const OUTPUTS: usize = OUTPUTS;
    const GROUP: usize = 2;
    const OFFSET: u8 = 0;

    #[inline(always)]
    unsafe fn rotate(values: &mut [f32; BLOCK]) {
        rotate(values);
    }

    #[inline(always)]
    unsafe fn all(value: i32) -> [i32; OUTPUTS] {
        [value; OUTPUTS]
    }

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> [[i8; 2]; OUTPUTS] {
        // SAFETY: the trait's: 32 bytes, of which any are integers.
        unsafe { from.cast::<[[i8; 2]; OUTPUTS]>().read() }
    }

    #[inline(always)]
    unsafe fn multiply_add(x: *const i16, weights: [[i8; 2]; OUTPUTS], mut sums: [i32; OUTPUTS]) -> [i32; OUTPUTS] {
        // SAFETY: the trait's: two activations.
        let [first, second] = unsafe { x.cast::<[i16; 2]>().read_unaligned() }.map(i32::from);
        for output in 0..OUTPUTS {
            let [left, right] = weights[output].map(i32::from);
            sums[output] += first * left + second * right;
        }
        sums
    }

    #[inline(always)]
    unsafe fn zeros() -> [f32; OUTPUTS] {
        [0.0; OUTPUTS]
    }

    #[inline(always)]
    unsafe fn sizes(from: *const u8) -> [f32; OUTPUTS] {
        // SAFETY: the trait's.
        unsafe { sizes(from) }
    }

    #[inline(always)]
    unsafe fn add_scaled(
        total: [f32; OUTPUTS],
        sums: [i32; OUTPUTS],
        sizes: [f32; OUTPUTS],
        size: f32,
    ) -> [f32; OUTPUTS] {
        add_scaled(total, sums, sizes, size)
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, values: [f32; OUTPUTS]) {
        // SAFETY: the trait's: room for as many values.
        unsafe { to.cast::<[f32; OUTPUTS]>().write_unaligned(values) }
    }
}

/// Some bfloat16.
#[inline(always)]
pub(super) unsafe fn sizes<const N: usize>(from: *const u8) -> [f32; N] {
    // SAFETY: the caller's: twice as many bytes.
    let stored = unsafe { from.cast::<[[u8; 2]; N]>().read() };
    stored.map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
}

/// As [`Integers::add_scaled`].
#[inline(always)]
pub(super) fn add_scaled<const N: usize>(mut total: [f32; N], sums: [i32; N], sizes: [f32; N], size: f32) -> [f32; N] {
    for output in 0..N {
        total[output] += sums[output] as f32 * (sizes[output] * size);
    }
    total
}
