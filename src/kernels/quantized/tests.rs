//! Bits, accuracy and special values of the quantized product, on every multiplier of this processor, on emulated VNNI and on
//! emulated tiles beside it.

use super::block::{BLOCK, peak, rotate, step_size, to_steps};
use super::linear::Call;
use super::multiplier::Multiplier;
use super::weights::QuantizedMatrix;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::tests::numbers;

/// Rows, outputs and inputs with all kinds of tails.
const SHAPES: [(usize, usize, usize); 20] = [
    (1, 1, 1),
    (1, 33, 257),
    (2, 17, 770),
    (3, 65, 31),
    (4, 15, 1100),
    (5, 31, 512),
    (6, 32, 64),
    (7, 63, 33),
    (12, 64, 65),
    (13, 47, 259),
    (15, 16, 63),
    (16, 64, 64),
    (16, 33, 1),
    (17, 130, 15),
    (31, 1, 17),
    (33, 65, 384),
    (63, 16, 65),
    (64, 63, 16),
    (65, 17, 2100),
    (200, 9, 128),
];

fn matrix(values: &[f32], outputs: usize, inputs: usize, multiplier: Multiplier) -> QuantizedMatrix {
    let mut matrix = QuantizedMatrix::zeros(outputs, inputs, multiplier).unwrap();
    let each = QuantizedMatrix::OUTPUTS_AT_ONCE;
    for (index, rows) in values.chunks(each * inputs).enumerate() {
        matrix.fill(index * each, rows).unwrap();
    }
    matrix
}

/// All items of each step, the last first.
fn product(matrix: &QuantizedMatrix, bias: Option<&[f32]>, x: &[f32], rows: usize) -> Vec<f32> {
    let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
    let mut y = vec![7.0; rows * outputs];
    let to = RowsMut::new(&mut y, rows, outputs, outputs).unwrap();
    let call = Call::new(matrix, bias, Rows::new(x, rows, inputs, inputs).unwrap(), to).unwrap();
    // SAFETY: one thread; one item past the last, which computes nothing.
    unsafe {
        (0..=call.first_items()).rev().for_each(|item| call.first(item));
        (0..=call.items()).rev().for_each(|item| call.run(item));
    }
    y
}

/// Blocks of a row: step sizes and steps.
fn quantized(row: &[f32], are_weights: bool) -> Vec<(f32, [i8; BLOCK])> {
    let mut blocks = Vec::new();
    for part in row.chunks(BLOCK) {
        let mut values = [0.0; BLOCK];
        values[..part.len()].copy_from_slice(part);
        if are_weights {
            values = values.map(|value| value / BLOCK as f32);
        }
        rotate(&mut values);
        let mut size = step_size(peak(&values));
        if are_weights && !size.to_bits().is_multiple_of(0x10000) {
            size = f32::from_bits((size.to_bits() | 0xffff) + 1);
        }
        let mut steps = [0; BLOCK];
        to_steps(&values, size, &mut steps);
        blocks.push((size, steps));
    }
    blocks
}

/// The arithmetic that the module states, in 64-bit integers.
fn stated(x: &[(f32, [i8; BLOCK])], w: &[(f32, [i8; BLOCK])], bias: Option<f32>) -> f32 {
    let mut total = 0.0_f32;
    for ((size, x), (w_size, w)) in x.iter().zip(w) {
        let sum: i64 = x.iter().zip(w).map(|(x, w)| i64::from(*x) * i64::from(*w)).sum();
        total += sum as f32 * (w_size * size);
    }
    bias.map_or(total, |bias| total + bias)
}

#[test]
fn every_multiplier_computes_the_stated_arithmetic_to_the_bit() {
    let multipliers = Multiplier::possible();
    for (rows, outputs, inputs) in SHAPES {
        let (x, w, bias) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2), numbers(outputs, 3));
        let x_blocks: Vec<_> = x.chunks(inputs).map(|row| quantized(row, false)).collect();
        let w_blocks: Vec<_> = w.chunks(inputs).map(|row| quantized(row, true)).collect();
        for &multiplier in &multipliers {
            let matrix = matrix(&w, outputs, inputs, multiplier);
            for bias in [None, Some(bias.as_slice())] {
                for (index, y) in product(&matrix, bias, &x, rows).into_iter().enumerate() {
                    let (row, output) = (index / outputs, index % outputs);
                    let expected = stated(&x_blocks[row], &w_blocks[output], bias.map(|bias| bias[output]));
                    let place = format!("{} {rows}x{outputs}x{inputs} at {row}, {output}", multiplier.name());
                    assert_eq!(y.to_bits(), expected.to_bits(), "{place}: {y} is not {expected}");
                }
            }
        }
    }
}

#[test]
fn the_largest_steps_do_not_overflow() {
    // Rotated, equal values are one large one; a row of a Hadamard matrix has all values equal once rotated.
    let (rows, outputs, inputs) = (7, 33, 3 * BLOCK);
    let mut first = [0.0; BLOCK];
    first[0] = 1.0;
    for sign in [1.0, -1.0] {
        let x: Vec<f32> = first.repeat(3).repeat(rows);
        let w: Vec<f32> = first.map(|value| sign * value).repeat(3).repeat(outputs);
        for multiplier in Multiplier::possible() {
            let matrix = matrix(&w, outputs, inputs, multiplier);
            for y in product(&matrix, None, &x, rows) {
                assert!((y - sign * 3.0).abs() < 0.03, "{}: {y}", multiplier.name());
            }
        }
    }
}

#[test]
fn a_row_alone_has_the_bits_of_the_row_among_others() {
    let (most, outputs, inputs) = (26, 41, 603);
    let x = numbers(most * inputs, 4);
    for multiplier in Multiplier::possible() {
        let matrix = matrix(&numbers(outputs * inputs, 5), outputs, inputs, multiplier);
        let all = product(&matrix, None, &x, most);
        for rows in 1..most {
            assert_eq!(product(&matrix, None, &x[..rows * inputs], rows), all[..rows * outputs]);
        }
        for (row, x) in x.chunks(inputs).enumerate() {
            assert_eq!(product(&matrix, None, x, 1), all[row * outputs..][..outputs], "{}", multiplier.name());
        }
    }
}

#[test]
fn the_error_is_that_of_a_step() {
    for (rows, outputs, inputs) in [(3, 35, 3072), (14, 19, 1024), (14, 19, 129)] {
        let (x, w) = (numbers(rows * inputs, 8), numbers(outputs * inputs, 9));
        for multiplier in Multiplier::possible() {
            let y = product(&matrix(&w, outputs, inputs, multiplier), None, &x, rows);
            let (mut squared, mut size) = (0.0, 0.0);
            for (index, &y) in y.iter().enumerate() {
                let (row, output) = (index / outputs, index % outputs);
                let pairs = x[row * inputs..][..inputs].iter().zip(&w[output * inputs..]);
                let exact: f64 = pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                squared += (f64::from(y) - exact).powi(2);
                // The values are spread from -1 to 1.
                size += inputs as f64 / 9.0;
            }
            assert!((squared / size).sqrt() < 0.009, "{}: {}", multiplier.name(), (squared / size).sqrt());
        }
    }
}

#[test]
fn a_row_with_a_value_that_is_not_finite_is_nan_and_no_other() {
    let (rows, outputs, inputs) = (9, 37, 130);
    let w = numbers(outputs * inputs, 10);
    let clean = numbers(rows * inputs, 11);
    for multiplier in Multiplier::possible() {
        let matrix = matrix(&w, outputs, inputs, multiplier);
        let expected = product(&matrix, None, &clean, rows);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = clean.clone();
            x[4 * inputs + 129] = bad;
            for (index, y) in product(&matrix, None, &x, rows).into_iter().enumerate() {
                let is_bad = index / outputs == 4;
                assert!(if is_bad { y.is_nan() } else { y == expected[index] }, "{}", multiplier.name());
            }
        }
        // Sums of a block that are too large; and what is far too small, or nothing.
        assert!(product(&matrix, None, &vec![f32::MAX; inputs], 1).iter().all(|y| y.is_nan()));
        for little in [0.0, -0.0, f32::from_bits(1), 1e-33] {
            assert!(product(&matrix, None, &vec![little; inputs], 1).iter().all(|y| *y == 0.0));
        }
    }
}

#[test]
fn weights_that_are_not_finite_are_told_by_their_row() {
    for multiplier in Multiplier::possible() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut w = numbers(70 * 65, 12);
            w[67 * 65 + 64] = bad;
            let mut matrix = QuantizedMatrix::zeros(70, 65, multiplier).unwrap();
            assert_eq!(matrix.fill(0, &w[..64 * 65]), Ok(()));
            assert_eq!(matrix.fill(64, &w[64 * 65..]), Err(67));
        }
        let largest = vec![f32::MAX; 16 * BLOCK];
        assert!(product(&matrix(&largest, 16, BLOCK, multiplier), None, &[1e-30; BLOCK], 1)[15] > 1e9);
    }
}

#[test]
fn shapes_that_do_not_match_are_refused() {
    let multiplier = Multiplier::possible()[0];
    assert!(QuantizedMatrix::zeros(usize::MAX, 3, multiplier).is_none());
    let matrix = matrix(&[0.0; 6], 2, 3, multiplier);
    let (x, mut y) = ([0.0; 12], [0.0; 8]);
    let mut call = |rows: usize, width: usize, y_rows: usize, y_width: usize, bias: Option<&[f32]>| {
        let to = RowsMut::new(&mut y, y_rows, y_width, y_width).unwrap();
        Call::new(&matrix, bias, Rows::new(&x, rows, width, width).unwrap(), to).map(|call| call.items())
    };
    assert_eq!(call(4, 3, 4, 2, None), Some(1));
    assert_eq!(call(0, 3, 0, 2, None), Some(0));
    assert_eq!(call(3, 3, 4, 2, None), None);
    assert_eq!(call(4, 2, 4, 2, None), None);
    assert_eq!(call(4, 3, 4, 1, None), None);
    assert_eq!(call(4, 3, 4, 2, Some(&[0.0; 3])), None);
}

mod properties {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Rows of very different sizes, some of them of zeros.
    fn rows() -> impl Strategy<Value = (usize, Vec<f32>)> {
        let size = prop_oneof![Just(0.0_f32), Just(1e-20), Just(1.0), Just(1e15)];
        (1_usize..10, 1_usize..140).prop_flat_map(move |(count, inputs)| {
            let row = (size.clone(), vec(-1.0_f32..=1.0, inputs));
            let rows = vec(row.prop_map(|(size, row)| row.into_iter().map(|value| value * size).collect()), count);
            rows.prop_map(move |rows: Vec<Vec<f32>>| (inputs, rows.concat()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn steps_are_within_half_of_their_size_and_mirror((inputs, numbers) in rows()) {
            for row in numbers.chunks(inputs) {
                for are_weights in [false, true] {
                    let found = quantized(row, are_weights);
                    let mirrored = quantized(&row.iter().map(|value| -value).collect::<Vec<_>>(), are_weights);
                    for ((part, (size, steps)), (_, mirror)) in row.chunks(BLOCK).zip(&found).zip(&mirrored) {
                        prop_assert_eq!(steps.map(|step| -step), *mirror);
                        let mut values = [0.0; BLOCK];
                        values[..part.len()].copy_from_slice(part);
                        rotate(&mut values);
                        let factor = if are_weights { BLOCK as f64 } else { 1.0 };
                        for (value, step) in values.iter().zip(steps) {
                            prop_assert!(*step >= -127);
                            let error = f64::from(*step) * f64::from(*size) * factor - f64::from(*value);
                            prop_assert!(error.abs() <= 0.5001 * f64::from(*size) * factor, "{value} as {step}");
                        }
                        let most = steps.iter().map(|step| step.unsigned_abs()).max().unwrap();
                        prop_assert!(if *size > 0.0 { most >= 126 } else { most == 0 }, "{most}");
                    }
                }
            }
        }

        #[test]
        fn multipliers_agree(
            (inputs, x) in rows(), outputs in 1_usize..70, seed in 0_u64..1000,
        ) {
            let (w, rows) = (numbers(outputs * inputs, seed), x.len() / inputs);
            let all = Multiplier::possible().into_iter().map(|multiplier| {
                let y = product(&matrix(&w, outputs, inputs, multiplier), None, &x, rows);
                y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            });
            let all: Vec<_> = all.collect();
            prop_assert!(all.iter().all(|bits| *bits == all[0]));
        }
    }
}
