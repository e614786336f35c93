//! Tests of the kernels on every path of this processor, and what they share.

mod activation;
mod agreement;
mod attention;
mod bounds;
mod linear;
mod pairs;
mod speed;
mod tiles;

use std::convert::Infallible;

use half::{bf16, f16};

use super::linear::Linear;
use super::processor::Path;
use super::rows::{Rows, RowsMut};
use super::weights::{Stored, Weights};

const ALL_STORED: [Stored; 3] = [Stored::Float32, Stored::Float16, Stored::Bfloat16];

/// Numbers from -1 to 1 that are the same in each run (splitmix64).
pub(super) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed << 32;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Numbers as a checkpoint stores them, and what they are after rounding.
fn stored(values: &[f32], stored: Stored) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = Vec::new();
    let mut rounded = Vec::new();
    for &value in values {
        match stored {
            Stored::Float32 => {
                bytes.extend(value.to_le_bytes());
                rounded.push(value);
            }
            Stored::Float16 => {
                bytes.extend(f16::from_f32(value).to_le_bytes());
                rounded.push(f16::from_f32(value).to_f32());
            }
            Stored::Bfloat16 => {
                bytes.extend(bf16::from_f32(value).to_le_bytes());
                rounded.push(bf16::from_f32(value).to_f32());
            }
        }
    }
    (bytes, rounded)
}

/// All items, one after the other, the last first.
fn product(weights: Weights<'_>, bias: Option<&[f32]>, path: Path, x: &[f32], rows: usize) -> Vec<f32> {
    let mut y = vec![f32::NAN; rows * weights.outputs()];
    let linear = Linear::new(weights, bias, path).unwrap();
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    let x = Rows::new(x, rows, inputs, inputs).unwrap();
    let mut room = Vec::new();
    let in_turn = |items: usize, run: &(dyn Fn(usize) + Sync)| {
        (0..items).rev().for_each(run);
        Ok::<(), Infallible>(())
    };
    let Ok(x) = x.apart(&mut room, &in_turn).unwrap();
    let call = linear.call(x, RowsMut::new(&mut y, rows, outputs, outputs).unwrap()).unwrap();
    for item in (0..call.items()).rev() {
        // SAFETY: one thread.
        unsafe { call.run(item) };
    }
    y
}
