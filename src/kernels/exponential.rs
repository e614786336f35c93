//! e to the power of numbers that are not positive, for softmax.

use super::lanes::Lanes;

/// Below it, a softmax's addend is 0: the result would be about 2^-126, and is without effect beside the largest, which is 1.
pub(super) const LEAST: f32 = -87.0;

/// log2(e).
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln(2) in two parts: a multiple of the first by a whole number below 2^9 is exact (Cody and Waite).
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Added and taken away again, it rounds to a whole number; in between, the number is in the lowest bits.
const TO_WHOLE: f32 = 12_582_912.0;

/// e^x for x from [`LEAST`] to 0 with an error below 1e-7 of the result; 0 below, NaN of NaN.
///
/// x = n·ln 2 + r; e^r = 1 + r + r²·p(r) with the polynomial of Cephes' `expf`, |r| ≤ ln(2) / 2.
///
/// # Safety
/// [`Lanes`]'.
#[inline(always)]
pub(super) unsafe fn exponential<L: Lanes>(x: L::Vector) -> L::Vector {
    // SAFETY: the caller's.
    unsafe {
        let shifted = L::multiply_add(x, L::all(LOG2_E), L::all(TO_WHOLE));
        let whole = L::add(shifted, L::all(-TO_WHOLE));
        let rest = L::multiply_add(whole, L::all(-LN_2_HIGH), x);
        let rest = L::multiply_add(whole, L::all(-LN_2_LOW), rest);
        let mut polynomial = L::all(1.987_569_2e-4);
        for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            polynomial = L::multiply_add(polynomial, rest, L::all(coefficient));
        }
        let square = L::multiply(rest, rest);
        let power = L::add(L::multiply_add(polynomial, square, rest), L::all(1.0));
        L::zero_below(x, LEAST, L::multiply(power, L::power_of_two(shifted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::portable::Portable;

    /// Eight results.
    type Eight = unsafe fn([f32; 8]) -> [f32; 8];

    unsafe fn portable(x: [f32; 8]) -> [f32; 8] {
        // SAFETY: plain Rust.
        unsafe { exponential::<Portable>(x) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn avx2(x: [f32; 8]) -> [f32; 8] {
        use crate::kernels::avx2::Avx2;
        let mut power = [0.0; 8];
        // SAFETY: the caller's.
        unsafe { Avx2::store(power.as_mut_ptr(), exponential::<Avx2>(Avx2::load(x.as_ptr()))) };
        power
    }

    fn paths() -> Vec<Eight> {
        let mut paths: Vec<Eight> = vec![portable];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
            paths.push(avx2);
        }
        paths
    }

    #[test]
    fn its_error_is_below_1e_7_of_the_result() {
        for path in paths() {
            let mut largest = 0.0_f64;
            for step in 0..50_000 {
                let start = LEAST * step as f32 / 50_000.0;
                let x: [f32; 8] = std::array::from_fn(|lane| start * (1.0 - lane as f32 * 1e-6));
                // SAFETY: a path of this processor.
                for (power, x) in unsafe { path(x) }.into_iter().zip(x) {
                    let exact = f64::from(x).exp();
                    largest = largest.max((f64::from(power) - exact).abs() / exact);
                }
            }
            assert!(largest < 1e-7, "{largest:e}");
        }
    }

    #[test]
    fn its_ends_are_exact() {
        for path in paths() {
            // SAFETY: a path of this processor.
            let power = unsafe { path([0.0, -0.0, -87.5, f32::MIN, f32::NEG_INFINITY, f32::NAN, -1e-30, LEAST]) };
            assert_eq!(power[..5], [1.0, 1.0, 0.0, 0.0, 0.0]);
            assert!(power[5].is_nan() && power[6] == 1.0 && power[7] > 0.0);
        }
    }
}
