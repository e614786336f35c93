//! Activations as bfloat16: one term, rounded to the nearest, or three whose sum is the activation itself.

/// The upper halves of `N` values' terms, each a bfloat16: the largest terms first. Values below 2⁻¹¹⁰ lose those of
/// their bits that would make a term below 2⁻¹²⁶ wherever such terms count as zero.
#[inline(always)]
pub(super) fn terms<const TERMS: usize, const N: usize>(values: &[f32; N]) -> [[u16; N]; TERMS] {
    let mut terms = [[0; N]; TERMS];
    if TERMS == 1 {
        for at in 0..N {
            terms[0][at] = rounded(values[at]);
        }
        return terms;
    }
    let mut rest = *values;
    for term in 0..TERMS {
        for at in 0..N {
            // Cut, not rounded: 8 of 24 bits each time, all of the value's sign, and the largest finite value stays finite.
            let bits = rest[at].to_bits() & 0xffff_0000;
            terms[term][at] = (bits >> 16) as u16;
            rest[at] -= f32::from_bits(bits);
        }
    }
    terms
}

/// The nearest bfloat16, of two the even one; past the largest finite one an infinity.
#[inline(always)]
fn rounded(value: f32) -> u16 {
    let bits = value.to_bits();
    let up = 0x7fff + ((bits >> 16) & 1);
    // Rounding would carry some NaN into infinity, or out of the number.
    let bits = if value.is_nan() { bits | 0x0040_0000 } else { bits.wrapping_add(up) };
    (bits >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;
    use proptest::prelude::*;

    fn of(term: u16) -> f32 {
        f32::from_bits(u32::from(term) << 16)
    }

    proptest! {
        #[test]
        fn three_terms_are_the_value(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            let [[first], [second], [third]] = terms::<3, 1>(&[value]);
            let sum = [first, second, third].map(|term| f64::from(of(term))).iter().sum::<f64>();
            let lost = if value.abs() < 2.0_f32.powi(-110) { 2.0_f64.powi(-126) } else { 0.0 };
            match value.is_finite() {
                true => prop_assert!((sum - f64::from(value)).abs() <= lost),
                false => prop_assert!(!of(first).is_finite()),
            }
        }

        #[test]
        fn one_term_is_the_nearest(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            let [[term]] = terms::<1, 1>(&[value]);
            let expected = bf16::from_f32(value);
            prop_assert!(term == expected.to_bits() || (of(term).is_nan() && value.is_nan()));
        }
    }

    #[test]
    fn edges() {
        for value in [0.0, -0.0, f32::MIN_POSITIVE, f32::MAX, f32::MIN, 1.0 + f32::EPSILON] {
            let [[first], [second], [third]] = terms::<3, 1>(&[value]);
            assert_eq!(of(first) + (of(second) + of(third)), value);
        }
        assert_eq!(of(terms::<1, 1>(&[f32::MAX])[0][0]), f32::INFINITY);
        for nan in [f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)] {
            assert!(of(terms::<1, 1>(&[nan])[0][0]).is_nan());
        }
    }
}
