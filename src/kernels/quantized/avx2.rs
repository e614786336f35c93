//! [`Integers`] in AVX2: 16-bit products of pairs, which cannot overflow. 8-bit products of |w| and x with w's sign are no
//! faster (AMD Zen 3), and with weights widened once for many rows little is gained, while few rows lose by it.

use std::arch::x86_64::*;

use super::block::BLOCK;
use super::integers::Integers;

/// AVX2.
pub(super) struct Avx2;

/// What an implementation of [`Integers`] has in two vectors of eight outputs, whatever multiplies.
macro_rules! in_two_of_eight {
    () => {
        type Sums = [__m256i; 2];
        type Floats = [__m256; 2];
        const OUTPUTS: usize = 16;

        #[inline(always)]
        unsafe fn rotate(values: &mut [f32; BLOCK]) {
            // SAFETY: the trait's.
            unsafe { crate::kernels::quantized::avx2::rotate(values) }
        }

        #[inline(always)]
        unsafe fn all(value: i32) -> [__m256i; 2] {
            // SAFETY: the trait's.
            unsafe { [_mm256_set1_epi32(value); 2] }
        }

        #[inline(always)]
        unsafe fn zeros() -> [__m256; 2] {
            // SAFETY: the trait's.
            unsafe { [_mm256_setzero_ps(); 2] }
        }

        #[inline(always)]
        unsafe fn sizes(from: *const u8) -> [__m256; 2] {
            // SAFETY: the trait's: 32 bytes. A bfloat16 is the upper half of a float32.
            unsafe {
                let left = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                let right = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(16).cast()));
                [
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(left)),
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(right)),
                ]
            }
        }

        #[inline(always)]
        unsafe fn add_scaled(total: [__m256; 2], sums: [__m256i; 2], sizes: [__m256; 2], size: f32) -> [__m256; 2] {
            // SAFETY: the trait's.
            unsafe {
                let size = _mm256_set1_ps(size);
                let left = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[0]), _mm256_mul_ps(sizes[0], size));
                let right = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[1]), _mm256_mul_ps(sizes[1], size));
                [_mm256_add_ps(total[0], left), _mm256_add_ps(total[1], right)]
            }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, values: [__m256; 2]) {
            // SAFETY: the trait's: room for 16 values.
            unsafe {
                _mm256_storeu_ps(to, values[0]);
                _mm256_storeu_ps(to.add(8), values[1]);
            }
        }
    };
}
pub(super) use in_two_of_eight;

impl Integers for Avx2 {
    type Activation = i16;
    type Weights = [__m256i; 2];
    const GROUP: usize = 2;
    const OFFSET: u8 = 0;

    in_two_of_eight!();

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> [__m256i; 2] {
        // SAFETY: the trait's: 32 bytes.
        unsafe {
            let (left, right) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast()));
            [_mm256_cvtepi8_epi16(left), _mm256_cvtepi8_epi16(right)]
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(x: *const i16, weights: [__m256i; 2], sums: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the trait's: two activations.
        unsafe {
            let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
            let products = [_mm256_madd_epi16(x, weights[0]), _mm256_madd_epi16(x, weights[1])];
            [_mm256_add_epi32(sums[0], products[0]), _mm256_add_epi32(sums[1], products[1])]
        }
    }
}

/// As [`Integers::rotate`]: compilers leave it half in scalars.
#[inline(always)]
pub(super) unsafe fn rotate(values: &mut [f32; BLOCK]) {
    // SAFETY: the caller's: AVX2; eight vectors are the block.
    unsafe {
        let mut rows = [_mm256_setzero_ps(); 8];
        for at in 0..8 {
            rows[at] = _mm256_loadu_ps(values.as_ptr().add(8 * at));
        }
        for distance in [4, 2, 1] {
            for at in 0..8 {
                if at & distance == 0 {
                    let (left, right) = (rows[at], rows[at + distance]);
                    rows[at] = _mm256_add_ps(left, right);
                    rows[at + distance] = _mm256_sub_ps(left, right);
                }
            }
        }
        let signs = [
            _mm256_setr_ps(0.0, 0.0, 0.0, 0.0, -0.0, -0.0, -0.0, -0.0),
            _mm256_setr_ps(0.0, 0.0, -0.0, -0.0, 0.0, 0.0, -0.0, -0.0),
            _mm256_setr_ps(0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0, -0.0),
        ];
        for at in 0..8 {
            let mut row = rows[at];
            row = _mm256_add_ps(_mm256_permute2f128_ps::<1>(row, row), _mm256_xor_ps(row, signs[0]));
            row = _mm256_add_ps(_mm256_permute_ps::<0b01_00_11_10>(row), _mm256_xor_ps(row, signs[1]));
            row = _mm256_add_ps(_mm256_permute_ps::<0b10_11_00_01>(row), _mm256_xor_ps(row, signs[2]));
            _mm256_storeu_ps(values.as_mut_ptr().add(8 * at), row);
        }
    }
}
