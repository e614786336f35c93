//! [`Lanes`] in AVX-512F: sixteen at a time.

use std::arch::x86_64::*;

use super::lanes::{Lanes, Work};

/// AVX-512F.
pub(super) struct Avx512;

impl Lanes for Avx512 {
    type Vector = __m512;
    const WIDTH: usize = 16;
    const ROWS: usize = 12;

    #[inline(always)]
    unsafe fn all(value: f32) -> __m512 {
        // SAFETY: the trait's.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: the trait's: 16 values.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, values: __m512) {
        // SAFETY: the trait's: room for 16 values.
        unsafe { _mm512_storeu_ps(to, values) }
    }

    #[inline(always)]
    unsafe fn add(left: __m512, right: __m512) -> __m512 {
        // SAFETY: the trait's.
        unsafe { _mm512_add_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn multiply(left: __m512, right: __m512) -> __m512 {
        // SAFETY: the trait's.
        unsafe { _mm512_mul_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn divide(left: __m512, right: __m512) -> __m512 {
        // SAFETY: the trait's.
        unsafe { _mm512_div_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn larger(left: __m512, right: __m512) -> __m512 {
        // SAFETY: the trait's.
        unsafe { _mm512_max_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn power_of_two(exponents: __m512) -> __m512 {
        // SAFETY: the trait's.
        unsafe {
            let exponents = _mm512_slli_epi32::<23>(_mm512_castps_si512(exponents));
            _mm512_castsi512_ps(_mm512_add_epi32(exponents, _mm512_set1_epi32(0x3f80_0000)))
        }
    }

    #[inline(always)]
    unsafe fn zero_below(x: __m512, least: f32, value: __m512) -> __m512 {
        // SAFETY: the trait's.
        unsafe { _mm512_maskz_mov_ps(!_mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_set1_ps(least)), value) }
    }

    #[inline(always)]
    unsafe fn multiply_add(left: __m512, right: __m512, sum: __m512) -> __m512 {
        // SAFETY: the trait's.
        unsafe { _mm512_fmadd_ps(left, right, sum) }
    }

    #[inline(always)]
    unsafe fn words(from: *const u8, stride: usize) -> [__m512; 4] {
        // SAFETY: the trait's: 16 bytes of each of 16 rows. Rows r, r + 4, r + 8 and r + 12 share a vector, so that
        // transposing within the quarters of vectors is enough.
        unsafe {
            let a = quarters(from, 4 * stride);
            let b = quarters(from.add(stride), 4 * stride);
            let c = quarters(from.add(2 * stride), 4 * stride);
            let d = quarters(from.add(3 * stride), 4 * stride);
            let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            let (ab_high, cd_high) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            [
                _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
                _mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ]
        }
    }

    #[inline(always)]
    unsafe fn bfloat16(words: __m512) -> [__m512; 2] {
        // SAFETY: the trait's. A bfloat16 is the upper half of a float32.
        unsafe {
            let words = _mm512_castps_si512(words);
            let upper = _mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000_u32 as i32));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)), _mm512_castsi512_ps(upper)]
        }
    }

    #[inline(always)]
    unsafe fn float16(words: __m512) -> [__m512; 2] {
        // SAFETY: the trait's. The conversion to 16 bits keeps the lower half.
        unsafe {
            let words = _mm512_castps_si512(words);
            let upper = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(words));
            [_mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)), _mm512_cvtph_ps(upper)]
        }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: a prefetch does not fault. Into L2, as AVX2's.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    #[inline(never)]
    unsafe fn apart<W: Work>(work: W) {
        #[target_feature(enable = "avx512f,avx2,fma,f16c")]
        unsafe fn of<W: Work>(work: W) {
            // SAFETY: the caller's.
            unsafe { work.run::<Avx512>() }
        }
        // SAFETY: the trait's.
        unsafe { of(work) }
    }
}

/// 16 bytes, and three times 16 more at distances.
#[inline(always)]
unsafe fn quarters(from: *const u8, distance: usize) -> __m512 {
    // SAFETY: the caller's.
    unsafe {
        let first = _mm512_castps128_ps512(_mm_loadu_ps(from.cast()));
        let second = _mm512_insertf32x4::<1>(first, _mm_loadu_ps(from.add(distance).cast()));
        let third = _mm512_insertf32x4::<2>(second, _mm_loadu_ps(from.add(2 * distance).cast()));
        _mm512_insertf32x4::<3>(third, _mm_loadu_ps(from.add(3 * distance).cast()))
    }
}
