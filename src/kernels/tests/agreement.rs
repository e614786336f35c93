//! All paths agree to the bit, whatever the shape and the values; of NaN, in that it is one.

use half::f16;
use proptest::prelude::*;

use super::attention::Case;
use super::{ALL_STORED, numbers, product, stored};
use crate::kernels::attention::Sight;
use crate::kernels::lanes::Lanes;
use crate::kernels::portable::Portable;
use crate::kernels::processor::Path;
use crate::kernels::weights::{Stored, Weights};

/// What leaves a rest in vectors, blocks, panels and chunks.
const TAILS: [usize; 8] = [1, 15, 17, 31, 33, 63, 65, 257];

/// Zeros, denormal numbers, the ends of the normal ones, and what is not finite.
const SPECIAL: [f32; 14] = [
    0.0,
    -0.0,
    f32::from_bits(1),
    f32::from_bits(0x8000_0001),
    f32::from_bits(0x007f_ffff),
    f32::MIN_POSITIVE,
    6e-8,
    -3e-5,
    65504.0,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// Numbers of like size; of all sizes that multiplied stay finite; with special ones here and there.
fn values(count: usize, seed: u64, kind: usize) -> Vec<f32> {
    let mut values = numbers(count, seed);
    match kind {
        0 => {}
        1 => values.iter_mut().zip(numbers(count, seed + 7)).for_each(|(value, size)| *value *= (size * 60.0).exp2()),
        _ => {
            let places = (seed as usize..count).step_by(53);
            places.zip(SPECIAL.iter().cycle()).for_each(|(place, special)| values[place] = *special);
        }
    }
    values
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { u32::MAX } else { value.to_bits() }).collect()
}

/// Compares what each path computes with the first's; returns how much of it is finite.
fn agree(place: &str, of: impl Fn(Path) -> Vec<f32>) -> usize {
    let paths = Path::possible();
    let first = of(paths[0]);
    for &path in &paths[1..] {
        let found = of(path);
        let differing = bits(&first).into_iter().zip(bits(&found)).position(|(first, found)| first != found);
        if let Some(at) = differing {
            let (name, other) = (path.name(), paths[0].name());
            panic!("{place} at {at}: {name} says {:e}, {other} {:e}", found[at], first[at]);
        }
    }
    first.iter().filter(|value| value.is_finite()).count()
}

#[test]
fn products_agree_for_every_rest() {
    let (mut finite, mut all) = (0, 0);
    for (index, kind) in (0..TAILS.len().pow(3)).zip((0..3).cycle()) {
        let [rows, outputs, inputs] = [1, 8, 64].map(|each| TAILS[index / each % 8]);
        let x = values(rows * inputs, 1, kind);
        let bias = values(outputs, 3, kind);
        for stored_as in ALL_STORED {
            let (bytes, _) = stored(&values(outputs * inputs, 2, kind), stored_as);
            let weights = Weights::new(&bytes, stored_as, outputs, inputs).unwrap();
            let place = format!("{stored_as:?} {rows}x{outputs}x{inputs}, values {kind}");
            finite += agree(&place, |path| product(weights, Some(&bias), path, &x, rows));
            all += rows * outputs;
        }
    }
    assert!(finite > all / 2, "{finite} of {all}");
}

#[test]
fn attention_agrees_for_every_rest() {
    const SIZES: [usize; 9] = [1, 7, 15, 16, 17, 33, 64, 65, 256];
    let (mut finite, mut all) = (0, 0);
    for (index, positions) in TAILS.into_iter().enumerate() {
        for part in 0..12 {
            let (size, before, kind) = (SIZES[(index + part) % 9], [0, 1, 0, 70][part % 4], part % 3);
            let (rows, heads, shared) = (2, 2, 1 + part % 2);
            let mut case = Case::new([rows, positions, heads, shared, size, before], 20 + index as u64);
            if kind == 2 {
                let count = case.packed.len();
                case.packed = values(count, 4, kind);
            }
            let window = [None, Some(3), Some(66)][part / 4];
            let lengths = [positions, positions - positions / 3];
            let sight = Sight {
                // From where weights are alike to where one key has all of them.
                scale: [0.1, 2.0, 40.0][(index + part / 3) % 3] / (size as f32).sqrt(),
                lengths: &lengths,
                back: window,
                ahead: [window, Some(0)][part % 2],
                relative: (part % 4 == 0).then_some(case.table.as_slice()),
            };
            let place = format!("{positions} of {size} after {before}, part {part}");
            finite += agree(&place, |path| case.run(path, sight));
            all += rows * positions * heads * size;
        }
    }
    assert!(finite > all / 2, "{finite} of {all}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn products_agree_on_any_bits(
        rows in 1_usize..15, outputs in 1_usize..40, inputs in 1_usize..40, kind in 0_usize..3, seed in any::<u64>(),
    ) {
        let any = |count, seed| -> Vec<u32> {
            let (upper, lower) = (numbers(count, seed), numbers(count, seed ^ 2));
            upper.iter().zip(lower).map(|(upper, lower)| (upper.to_bits() << 11) ^ lower.to_bits()).collect()
        };
        let x: Vec<f32> = any(rows * inputs, seed).into_iter().map(f32::from_bits).collect();
        let bytes: Vec<u8> = any(outputs * inputs, seed ^ 1).into_iter().flat_map(u32::to_le_bytes).collect();
        let stored_as = ALL_STORED[kind];
        let bytes = &bytes[..outputs * inputs * stored_as.bytes()];
        let weights = Weights::new(bytes, stored_as, outputs, inputs).unwrap();
        agree("any bits", |path| product(weights, None, path, &x, rows));
    }
}

/// What the operations make of some values, one after the other.
#[inline(always)]
unsafe fn operations<L: Lanes>(x: &[f32; 8], y: &[f32; 8], z: &[f32; 8]) -> [[f32; 8]; 9] {
    // SAFETY: the caller's: the processor has the instructions of eight lanes.
    unsafe {
        let [left, right, sum] = [x, y, z].map(|values| L::load(values.as_ptr()));
        let ([low, high], [first, second]) = (L::float16(left), L::bfloat16(left));
        let (whole, kept) = (L::power_of_two(left), L::zero_below(left, -1.0, right));
        let fused = L::multiply_add(left, right, sum);
        let all = [L::larger(left, right), L::larger(right, left), fused, low, high, first, second, whole, kept];
        all.map(|vector| {
            let mut values = [0.0; 8];
            L::store(values.as_mut_ptr(), vector);
            values
        })
    }
}

unsafe fn portable(x: &[f32; 8], y: &[f32; 8], z: &[f32; 8]) -> [[f32; 8]; 9] {
    // SAFETY: plain Rust.
    unsafe { operations::<Portable>(x, y, z) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2(x: &[f32; 8], y: &[f32; 8], z: &[f32; 8]) -> [[f32; 8]; 9] {
    // SAFETY: the caller's.
    unsafe { operations::<crate::kernels::avx2::Avx2>(x, y, z) }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn operations_agree_on_special_values() {
    if !Path::possible().iter().any(|path| path.name() == "avx2") {
        return;
    }
    for left in SPECIAL {
        for right in SPECIAL {
            let sums = [0, 1, 2, 3, 4, 9, 11, 13].map(|at| SPECIAL[at]);
            let (left, right) = ([left; 8], [right; 8]);
            // SAFETY: the processor has AVX2.
            let (ours, theirs) = unsafe { (portable(&left, &right, &sums), avx2(&left, &right, &sums)) };
            assert_eq!(bits(ours.as_flattened()), bits(theirs.as_flattened()), "{left:?} {right:?}");
        }
    }
}

#[test]
fn every_float16_and_bfloat16_is_what_it_is() {
    let expected = |half: u16| [f16::from_bits(half).to_f32(), f32::from_bits(u32::from(half) << 16)];
    for first in (0..=u16::MAX).step_by(16) {
        let words: [f32; 8] = std::array::from_fn(|lane| {
            let low = first + 2 * lane as u16;
            f32::from_bits(u32::from(low) | (u32::from(low + 1) << 16))
        });
        #[allow(unused_mut, reason = "more than one on x86-64")]
        // SAFETY: plain Rust.
        let mut found = vec![unsafe { portable(&words, &words, &words) }];
        #[cfg(target_arch = "x86_64")]
        if Path::possible().iter().any(|path| path.name() == "avx2") {
            // SAFETY: the processor has AVX2.
            found.push(unsafe { avx2(&words, &words, &words) });
        }
        for found in found {
            for lane in 0..8 {
                let [low, high] = [0, 1].map(|half| expected(first + 2 * lane as u16 + half));
                let expected = [low[0], high[0], low[1], high[1]];
                assert_eq!(bits(&[3, 4, 5, 6].map(|at: usize| found[at][lane])), bits(&expected), "{first}");
            }
        }
    }
}

#[test]
fn the_second_product_is_not_rounded_before_it_is_added() {
    let wide = 1.0 + 2.0_f32.powi(-12);
    let (bytes, _) = stored(&[-1.0, wide], Stored::Float32);
    let weights = Weights::new(&bytes, Stored::Float32, 1, 2).unwrap();
    for path in Path::possible() {
        // What rounding the square takes from it is what is left.
        assert_eq!(product(weights, None, path, &[wide * wide, wide], 1), [2.0_f32.powi(-24)], "{}", path.name());
    }
}
