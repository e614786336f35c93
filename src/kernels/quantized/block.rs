//! A block of float32 in, steps and their size out: plain Rust without a choice of order, so that it is the same arithmetic
//! whatever the compiler makes of it.

/// Inputs of a block: what one step size serves. MiniLM's lowest cosine to float32, over 1,024 docstrings, is 0.9993; 0.9995
/// with 32, whose product is 5 % slower, and 0.9992 with 128 (`benches/choices.py int8`).
pub(super) const BLOCK: usize = 64;

/// Steps to either side of 0.
const STEPS: f32 = 127.0;

/// A block whose largest magnitude is below, 2^-100, counts as zeros: what it is divided by stays a number.
const LEAST: f32 = 7.888_609e-31;

/// Added to a number below 2^22, it rounds that to a whole one, half to even, which is then in the lowest bits.
const TO_WHOLE: f32 = 12_582_912.0;

/// What a step is stored as.
pub(super) trait Step: Copy {
    /// The lowest bits, in two's complement.
    fn of(bits: u32) -> Self;
}

impl Step for i8 {
    #[inline(always)]
    fn of(bits: u32) -> i8 {
        bits as i8
    }
}

impl Step for i16 {
    #[inline(always)]
    fn of(bits: u32) -> i16 {
        bits as i16
    }
}

/// Multiplies a block with a Hadamard matrix, whose rows are at right angles and of length √[`BLOCK`]: what one value far
/// larger than the others would have taken from their precision is shared by all. Without it, MiniLM's lowest cosine is
/// 0.998 (`benches/choices.py int8`). The order of additions is fixed: distances 32, 16, 8, 4, 2, 1.
#[inline(always)]
pub(super) fn rotate(values: &mut [f32; BLOCK]) {
    across::<32>(values);
    across::<16>(values);
    across::<8>(values);
    within::<4>(values);
    within::<2>(values);
    within::<1>(values);
}

/// Sums and differences of values some vectors apart.
#[inline(always)]
fn across<const DISTANCE: usize>(values: &mut [f32; BLOCK]) {
    for start in (0..BLOCK).step_by(2 * DISTANCE) {
        for at in start..start + DISTANCE {
            let (left, right) = (values[at], values[at + DISTANCE]);
            values[at] = left + right;
            values[at + DISTANCE] = left - right;
        }
    }
}

/// The same within groups of eight, in a form that compilers turn into vectors: a shuffle, a product with ±1 and a sum.
#[inline(always)]
fn within<const DISTANCE: usize>(values: &mut [f32; BLOCK]) {
    for start in (0..BLOCK).step_by(8) {
        let mut sums = [0.0_f32; 8];
        for at in 0..8 {
            let sign = if at & DISTANCE == 0 { 1.0 } else { -1.0 };
            sums[at] = values[start + (at ^ DISTANCE)] + sign * values[start + at];
        }
        values[start..start + 8].copy_from_slice(&sums);
    }
}

/// The largest magnitude; not finite where a value is not.
#[inline(always)]
pub(super) fn peak(values: &[f32; BLOCK]) -> f32 {
    // Without the sign, the bits of larger numbers are larger, of infinity and NaN the largest.
    let mut largest = 0;
    for value in values {
        largest = largest.max(value.to_bits() & 0x7fff_ffff);
    }
    f32::from_bits(largest)
}

/// The size of a block's steps: 0 where it counts as zeros, NaN where its peak is not finite.
#[inline(always)]
pub(super) fn step_size(peak: f32) -> f32 {
    if !peak.is_finite() {
        f32::NAN
    } else if peak < LEAST {
        0.0
    } else {
        peak * (1.0 / STEPS)
    }
}

/// Rounds each value to steps, half to even, by one multiplication with the size's reciprocal. Returns their sum.
#[inline(always)]
pub(super) fn to_steps<S: Step>(values: &[f32; BLOCK], size: f32, to: &mut [S; BLOCK]) -> i32 {
    // Of a block of zeros, or with a value that is not finite, all steps are 0.
    let (inverse, keep) = if size > 0.0 { (1.0 / size, u32::MAX) } else { (0.0, 0) };
    let mut sum = 0;
    for at in 0..BLOCK {
        let whole = (values[at] * inverse + TO_WHOLE).to_bits().wrapping_sub(TO_WHOLE.to_bits()) & keep;
        to[at] = S::of(whole);
        sum += whole as i32;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_twice_a_block_is_itself() {
        let values: [f32; BLOCK] = std::array::from_fn(|at| ((at * 37) % 64) as f32 - 31.0);
        let mut rotated = values;
        rotate(&mut rotated);
        // The definition: the sign of a pair is the parity of the bits that both places have.
        for (place, found) in rotated.iter().enumerate() {
            let sign = |at: usize| if (at & place).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
            let expected: f32 = values.iter().enumerate().map(|(at, value)| sign(at) * value).sum();
            assert_eq!(*found, expected);
        }
        rotate(&mut rotated);
        assert_eq!(rotated, values.map(|value| value * BLOCK as f32));
    }

    #[test]
    fn halves_go_to_even_steps() {
        let mut values = [0.0; BLOCK];
        values[..8].copy_from_slice(&[127.0, -127.0, 0.5, 1.5, -0.5, -2.5, 2.500_001, 0.49]);
        let (mut small, mut large) = ([1_i8; BLOCK], [1_i16; BLOCK]);
        assert_eq!(step_size(peak(&values)), 127.0 * (1.0 / 127.0));
        assert_eq!(to_steps(&values, 1.0, &mut small), 3);
        assert_eq!(to_steps(&values, 1.0, &mut large), 3);
        assert_eq!(small[..9], [127, -127, 0, 2, 0, -2, 3, 0, 0]);
        assert_eq!(large.map(|step| step as i8), small);
    }

    #[test]
    fn what_has_no_steps_is_told_by_its_size() {
        let with = |value: f32| {
            let mut values = [1e-3; BLOCK];
            values[63] = value;
            values
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut steps = [1_i8; BLOCK];
            let size = step_size(peak(&with(bad)));
            assert!(size.is_nan());
            assert_eq!((to_steps(&with(bad), size, &mut steps), steps), (0, [0; BLOCK]));
        }
        assert_eq!(step_size(peak(&[-1e-31; BLOCK])), 0.0);
        assert_eq!(peak(&with(-3.0)), 3.0);
        // The largest numbers and the smallest that are not zeros have all their steps.
        for peak in [f32::MAX, LEAST] {
            let mut steps = [0_i16; BLOCK];
            to_steps(&[-peak; BLOCK], step_size(peak), &mut steps);
            assert_eq!(steps, [-127; BLOCK]);
        }
    }
}
