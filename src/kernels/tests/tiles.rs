//! The tile program: on emulated tiles everywhere, and on the processor's where it has some.

use super::linear::stated;
use super::{numbers, stored};
use crate::kernels::product::Product;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::tiles::Unit;
use crate::kernels::tiles::linear::Linear;
use crate::kernels::weights::{Stored, Weights};

/// Rows, outputs and inputs with all kinds of tails, and more than one item in both directions.
const SHAPES: [(usize, usize, usize); 16] = [
    (1, 1, 1),
    (1, 65, 31),
    (2, 17, 33),
    (3, 33, 65),
    (5, 15, 130),
    (8, 31, 15),
    (9, 16, 17),
    (15, 63, 64),
    (16, 64, 32),
    (17, 65, 63),
    (31, 1, 257),
    (33, 130, 1),
    (63, 15, 96),
    (65, 33, 31),
    (130, 47, 2050),
    (600, 9, 70),
];

/// All items, the last first.
pub(super) fn tiled(
    weights: Weights<'_>,
    bias: Option<&[f32]>,
    unit: Unit,
    is_rounded: bool,
    x: &[f32],
    rows: usize,
) -> Vec<f32> {
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    let mut y = vec![f32::NAN; rows * outputs];
    let linear = Linear::new(weights, bias, unit, is_rounded).unwrap();
    let to = RowsMut::new(&mut y, rows, outputs, outputs).unwrap();
    let call = linear.call(Rows::new(x, rows, inputs, inputs).unwrap(), to).unwrap();
    // SAFETY: one thread; one block and one item past the last, which compute nothing.
    unsafe {
        (0..=call.blocks()).rev().for_each(|block| call.fill(block));
        (0..=call.items()).rev().for_each(|item| call.run(item));
    }
    y
}

pub(super) fn units() -> Vec<Unit> {
    Unit::of_processor().into_iter().chain([Unit::emulated()]).collect()
}

/// The order of a sum that the program states: for each 32 inputs, the terms of the activations, even and odd inputs apart.
fn in_tiles(terms: &[Vec<f32>], w: &[f32], bias: f32) -> f32 {
    let mut total = 0.0_f32;
    for start in (0..w.len()).step_by(32) {
        for term in terms {
            let mut sums = [0.0_f32; 2];
            for input in start..w.len().min(start + 32) {
                sums[input % 2] += term[input] * w[input];
            }
            total += sums[0] + sums[1];
        }
    }
    total + bias
}

/// Activations as three terms that add up to them, or as one that is near.
fn terms(x: &[f32], is_rounded: bool) -> Vec<Vec<f32>> {
    if is_rounded {
        return vec![x.iter().map(|value| half::bf16::from_f32(*value).to_f32()).collect()];
    }
    let cut = |value: f32| f32::from_bits(value.to_bits() & 0xffff_0000);
    let first: Vec<f32> = x.iter().map(|value| cut(*value)).collect();
    let second: Vec<f32> = x.iter().zip(&first).map(|(value, first)| cut(value - first)).collect();
    let third =
        x.iter().zip(first.iter().zip(&second)).map(|(value, (first, second))| value - first - second).collect();
    vec![first, second, third]
}

#[test]
fn every_cut_computes_the_stated_arithmetic_to_the_bit() {
    for unit in units() {
        for (rows, outputs, inputs) in SHAPES {
            let x = numbers(rows * inputs, 1);
            let (bytes, w) = stored(&numbers(outputs * inputs, 2), Stored::Bfloat16);
            let bias = numbers(outputs, 3);
            let weights = Weights::new(&bytes, Stored::Bfloat16, outputs, inputs).unwrap();
            for is_rounded in [false, true] {
                let y = tiled(weights, Some(&bias), unit, is_rounded, &x, rows);
                for row in 0..rows {
                    let terms = terms(&x[row * inputs..][..inputs], is_rounded);
                    for output in 0..outputs {
                        let expected = in_tiles(&terms, &w[output * inputs..][..inputs], bias[output]);
                        let found = y[row * outputs + output];
                        let place = format!("{unit:?} {rows}x{outputs}x{inputs} {is_rounded} at {row}, {output}");
                        assert_eq!(found.to_bits(), expected.to_bits(), "{place}: {found} is not {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_alone_has_the_bits_of_the_row_among_others() {
    let (most, outputs, inputs) = (67, 41, 323);
    let x = numbers(most * inputs, 4);
    let (bytes, _) = stored(&numbers(outputs * inputs, 5), Stored::Bfloat16);
    let weights = Weights::new(&bytes, Stored::Bfloat16, outputs, inputs).unwrap();
    for unit in units() {
        for is_rounded in [false, true] {
            let all = tiled(weights, None, unit, is_rounded, &x, most);
            for rows in [1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 66] {
                let some = tiled(weights, None, unit, is_rounded, &x[..rows * inputs], rows);
                assert_eq!(some, all[..rows * outputs], "{unit:?} {rows} rows");
            }
        }
    }
}

#[test]
fn the_error_against_float64_is_that_of_float32_or_of_bfloat16() {
    for unit in units() {
        let mut largest = [0.0_f64; 2];
        for (rows, outputs, inputs) in [(2, 35, 3072), (19, 33, 1024), (33, 17, 129), (1, 65, 63), (65, 15, 31)] {
            let x = numbers(rows * inputs, 8);
            let (bytes, w) = stored(&numbers(outputs * inputs, 9), Stored::Bfloat16);
            let weights = Weights::new(&bytes, Stored::Bfloat16, outputs, inputs).unwrap();
            for (largest, is_rounded) in largest.iter_mut().zip([false, true]) {
                let y = tiled(weights, None, unit, is_rounded, &x, rows);
                for (index, &y) in y.iter().enumerate() {
                    let (row, output) = (index / outputs, index % outputs);
                    let pairs = x[row * inputs..][..inputs].iter().zip(&w[output * inputs..]);
                    let pairs = pairs.map(|(&x, &w)| (f64::from(x), f64::from(w)));
                    let (exact, x2, w2) =
                        pairs.fold((0.0, 0.0, 0.0), |(exact, x2, w2), (x, w)| (exact + x * w, x2 + x * x, w2 + w * w));
                    *largest = largest.max((f64::from(y) - exact).abs() / (x2 * w2).sqrt());
                }
            }
        }
        assert!(largest[0] < 1e-7, "{unit:?}: {largest:?}");
        assert!(largest[1] < 3e-3 && largest[1] > 1e-5, "{unit:?}: {largest:?}");
    }
}

/// Numbers whose place in a row and a matrix goes round.
const SPECIAL: [f32; 9] =
    [0.0, -0.0, 1e-30, -1e-38, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];

fn specials() -> (Vec<f32>, Vec<u8>, Vec<f32>, [usize; 3]) {
    let (rows, outputs, inputs) = (SPECIAL.len() + 8, SPECIAL.len() + 17, 41);
    let (mut x, mut w) = (numbers(rows * inputs, 11), numbers(outputs * inputs, 10));
    for (index, special) in SPECIAL.into_iter().enumerate() {
        w[index * inputs + index % inputs] = special;
        x[index * inputs + (index + 1) % inputs] = special;
        x[index * inputs + 40] = special;
    }
    x[..inputs].fill(-0.0);
    w[..inputs].fill(0.0);
    // All of a row at the edge of what is finite.
    x[10 * inputs..11 * inputs].fill(f32::MAX);
    let (bytes, w) = stored(&w, Stored::Bfloat16);
    (x, bytes, w, [rows, outputs, inputs])
}

#[test]
fn special_values_are_those_of_the_other_paths() {
    let (x, bytes, w, [rows, outputs, inputs]) = specials();
    let weights = Weights::new(&bytes, Stored::Bfloat16, outputs, inputs).unwrap();
    for unit in units() {
        for count in [1, 5, rows] {
            let y = tiled(weights, None, unit, false, &x[..count * inputs], count);
            for (index, &y) in y.iter().enumerate() {
                let (row, output) = (index / outputs, index % outputs);
                let (x, w) = (&x[row * inputs..][..inputs], &w[output * inputs..][..inputs]);
                let expected = stated(x, w, -0.0);
                let scale: f32 = x.iter().zip(w).map(|(x, w)| (x * w).abs()).sum();
                let near = (y - expected).abs() <= 1e-6 * scale + 1e-37;
                let same = if expected.is_finite() { near } else { y.to_bits() == expected.to_bits() };
                assert!(same || (y.is_nan() && expected.is_nan()), "{unit:?} {row} {output}: {y} {expected}");
            }
        }
    }
}

#[test]
fn zeros_have_no_sign_and_what_is_below_the_normal_numbers_is_lost() {
    let (bytes, _) = stored(&[-1.0, 1e-30], Stored::Bfloat16);
    for unit in units() {
        for is_rounded in [false, true] {
            let of = |x: &[f32], outputs| {
                let weights = Weights::new(&bytes, Stored::Bfloat16, outputs, x.len()).unwrap();
                tiled(weights, None, unit, is_rounded, x, 1)
            };
            assert_eq!(of(&[0.0], 2).map_bits(), [0, 0]);
            assert_eq!(of(&[1e-39], 2).map_bits(), [0, 0]);
            assert_eq!(of(&[1.0, 1e-10], 1), [-1.0]);
            assert_eq!(of(&[0.0, 1e-10], 1), [0.0]);
        }
    }
}

trait MapBits {
    fn map_bits(&self) -> Vec<u32>;
}

impl MapBits for Vec<f32> {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|value| value.to_bits()).collect()
    }
}

#[test]
fn the_instructions_do_what_is_emulated() {
    let Some(unit) = Unit::of_processor() else {
        eprintln!("not run: this processor has no AMX, or the system does not let the process use it");
        return;
    };
    // Of all sizes that bfloat16 has, so that products and sums leave the normal numbers.
    let spread = |count, seed| -> Vec<f32> {
        let sizes = numbers(count, seed + 100);
        numbers(count, seed).iter().zip(sizes).map(|(number, size)| number * (2.0_f32).powf(size * 90.0)).collect()
    };
    for (rows, outputs, inputs) in SHAPES {
        for is_wild in [false, true] {
            let make = |count, seed| if is_wild { spread(count, seed) } else { numbers(count, seed) };
            let (x, (bytes, _)) = (make(rows * inputs, 1), stored(&make(outputs * inputs, 2), Stored::Bfloat16));
            compare(unit, &x, &bytes, [rows, outputs, inputs]);
        }
    }
    let (x, bytes, _, shape) = specials();
    compare(unit, &x, &bytes, shape);
}

fn compare(unit: Unit, x: &[f32], bytes: &[u8], [rows, outputs, inputs]: [usize; 3]) {
    let weights = Weights::new(bytes, Stored::Bfloat16, outputs, inputs).unwrap();
    for is_rounded in [false, true] {
        let [found, expected] = [unit, Unit::emulated()].map(|unit| tiled(weights, None, unit, is_rounded, x, rows));
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{rows}x{outputs}x{inputs} {is_rounded} at {index}: {found:e} is not {expected:e}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let bytes = [0_u8; 24];
    let of = |stored, outputs| Weights::new(&bytes, stored, outputs, 3).unwrap();
    let unit = Unit::emulated();
    assert!(Linear::new(of(Stored::Float16, 4), None, unit, true).is_none());
    assert!(Linear::new(of(Stored::Float32, 2), None, unit, false).is_none());
    assert!(Linear::new(of(Stored::Bfloat16, 4), Some(&[0.0; 3]), unit, true).is_none());
    let linear = Linear::new(of(Stored::Bfloat16, 4), Some(&[0.0; 4]), unit, true).unwrap();
    let (x, mut y) = ([0.0; 12], [0.0; 8]);
    assert!(linear.call(Rows::new(&x, 2, 3, 3).unwrap(), RowsMut::new(&mut y, 2, 4, 4).unwrap()).is_some());
    assert!(linear.call(Rows::new(&x, 2, 3, 3).unwrap(), RowsMut::new(&mut y, 1, 4, 4).unwrap()).is_none());
    assert!(linear.call(Rows::new(&x, 2, 4, 4).unwrap(), RowsMut::new(&mut y, 2, 4, 4).unwrap()).is_none());
    let none = linear.call(Rows::new(&x, 0, 3, 3).unwrap(), RowsMut::new(&mut y, 0, 4, 4).unwrap()).unwrap();
    assert_eq!((none.blocks(), none.items()), (0, 0));
}

#[test]
fn a_product_in_bfloat16_is_found_for_each_path_that_has_one() {
    use crate::kernels::processor::Path;
    let (rows, outputs, inputs) = (18, 35, 67);
    let x = numbers(rows * inputs, 12);
    let (bytes, w) = stored(&numbers(outputs * inputs, 13), Stored::Bfloat16);
    let weights = Weights::new(&bytes, Stored::Bfloat16, outputs, inputs).unwrap();
    let x_rounded = &terms(&x, true)[0];
    for path in Path::possible() {
        let Some(product) = Product::new(weights, None, path, true) else {
            assert!(["avx512", "avx2"].contains(&path.name()), "{}", path.name());
            continue;
        };
        let mut y = vec![f32::NAN; rows * outputs];
        let to = RowsMut::new(&mut y, rows, outputs, outputs).unwrap();
        let each = |items: usize, run: &(dyn Fn(usize) + Sync)| {
            (0..items).for_each(run);
            Ok::<(), ()>(())
        };
        product.run(Rows::new(&x, rows, inputs, inputs).unwrap(), to, &each).unwrap().unwrap();
        for (index, &found) in y.iter().enumerate() {
            let (row, output) = (index / outputs, index % outputs);
            let pairs = x_rounded[row * inputs..][..inputs].iter().zip(&w[output * inputs..]);
            let exact: f64 = pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            assert!((f64::from(found) - exact).abs() < 1e-5, "{}: {found} is not {exact}", path.name());
        }
    }
}
