//! Bits, accuracy and special values of the product.

use super::{ALL_STORED, numbers, product, stored};
use crate::kernels::linear::Linear;
use crate::kernels::panel::CHUNK;
use crate::kernels::processor::Path;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::weights::{Stored, Weights};

/// Rows, outputs and inputs with all kinds of tails.
const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (1, 33, 257),
    (2, 17, 770),
    (3, 65, 31),
    (4, 15, 1100),
    (5, 31, 512),
    (7, 63, 33),
    (12, 64, 65),
    (13, 47, 259),
    (19, 16, 63),
    (193, 9, 17),
    (200, 65, 15),
];

/// The arithmetic that the kernel states, one sum at a time.
pub(super) fn stated(x: &[f32], w: &[f32], bias: f32) -> f32 {
    let mut total = None;
    for (x, w) in x.chunks(CHUNK).zip(w.chunks(CHUNK)) {
        let sum = x.iter().zip(w).fold(0.0, |sum, (x, w): (&f32, &f32)| x.mul_add(*w, sum));
        total = Some(total.map_or(sum, |total: f32| total + sum));
    }
    total.unwrap() + bias
}

#[test]
fn every_path_computes_the_stated_arithmetic_to_the_bit() {
    for path in Path::possible() {
        for kind in ALL_STORED {
            for (rows, outputs, inputs) in SHAPES {
                let x = numbers(rows * inputs, 1);
                let (bytes, w) = stored(&numbers(outputs * inputs, 2), kind);
                let bias = numbers(outputs, 3);
                let weights = Weights::new(&bytes, kind, outputs, inputs).unwrap();
                let y = product(weights, Some(&bias), path, &x, rows);
                for (index, y) in y.into_iter().enumerate() {
                    let (row, output) = (index / outputs, index % outputs);
                    let (x, w) = (&x[row * inputs..][..inputs], &w[output * inputs..][..inputs]);
                    let expected = stated(x, w, bias[output]);
                    let place = format!("{} {kind:?} {rows}x{outputs}x{inputs} at {row}, {output}", path.name());
                    assert_eq!(y.to_bits(), expected.to_bits(), "{place}: {y} is not {expected}");
                }
            }
        }
    }
}

#[test]
fn a_row_alone_has_the_bits_of_the_row_among_others() {
    let (most, outputs, inputs) = (26, 41, 603);
    let x = numbers(most * inputs, 4);
    for path in Path::possible() {
        for kind in ALL_STORED {
            let (bytes, _) = stored(&numbers(outputs * inputs, 5), kind);
            let weights = Weights::new(&bytes, kind, outputs, inputs).unwrap();
            let all = product(weights, None, path, &x, most);
            for rows in 1..most {
                let some = product(weights, None, path, &x[..rows * inputs], rows);
                assert_eq!(some, all[..rows * outputs], "{} {kind:?} {rows} rows", path.name());
            }
        }
    }
}

#[test]
fn rows_may_lie_apart_and_what_is_between_them_stays() {
    let (rows, outputs, inputs) = (14, 21, 37);
    let x = numbers(rows * 40, 6);
    let (bytes, _) = stored(&numbers(outputs * inputs, 7), Stored::Float32);
    let weights = Weights::new(&bytes, Stored::Float32, outputs, inputs).unwrap();
    let close: Vec<f32> = x.chunks(40).flat_map(|row| row[3..].to_owned()).collect();
    for path in Path::possible() {
        let expected = product(weights, None, path, &close, rows);
        let mut y = vec![7.0; (rows - 1) * 30 + outputs];
        let to = RowsMut::new(&mut y, rows, outputs, 30).unwrap();
        let call = Linear::new(weights, None, path).unwrap().call(Rows::new(&x[3..], rows, inputs, 40).unwrap(), to);
        let call = call.unwrap();
        // SAFETY: one thread; one item past the last, which computes nothing.
        (0..=call.items()).for_each(|item| unsafe { call.run(item) });
        for (row, y) in y.chunks(30).enumerate() {
            assert_eq!(y[..outputs], expected[row * outputs..][..outputs]);
            assert!(y[outputs..].iter().all(|&between| between == 7.0));
        }
    }
}

#[test]
fn shapes_that_do_not_match_are_refused() {
    let bytes = [0_u8; 24];
    assert!(Weights::new(&bytes, Stored::Float32, 2, 3).is_some());
    assert!(Weights::new(&bytes, Stored::Bfloat16, 2, 3).is_none());
    assert!(Weights::new(&bytes, Stored::Float32, usize::MAX, 3).is_none());
    assert!(Weights::new(&[], Stored::Float32, 0, 3).is_none());
    let weights = Weights::new(&bytes, Stored::Float32, 2, 3).unwrap();
    assert!(Linear::new(weights, Some(&[0.0; 3]), Path::portable()).is_none());
    let linear = Linear::new(weights, Some(&[0.0; 2]), Path::portable()).unwrap();
    let (x, mut y) = ([0.0; 12], [0.0; 8]);
    assert!(Rows::new(&x, 4, 3, 4).is_none() && Rows::new(&x, 4, 4, 3).is_none());
    assert!(Rows::new(&x, usize::MAX, 3, usize::MAX).is_none());
    assert!(linear.call(Rows::new(&x, 4, 3, 3).unwrap(), RowsMut::new(&mut y, 4, 2, 2).unwrap()).is_some());
    assert!(linear.call(Rows::new(&x, 3, 3, 3).unwrap(), RowsMut::new(&mut y, 4, 2, 2).unwrap()).is_none());
    assert!(linear.call(Rows::new(&x, 4, 2, 2).unwrap(), RowsMut::new(&mut y, 4, 2, 2).unwrap()).is_none());
    let none = linear.call(Rows::new(&x, 0, 3, 3).unwrap(), RowsMut::new(&mut y, 0, 2, 2).unwrap()).unwrap();
    assert_eq!(none.items(), 0);
}

#[test]
fn the_error_against_float64_is_that_of_float32() {
    let mut largest = 0.0_f64;
    for path in Path::possible() {
        for (rows, outputs, inputs) in [(2, 35, 3072), (14, 19, 1024), (14, 19, 129)] {
            let x = numbers(rows * inputs, 8);
            let (bytes, w) = stored(&numbers(outputs * inputs, 9), Stored::Bfloat16);
            let weights = Weights::new(&bytes, Stored::Bfloat16, outputs, inputs).unwrap();
            let y = product(weights, None, path, &x, rows);
            for (index, &y) in y.iter().enumerate() {
                let (row, output) = (index / outputs, index % outputs);
                let pairs = x[row * inputs..][..inputs].iter().zip(&w[output * inputs..]);
                let pairs = pairs.map(|(&x, &w)| (f64::from(x), f64::from(w)));
                let (exact, x2, w2) =
                    pairs.fold((0.0, 0.0, 0.0), |(exact, x2, w2), (x, w)| (exact + x * w, x2 + x * x, w2 + w * w));
                largest = largest.max((f64::from(y) - exact).abs() / (x2 * w2).sqrt());
            }
        }
    }
    assert!(largest < 1e-7, "{largest}");
}

#[test]
fn special_values_are_those_of_the_stated_arithmetic() {
    let tiny = f32::from_bits(1);
    let special = [0.0, -0.0, tiny, -tiny, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let (rows, outputs, inputs) = (special.len(), special.len() + 17, 9);
    let mut values = numbers(outputs * inputs, 10);
    for (output, &special) in special.iter().enumerate() {
        values[output * inputs + output % inputs] = special;
    }
    let mut x = numbers(rows * inputs, 11);
    for (row, &special) in special.iter().enumerate() {
        x[row * inputs + (row + 1) % inputs] = special;
    }
    // A row of zeros and weights of zeros with a sign.
    x[..inputs].fill(-0.0);
    values[..inputs].fill(0.0);
    for path in Path::possible() {
        for kind in ALL_STORED {
            let (bytes, w) = stored(&values, kind);
            let weights = Weights::new(&bytes, kind, outputs, inputs).unwrap();
            for count in [1, 5, rows] {
                let y = product(weights, None, path, &x[..count * inputs], count);
                let all = [x.clone(), x.clone()].concat();
                let wide = product(weights, None, path, &all, 2 * rows);
                for (index, &y) in y.iter().enumerate() {
                    let (row, output) = (index / outputs, index % outputs);
                    let expected = stated(&x[row * inputs..][..inputs], &w[output * inputs..][..inputs], -0.0);
                    let same = |y: f32| y.to_bits() == expected.to_bits() || (y.is_nan() && expected.is_nan());
                    assert!(same(y) && same(wide[index]), "{} {kind:?} {row} {output}: {y} {expected}", path.name());
                }
            }
        }
    }
}
