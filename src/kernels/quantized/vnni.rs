//! [`Integers`] in VNNI, with AVX-512 and without: products of four 8-bit pairs, which do not saturate. The instruction takes
//! its first factor unsigned, and activations as they are from memory, so weights are stored with 128 added; what that adds to
//! a sum, 128 times the block's activations, it starts without.

use std::arch::x86_64::*;

use super::avx2::{in_two_of_eight, rotate};
use super::block::BLOCK;
#[cfg(target_os = "linux")]
use super::integers::InTiles;
use super::integers::Integers;
#[cfg(target_os = "linux")]
use crate::kernels::tiles::instructions::Amx;

/// AVX-512 VNNI. Two vectors of outputs, so that with six rows twelve sums run beside each other.
pub(super) struct Vnni512;

/// AVX-VNNI.
pub(super) struct Vnni256;

impl Integers for Vnni512 {
    type Activation = i8;
    type Weights = [__m512i; 2];
    type Sums = [__m512i; 2];
    type Floats = [__m512; 2];
    const OUTPUTS: usize = 32;
    const GROUP: usize = 4;
    const OFFSET: u8 = 128;

    #[inline(always)]
    unsafe fn rotate(values: &mut [f32; BLOCK]) {
        // SAFETY: the trait's.
        unsafe { rotate(values) }
    }

    #[inline(always)]
    unsafe fn all(value: i32) -> [__m512i; 2] {
        // SAFETY: the trait's.
        unsafe { [_mm512_set1_epi32(value); 2] }
    }

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> [__m512i; 2] {
        // SAFETY: the trait's: 128 bytes.
        unsafe { [_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(64).cast())] }
    }

    #[inline(always)]
    unsafe fn multiply_add(x: *const i8, weights: [__m512i; 2], sums: [__m512i; 2]) -> [__m512i; 2] {
        // SAFETY: the trait's: four activations.
        unsafe {
            let x = _mm512_set1_epi32(x.cast::<i32>().read_unaligned());
            [_mm512_dpbusd_epi32(sums[0], weights[0], x), _mm512_dpbusd_epi32(sums[1], weights[1], x)]
        }
    }

    #[inline(always)]
    unsafe fn zeros() -> [__m512; 2] {
        // SAFETY: the trait's.
        unsafe { [_mm512_setzero_ps(); 2] }
    }

    #[inline(always)]
    unsafe fn sizes(from: *const u8) -> [__m512; 2] {
        // SAFETY: the trait's: 64 bytes.
        unsafe {
            let left = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            let right = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.add(32).cast()));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(left)), _mm512_castsi512_ps(_mm512_slli_epi32::<16>(right))]
        }
    }

    #[inline(always)]
    unsafe fn add_scaled(total: [__m512; 2], sums: [__m512i; 2], sizes: [__m512; 2], size: f32) -> [__m512; 2] {
        // SAFETY: the trait's.
        unsafe {
            let size = _mm512_set1_ps(size);
            let left = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[0]), _mm512_mul_ps(sizes[0], size));
            let right = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[1]), _mm512_mul_ps(sizes[1], size));
            [_mm512_add_ps(total[0], left), _mm512_add_ps(total[1], right)]
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, values: [__m512; 2]) {
        // SAFETY: the trait's: room for 32 values.
        unsafe {
            _mm512_storeu_ps(to, values[0]);
            _mm512_storeu_ps(to.add(16), values[1]);
        }
    }
}

#[cfg(target_os = "linux")]
impl InTiles for Vnni512 {
    type Tiles = Amx;

    #[inline(always)]
    unsafe fn sums(from: *const i32, more: i32) -> [__m512i; 2] {
        // SAFETY: the trait's: 32 integers.
        unsafe {
            let (left, right) = (_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(16).cast()));
            let more = _mm512_set1_epi32(more);
            [_mm512_add_epi32(left, more), _mm512_add_epi32(right, more)]
        }
    }
}

impl Integers for Vnni256 {
    type Activation = i8;
    type Weights = [__m256i; 2];
    const GROUP: usize = 4;
    const OFFSET: u8 = 128;

    in_two_of_eight!();

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> [__m256i; 2] {
        // SAFETY: the trait's: 64 bytes.
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())] }
    }

    #[inline(always)]
    unsafe fn multiply_add(x: *const i8, weights: [__m256i; 2], sums: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the trait's: four activations.
        unsafe {
            let x = _mm256_set1_epi32(x.cast::<i32>().read_unaligned());
            [_mm256_dpbusd_avx_epi32(sums[0], weights[0], x), _mm256_dpbusd_avx_epi32(sums[1], weights[1], x)]
        }
    }
}
