//! [`Lanes`] in AVX2, FMA and F16C: eight at a time.

use std::arch::x86_64::*;

use super::lanes::{Lanes, Work};

/// AVX2 with FMA and F16C.
pub(super) struct Avx2;

impl Lanes for Avx2 {
    type Vector = __m256;
    const WIDTH: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn all(value: f32) -> __m256 {
        // SAFETY: the trait's.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: the trait's: 8 values.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, values: __m256) {
        // SAFETY: the trait's: room for 8 values.
        unsafe { _mm256_storeu_ps(to, values) }
    }

    #[inline(always)]
    unsafe fn add(left: __m256, right: __m256) -> __m256 {
        // SAFETY: the trait's.
        unsafe { _mm256_add_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn multiply(left: __m256, right: __m256) -> __m256 {
        // SAFETY: the trait's.
        unsafe { _mm256_mul_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn divide(left: __m256, right: __m256) -> __m256 {
        // SAFETY: the trait's.
        unsafe { _mm256_div_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn larger(left: __m256, right: __m256) -> __m256 {
        // SAFETY: the trait's.
        unsafe { _mm256_max_ps(left, right) }
    }

    #[inline(always)]
    unsafe fn power_of_two(exponents: __m256) -> __m256 {
        // SAFETY: the trait's.
        unsafe {
            let exponents = _mm256_slli_epi32::<23>(_mm256_castps_si256(exponents));
            _mm256_castsi256_ps(_mm256_add_epi32(exponents, _mm256_set1_epi32(0x3f80_0000)))
        }
    }

    #[inline(always)]
    unsafe fn zero_below(x: __m256, least: f32, value: __m256) -> __m256 {
        // SAFETY: the trait's.
        unsafe { _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(least)), value) }
    }

    #[inline(always)]
    unsafe fn multiply_add(left: __m256, right: __m256, sum: __m256) -> __m256 {
        // SAFETY: the trait's.
        unsafe { _mm256_fmadd_ps(left, right, sum) }
    }

    #[inline(always)]
    unsafe fn words(from: *const u8, stride: usize) -> [__m256; 4] {
        // SAFETY: the trait's: 16 bytes of each of 8 rows. Rows r and r + 4 share a vector, so that transposing within
        // the halves of vectors is enough.
        unsafe {
            let a = pair(from, 4 * stride);
            let b = pair(from.add(stride), 4 * stride);
            let c = pair(from.add(2 * stride), 4 * stride);
            let d = pair(from.add(3 * stride), 4 * stride);
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ]
        }
    }

    #[inline(always)]
    unsafe fn bfloat16(words: __m256) -> [__m256; 2] {
        // SAFETY: the trait's. A bfloat16 is the upper half of a float32.
        unsafe {
            let lower = _mm256_slli_epi32::<16>(_mm256_castps_si256(words));
            let upper = _mm256_and_ps(words, _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32)));
            [_mm256_castsi256_ps(lower), upper]
        }
    }

    #[inline(always)]
    unsafe fn float16(words: __m256) -> [__m256; 2] {
        // SAFETY: the trait's.
        unsafe {
            let words = _mm256_castps_si256(words);
            let lower = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
            let packed = _mm256_packus_epi32(lower, _mm256_srli_epi32::<16>(words));
            let sorted = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            [_mm256_cvtph_ps(_mm256_castsi256_si128(sorted)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(sorted))]
        }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: a prefetch does not fault. Into L2: rows a multiple of 4 KiB apart drive each other out of L1.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    #[inline(never)]
    unsafe fn apart<W: Work>(work: W) {
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn of<W: Work>(work: W) {
            // SAFETY: the caller's.
            unsafe { work.run::<Avx2>() }
        }
        // SAFETY: the trait's.
        unsafe { of(work) }
    }
}

/// 16 bytes, and 16 more at a distance.
#[inline(always)]
unsafe fn pair(from: *const u8, distance: usize) -> __m256 {
    // SAFETY: the caller's.
    unsafe {
        let low = _mm256_castps128_ps256(_mm_loadu_ps(from.cast()));
        _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from.add(distance).cast()))
    }
}
