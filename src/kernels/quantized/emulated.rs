//! What AVX-512 VNNI does, in plain Rust: so that its layout of weights, its sums' beginnings and its tails are tested on
//! processors that do not have it.

use super::block::{BLOCK, rotate};
use super::integers::Integers;
use super::portable::{add_scaled, sizes};

/// Plain Rust with the shapes of AVX-512 VNNI.
pub(super) struct Emulated;

const OUTPUTS: usize = 32;

impl Integers for Emulated {
    type Activation = i8;
    type Weights = [[u8; 4]; OUTPUTS];
    type Sums = [i32; OUTPUTS];
    type Floats = [f32; OUTPUTS];
    const OUTPUTS: usize = OUTPUTS;
    const GROUP: usize = 4;
    const OFFSET: u8 = 128;

    unsafe fn rotate(values: &mut [f32; BLOCK]) {
        rotate(values);
    }

    unsafe fn all(value: i32) -> [i32; OUTPUTS] {
        [value; OUTPUTS]
    }

    unsafe fn weights(from: *const u8) -> [[u8; 4]; OUTPUTS] {
        // SAFETY: the trait's: 128 bytes.
        unsafe { from.cast::<[[u8; 4]; OUTPUTS]>().read() }
    }

    unsafe fn multiply_add(x: *const i8, weights: [[u8; 4]; OUTPUTS], mut sums: [i32; OUTPUTS]) -> [i32; OUTPUTS] {
        // SAFETY: the trait's: four activations.
        let x = unsafe { x.cast::<[i8; 4]>().read() };
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum += weights.into_iter().zip(x).map(|(weight, x)| i32::from(weight) * i32::from(x)).sum::<i32>();
        }
        sums
    }

    unsafe fn zeros() -> [f32; OUTPUTS] {
        [0.0; OUTPUTS]
    }

    unsafe fn sizes(from: *const u8) -> [f32; OUTPUTS] {
        // SAFETY: the trait's.
        unsafe { sizes(from) }
    }

    unsafe fn add_scaled(
        total: [f32; OUTPUTS],
        sums: [i32; OUTPUTS],
        sizes: [f32; OUTPUTS],
        size: f32,
    ) -> [f32; OUTPUTS] {
        add_scaled(total, sums, sizes, size)
    }

    unsafe fn store(to: *mut f32, values: [f32; OUTPUTS]) {
        // SAFETY: the trait's: room for as many values.
        unsafe { to.cast::<[f32; OUTPUTS]>().write_unaligned(values) }
    }
}
