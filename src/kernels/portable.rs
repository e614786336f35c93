//! [`Lanes`] in plain Rust, eight at a time: every processor, and what the others are tested against.

use half::f16;

use super::fused;
use super::lanes::{Lanes, Work};

/// Plain Rust.
pub(super) struct Portable;

impl Lanes for Portable {
    type Vector = [f32; 8];
    const WIDTH: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn all(value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        // SAFETY: the trait's: 8 values.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, values: [f32; 8]) {
        // SAFETY: the trait's: room for 8 values.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(values) }
    }

    #[inline(always)]
    unsafe fn add(mut left: [f32; 8], right: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            left[lane] += right[lane];
        }
        left
    }

    #[inline(always)]
    unsafe fn multiply(mut left: [f32; 8], right: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            left[lane] *= right[lane];
        }
        left
    }

    #[inline(always)]
    unsafe fn divide(mut left: [f32; 8], right: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            left[lane] /= right[lane];
        }
        left
    }

    #[inline(always)]
    unsafe fn larger(mut left: [f32; 8], right: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            left[lane] = if left[lane] > right[lane] { left[lane] } else { right[lane] };
        }
        left
    }

    #[inline(always)]
    unsafe fn power_of_two(exponents: [f32; 8]) -> [f32; 8] {
        exponents.map(|exponent| f32::from_bits((exponent.to_bits() << 23).wrapping_add(0x3f80_0000)))
    }

    #[inline(always)]
    unsafe fn zero_below(x: [f32; 8], least: f32, mut value: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            value[lane] = if x[lane] < least { 0.0 } else { value[lane] };
        }
        value
    }

    #[inline(always)]
    unsafe fn multiply_add(left: [f32; 8], right: [f32; 8], sum: [f32; 8]) -> [f32; 8] {
        fused::multiply_add(left, right, sum)
    }

    #[inline(always)]
    unsafe fn words(from: *const u8, stride: usize) -> [[f32; 8]; 4] {
        let mut words = [[0.0; 8]; 4];
        for lane in 0..8 {
            // SAFETY: the trait's: 16 bytes of each of 8 rows.
            let row = unsafe { from.add(lane * stride).cast::<[[u8; 4]; 4]>().read() };
            for (word, bytes) in words.iter_mut().zip(row) {
                word[lane] = f32::from_le_bytes(bytes);
            }
        }
        words
    }

    #[inline(always)]
    unsafe fn bfloat16(words: [f32; 8]) -> [[f32; 8]; 2] {
        let bits = words.map(f32::to_bits);
        [bits.map(|bits| f32::from_bits(bits << 16)), bits.map(|bits| f32::from_bits(bits & 0xffff_0000))]
    }

    #[inline(always)]
    unsafe fn float16(words: [f32; 8]) -> [[f32; 8]; 2] {
        let bits = words.map(f32::to_bits);
        [
            bits.map(|bits| f16::from_bits(bits as u16).to_f32()),
            bits.map(|bits| f16::from_bits((bits >> 16) as u16).to_f32()),
        ]
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}

    #[inline(never)]
    unsafe fn apart<W: Work>(work: W) {
        unsafe fn of<W: Work>(work: W) {
            // SAFETY: the caller's.
            unsafe { work.run::<Portable>() }
        }
        // SAFETY: the trait's.
        unsafe { of(work) }
    }
}
