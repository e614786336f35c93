//! `left · right + sum` rounded once, as processors do it, in plain Rust: `f32::mul_add` is a call into libm where the compiler's
//! target has no instruction for it. Bits are those of `mul_add`, but for what a NaN says beside being one.

/// Whether the target has the instruction.
const HAS_INSTRUCTION: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// The bits that a float64 has behind those of a float32, and what is in them halfway between two float32.
const BEHIND: u64 = (1 << 29) - 1;
const HALFWAY: u64 = 1 << 28;

/// For each lane.
#[inline(always)]
pub(super) fn multiply_add<const LANES: usize>(
    left: [f32; LANES],
    right: [f32; LANES],
    mut sum: [f32; LANES],
) -> [f32; LANES] {
    if !HAS_INSTRUCTION {
        return by_float64(&left, &right, &sum);
    }
    for lane in 0..LANES {
        sum[lane] = left[lane].mul_add(right[lane], sum[lane]);
    }
    sum
}

/// In float64 the product is exact, and the sum keeps the side of any number halfway between two float32 on which it was, or
/// comes to lie on that number. Only then does rounding again do harm; denormal numbers are halfway elsewhere.
///
/// Not inlined: kernels are unrolled, and would be several times as large.
#[inline(never)]
fn by_float64<const LANES: usize>(left: &[f32; LANES], right: &[f32; LANES], sum: &[f32; LANES]) -> [f32; LANES] {
    let mut rounded = [0.0; LANES];
    let mut is_doubtful = false;
    for lane in 0..LANES {
        let total = f64::from(left[lane]) * f64::from(right[lane]) + f64::from(sum[lane]);
        is_doubtful |= (total.to_bits() & BEHIND == HALFWAY) | (total.abs() < f64::from(f32::MIN_POSITIVE));
        rounded[lane] = total as f32;
    }
    if is_doubtful {
        for lane in 0..LANES {
            rounded[lane] = by_odd(left[lane], right[lane], sum[lane]);
        }
    }
    rounded
}

/// Rounds to float64 so that nothing is lost by rounding again: what lies between two float64 becomes the one whose last bit
/// is set (Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008). No float64 here is denormal or overflows.
fn by_odd(left: f32, right: f32, sum: f32) -> f32 {
    let (product, sum) = (f64::from(left) * f64::from(right), f64::from(sum));
    let total = product + sum;
    // What the addition lost, exactly (Knuth); NaN beside infinities.
    let added = total - product;
    let lost = (product - (total - added)) + (sum - added);
    let bits = total.to_bits();
    let odd = if bits & 1 == 1 || lost == 0.0 || lost.is_nan() {
        bits
    } else if (lost > 0.0) == (total > 0.0) {
        bits + 1
    } else {
        bits - 1
    };
    f64::from_bits(odd) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Checks both ways of rounding, in every lane.
    fn check(left: f32, right: f32, sum: f32) {
        let expected = left.mul_add(right, sum);
        let mut found = vec![by_odd(left, right, sum)];
        for lane in 0..8 {
            let (mut lefts, mut rights, mut sums) = ([1.0; 8], [2.0; 8], [3.0; 8]);
            (lefts[lane], rights[lane], sums[lane]) = (left, right, sum);
            let mut all = by_float64(&lefts, &rights, &sums);
            found.push(all[lane]);
            all[lane] = 5.0;
            assert_eq!(all, [5.0; 8]);
        }
        for found in found {
            let is_same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(is_same, "{left:e} · {right:e} + {sum:e} is {expected:e}, not {found:e}");
        }
    }

    /// Zeros, denormal numbers, the ends of the normal ones, infinities, NaN.
    const SPECIAL: [u32; 12] = [
        0,
        1,
        2,
        3,
        0x007f_ffff,
        0x0080_0000,
        0x0080_0001,
        0x3f80_0000,
        0x7f7f_fffe,
        0x7f7f_ffff,
        0x7f80_0000,
        0x7fc0_0000,
    ];

    #[test]
    fn special_values_in_all_places() {
        let all: Vec<f32> = SPECIAL.into_iter().flat_map(|bits| [bits, bits | (1 << 31)]).map(f32::from_bits).collect();
        for &left in &all {
            for &right in &all {
                all.iter().for_each(|&sum| check(left, right, sum));
            }
        }
    }

    #[test]
    fn a_sum_halfway_goes_where_the_rest_is() {
        let (one, half) = (1.0 + f32::EPSILON, f32::EPSILON / 2.0);
        for (sum, expected) in [(half, 1.0 + 2.0 * f32::EPSILON), (-half, 1.0)] {
            // Halfway itself: to the even one.
            assert_eq!(by_float64(&[one], &[1.0], &[sum]), [expected]);
        }
        // What is less than half a float64's step beside it decides.
        for rest in [f32::MIN_POSITIVE, f32::from_bits(1), 1e-20] {
            let wide = 1.0 + 2.0_f32.powi(-12);
            let exact = wide * wide;
            // (1 + 2⁻¹²)² is 1 + 2⁻¹¹ + 2⁻²⁴, which is halfway.
            assert_eq!(by_float64(&[wide], &[wide], &[rest]), [exact + f32::EPSILON]);
            assert_eq!(by_float64(&[wide], &[wide], &[-rest]), [exact]);
        }
    }

    fn sign() -> impl Strategy<Value = f32> {
        prop_oneof![Just(1.0_f32), Just(-1.0)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn any_bits(left in any::<u32>(), right in any::<u32>(), sum in any::<u32>()) {
            check(f32::from_bits(left), f32::from_bits(right), f32::from_bits(sum));
        }

        /// The sum is of the size of the product, or up to 60 bits smaller or larger.
        #[test]
        fn any_bits_of_like_size(left in any::<u32>(), right in any::<u32>(), sum in any::<u32>(), apart in -60_i32..60) {
            let (left, right) = (f32::from_bits(left), f32::from_bits(right));
            let exponent = ((f64::from(left) * f64::from(right)).to_bits() >> 52) & 0x7ff;
            let exponent = (exponent as i32 - 1023 + 127 + apart).clamp(0, 254) as u32;
            check(left, right, f32::from_bits((sum & 0x807f_ffff) | (exponent << 23)));
        }

        /// A product of 25 bits, the last of them set, is halfway; where it is denormal, others are. The sum is next to nothing.
        #[test]
        fn products_halfway(
            left in 1_u32..1 << 12, right in 1_u32..1 << 13, scales in (-149_i32..90, -149_i32..90),
            rest in any::<u32>(), size in 0_u32..100, sign in sign(),
        ) {
            let scaled = |odd: u32, scale: i32| (f64::from(odd) * 2.0_f64.powi(scale)) as f32;
            let (left, right) = (sign * scaled(2 * left + 1, scales.0), scaled(2 * right + 1, scales.1));
            check(left, right, f32::from_bits((rest & 0x807f_ffff) | (size << 23)));
            check(left, right, 0.0);
        }

        /// A product of about half the sum's last bit: h·(1 + i·2⁻²³)·(1 + j·2⁻²³), which float64 often takes for h.
        #[test]
        fn sums_halfway(
            sum in any::<u32>(), near in (-3_i32..4, -3_i32..4), up in 0_i32..140, sign in sign(), halves in 1_i32..4,
        ) {
            let sum = f32::from_bits(sum);
            // Half of the last bit of the sum, and for denormal numbers half of the least.
            let half = 2.0_f64.powi((((sum.to_bits() >> 23) & 0xff) as i32).max(1) - 151) * f64::from(halves);
            let beside = |by: i32| f64::from(f32::from_bits((1.0_f32.to_bits() as i32 + by) as u32));
            let left = beside(near.0) * 2.0_f64.powi(up - 120);
            let right = beside(near.1) * half * 2.0_f64.powi(120 - up);
            check(sign * left as f32, right as f32, sum);
            check(left as f32, sign * right as f32, f32::from_bits(sum.to_bits() ^ 1));
        }
    }
}
