//! Products over pairs of bfloat16, with the instruction's addition in plain Rust.
#![cfg(target_arch = "x86_64")]

use super::{numbers, stored};
use crate::kernels::lanes::{Lanes, Work};
use crate::kernels::linear::Call;
use crate::kernels::pairs::{Avx512Pairs, Linear, item, lanes_of_pairs};
use crate::kernels::portable::Portable;
use crate::kernels::processor::Path;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::weights::{Stored, Weights};

/// Computes an item.
pub(super) type Run = unsafe fn(&Call<'_>, usize);

/// VDPBF16PS, but for denormal numbers.
struct PortablePairs;

lanes_of_pairs!(PortablePairs, Portable, multiply_add);

unsafe fn multiply_add(mut sum: [f32; 8], left: [f32; 8], right: [f32; 8]) -> [f32; 8] {
    let halves = |word: f32| [word.to_bits() & 0xffff_0000, word.to_bits() << 16].map(f32::from_bits);
    for lane in 0..8 {
        for (left, right) in halves(left[lane]).into_iter().zip(halves(right[lane])) {
            sum[lane] += left * right;
        }
    }
    sum
}

/// What can be run here.
pub(super) fn runs() -> Vec<(Path, Run)> {
    let mut runs: Vec<(Path, Run)> = vec![(Path::portable(), item::<PortablePairs>)];
    if is_x86_feature_detected!("avx512bf16") {
        runs.extend(
            Path::possible()
                .into_iter()
                .filter(|path| path.name() == "avx512")
                .map(|path| (path, item::<Avx512Pairs> as _)),
        );
    } else {
        eprintln!("the instruction was not run: this processor has no AVX512-BF16");
    }
    runs
}

pub(super) fn product(weights: Weights<'_>, bias: &[f32], path: Path, run: Run, x: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    let rows = x.len() / inputs;
    let mut y = vec![f32::NAN; rows * outputs];
    let to = RowsMut::new(&mut y, rows, outputs, outputs).unwrap();
    let each = |items: usize, run: &(dyn Fn(usize) + Sync)| {
        (0..items).rev().for_each(run);
        Ok::<(), ()>(())
    };
    let linear = Linear::new(weights, Some(bias), path).unwrap();
    linear.run(Rows::new(x, rows, inputs, inputs).unwrap(), to, &each, run).unwrap().unwrap();
    y
}

/// Sums over chunks of 256 pairs, of each pair the odd input first, in the order of the pairs; then those in turn.
fn stated(x: &[f32], w: &[f32], bias: f32) -> f32 {
    let mut total = None;
    for (x, w) in x.chunks(512).zip(w.chunks(512)) {
        let mut sum = 0.0_f32;
        for (x, w) in x.chunks(2).zip(w.chunks(2)) {
            x.iter().zip(w).rev().for_each(|(x, w)| sum += half::bf16::from_f32(*x).to_f32() * w);
        }
        total = Some(total.map_or(sum, |total: f32| total + sum));
    }
    total.unwrap() + bias
}

#[test]
fn every_cut_computes_the_stated_arithmetic_to_the_bit() {
    for (path, run) in runs() {
        for (rows, outputs, inputs) in [
            (1, 1, 1),
            (1, 33, 65),
            (2, 17, 31),
            (5, 63, 33),
            (12, 15, 1100),
            (13, 65, 63),
            (17, 31, 514),
            (200, 9, 16),
        ] {
            let x = numbers(rows * inputs, 1);
            let (bytes, w) = stored(&numbers(outputs * inputs, 2), Stored::Bfloat16);
            let bias = numbers(outputs, 3);
            let weights = Weights::new(&bytes, Stored::Bfloat16, outputs, inputs).unwrap();
            let y = product(weights, &bias, path, run, &x);
            for (index, y) in y.into_iter().enumerate() {
                let (row, output) = (index / outputs, index % outputs);
                let expected = stated(&x[row * inputs..][..inputs], &w[output * inputs..][..inputs], bias[output]);
                let place = format!("{} {rows}x{outputs}x{inputs} at {row}, {output}", path.name());
                assert_eq!(y.to_bits(), expected.to_bits(), "{place}: {y} is not {expected}");
            }
        }
    }
}

#[test]
fn other_weights_are_refused() {
    let bytes = [0_u8; 24];
    for (stored, fits) in [(Stored::Bfloat16, true), (Stored::Float16, false)] {
        let weights = Weights::new(&bytes, stored, 4, 3).unwrap();
        assert_eq!(Linear::new(weights, None, Path::portable()).is_some(), fits);
        assert!(Linear::new(weights, Some(&[0.0; 3]), Path::portable()).is_none());
    }
}
