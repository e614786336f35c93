//! [`Integers`] in plain Rust: every processor, and what the others are tested against.

use super::block::BLOCK;
use super::integers::Integers;

/// Plain Rust.
pub(super) struct Portable;

/// What an implementation of [`Integers`] has in arrays of so many outputs, whatever multiplies.
macro_rules! in_arrays {
    ($outputs:literal) => {
        type Sums = [i32; $outputs];
        type Floats = [f32; $outputs];
        const OUTPUTS: usize = $outputs;

        #[inline(always)]
        unsafe fn rotate(values: &mut [f32; BLOCK]) {
            crate::kernels::quantized::block::rotate(values);
        }

        #[inline(always)]
        unsafe fn all(value: i32) -> Self::Sums {
            [value; $outputs]
        }

        #[inline(always)]
        unsafe fn zeros() -> Self::Floats {
            [0.0; $outputs]
        }

        #[inline(always)]
        unsafe fn sizes(from: *const u8) -> Self::Floats {
            // SAFETY: the trait's: twice as many bytes. A bfloat16 is the upper half of a float32.
            let stored = unsafe { from.cast::<[[u8; 2]; $outputs]>().read() };
            stored.map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
        }

        #[inline(always)]
        unsafe fn add_scaled(
            mut total: Self::Floats,
            sums: Self::Sums,
            sizes: Self::Floats,
            size: f32,
        ) -> Self::Floats {
            for output in 0..$outputs {
                total[output] += sums[output] as f32 * (sizes[output] * size);
            }
            total
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, values: Self::Floats) {
            // SAFETY: the trait's: room for as many values.
            unsafe { to.cast::<Self::Floats>().write_unaligned(values) }
        }
    };
}
#[cfg(test)]
pub(super) use in_arrays;

impl Integers for Portable {
    type Activation = i16;
    type Weights = [[i8; 2]; 16];
    const GROUP: usize = 2;
    const OFFSET: u8 = 0;

    in_arrays!(16);

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> Self::Weights {
        // SAFETY: the trait's: 32 bytes, of which any are integers.
        unsafe { from.cast::<Self::Weights>().read() }
    }

    #[inline(always)]
    unsafe fn multiply_add(x: *const i16, weights: Self::Weights, mut sums: Self::Sums) -> Self::Sums {
        // SAFETY: the trait's: two activations.
        let [first, second] = unsafe { x.cast::<[i16; 2]>().read_unaligned() }.map(i32::from);
        for output in 0..Self::OUTPUTS {
            let [left, right] = weights[output].map(i32::from);
            sums[output] += first * left + second * right;
        }
        sums
    }
}
