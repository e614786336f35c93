//! What AVX-512 VNNI does, in plain Rust: so that its layout of weights, its sums' beginnings and its tails are tested on
//! processors that do not have it. So are tiles beside it.

use super::block::BLOCK;
use super::integers::{InTiles, Integers};
use super::portable::in_arrays;
use crate::kernels::tiles::emulation;

/// Plain Rust with the shapes of AVX-512 VNNI.
pub(super) struct Emulated;

impl Integers for Emulated {
    type Activation = i8;
    type Weights = [[u8; 4]; 32];
    const GROUP: usize = 4;
    const OFFSET: u8 = 128;

    in_arrays!(32);

    unsafe fn weights(from: *const u8) -> Self::Weights {
        // SAFETY: the trait's: 128 bytes.
        unsafe { from.cast::<Self::Weights>().read() }
    }

    unsafe fn multiply_add(x: *const i8, weights: Self::Weights, mut sums: Self::Sums) -> Self::Sums {
        // SAFETY: the trait's: four activations.
        let x = unsafe { x.cast::<[i8; 4]>().read() };
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum += weights.into_iter().zip(x).map(|(weight, x)| i32::from(weight) * i32::from(x)).sum::<i32>();
        }
        sums
    }
}

impl InTiles for Emulated {
    type Tiles = emulation::Emulated;

    unsafe fn sums(from: *const i32, more: i32) -> Self::Sums {
        // SAFETY: the trait's: 32 integers.
        unsafe { from.cast::<Self::Sums>().read() }.map(|sum| sum + more)
    }
}
