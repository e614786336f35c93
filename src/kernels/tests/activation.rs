//! Activations: accuracy, bits, tails, special values.

use super::numbers;
use crate::kernels::activation::{Activation, Function};
use crate::kernels::processor::Path;
use crate::kernels::rows::{Rows, RowsMut};

const ALL: [Function; 3] = [Function::Gelu, Function::GeluTanh, Function::Silu];

fn run(function: Function, path: Path, width: usize, [x, bias, factor]: [Option<&[f32]>; 3]) -> Vec<f32> {
    let x = x.unwrap();
    let rows = x.len() / width;
    let mut y = vec![7.0; x.len()];
    let shaped = |values| Rows::new(values, rows, width, width).unwrap();
    let to = RowsMut::new(&mut y, rows, width, width).unwrap();
    let run = Activation::new(function, shaped(x), bias, factor.map(shaped), to, path).unwrap();
    // SAFETY: one thread; one item past the last, which computes nothing.
    (0..=run.items()).rev().for_each(|item| unsafe { run.run(item) });
    y
}

/// In float64: the normal distribution by Simpson's rule.
fn exact(function: Function, x: f64) -> f64 {
    let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let below = |x: f64| {
        let (steps, from) = (4000, -12.0_f64);
        let step = (x - from) / f64::from(steps);
        let weights = (0..=steps).map(|at| (at, if at % steps == 0 { 1.0 } else { f64::from(2 + 2 * (at % 2)) }));
        weights.map(|(at, weight)| weight * density(from + f64::from(at) * step)).sum::<f64>() * step / 3.0
    };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match function {
        Function::Gelu => x * below(x),
        Function::GeluTanh => x * sigmoid((8.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)),
        Function::Silu => x * sigmoid(x),
    }
}

#[test]
fn the_error_is_that_of_float32() {
    let x: Vec<f32> = (-2400..=2400).map(|at| at as f32 / 200.0).collect();
    for function in ALL {
        let y = run(function, Path::portable(), 7, [Some(&x[..4795]), None, None]);
        for (x, y) in x.iter().zip(y) {
            let error = (f64::from(y) - exact(function, f64::from(*x))).abs();
            assert!(error <= 2.5e-7 * f64::from(x.abs()).max(1e-3), "{function:?} of {x}: {y}, {error:e} off");
        }
    }
}

#[test]
fn every_path_has_the_same_bits_whatever_the_width() {
    for width in [1, 7, 8, 15, 16, 17, 33, 400] {
        let wide: Vec<f32> = numbers(50 * width, 21).into_iter().map(|value| 9.0 * value).collect();
        let (bias, factor) = (numbers(width, 22), numbers(50 * width, 23));
        for function in ALL {
            let all = [Some(&wide[..]), Some(&bias[..]), Some(&factor[..])];
            let expected = run(function, Path::portable(), width, all);
            let biased: Vec<f32> =
                wide.chunks(width).flat_map(|row| row.iter().zip(&bias).map(|(x, b)| x + b)).collect();
            let plain = run(function, Path::portable(), 1, [Some(&biased), None, None]);
            let product: Vec<f32> = plain.iter().zip(&factor).map(|(y, factor)| y * factor).collect();
            assert_eq!(expected, product, "{function:?} {width}");
            for path in Path::possible() {
                let found = run(function, path, width, all);
                assert_eq!(found, expected, "{} {function:?} {width}", path.name());
            }
        }
    }
}

#[test]
fn special_values() {
    let x = [0.0, -0.0, 1e-42, -1e-42, f32::MAX, f32::MIN, 1e20, -1e20, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for path in Path::possible() {
        for function in ALL {
            let y = run(function, path, x.len(), [Some(&x), None, None]);
            let place = format!("{} {function:?} {y:?}", path.name());
            assert!(y[..2] == [0.0; 2] && y[2].abs() <= 1e-42 && y[3].abs() <= 1e-42, "{place}");
            assert_eq!(y[4..8], [f32::MAX, 0.0, 1e20, 0.0], "{place}");
            assert!(y[8].is_nan() && y[10].is_nan(), "{place}");
            let is_right = match function {
                Function::Gelu => y[9].is_nan(),
                Function::GeluTanh | Function::Silu => y[9] == f32::INFINITY,
            };
            assert!(is_right, "{place}");
        }
    }
}

#[test]
fn shapes_that_do_not_match_are_refused() {
    let (x, mut y) = ([0.0; 12], [0.0; 12]);
    let shaped = |rows, width| Rows::new(&x, rows, width, width).unwrap();
    let mut fits = |bias: Option<&[f32]>, factor, rows, width| {
        let to = RowsMut::new(&mut y, rows, width, width).unwrap();
        Activation::new(Function::Silu, shaped(3, 4), bias, factor, to, Path::portable()).is_some()
    };
    assert!(fits(Some(&[0.0; 4]), Some(shaped(3, 4)), 3, 4));
    assert!(!fits(Some(&[0.0; 3]), None, 3, 4) && !fits(None, Some(shaped(4, 3)), 3, 4));
    assert!(!fits(None, None, 4, 3) && !fits(None, None, 2, 4));
}
