//! The innermost product: one or two blocks of 16 outputs by one or two of 16 rows, over all inputs.

use super::activations::Activations;
use super::{BYTES, INPUTS, ROWS, Tiles, left as weights, right as activations, sums};
use crate::kernels::lanes::Lanes;
use crate::kernels::panel::CHUNK;
use crate::kernels::rows::{Rows, RowsMut, Sums};
use crate::kernels::weights::Weights;

/// How far ahead of their use weights are asked for, in bytes of each row: with two blocks of outputs, 16 KiB in all.
const AHEAD: usize = 512;

/// A tile in memory.
#[repr(align(64))]
struct Copied([u8; ROWS * BYTES]);

/// What a product is made of.
#[derive(Debug)]
pub(super) struct Operands<'a> {
    pub(super) weights: Weights<'a>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) x: Rows<'a>,
    pub(super) activations: Activations,
    pub(super) y: RowsMut<'a>,
}

/// Where a product begins: its first output and its first block of rows; and how many outputs each block has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) output: usize,
    pub(super) block: usize,
    pub(super) outputs: [usize; 2],
}

/// Computes `OUTPUTS` blocks of outputs by `BLOCKS` blocks of rows.
///
/// # Safety
/// [`Tiles`]', configured for the place; weights are bfloat16; the blocks are there, their activations have been
/// filled, and no other thread uses their part of `y` now.
#[inline(always)]
pub(super) unsafe fn product<T: Tiles, const TERMS: usize, const OUTPUTS: usize, const BLOCKS: usize>(
    tiles: &mut T,
    operands: &Operands<'_>,
    place: Place,
) {
    let matrix = &operands.weights;
    let (stride, inputs) = (matrix.stride(), matrix.inputs());
    let whole = inputs / INPUTS;
    let rows = [0, 1].map(|block| operands.activations.rows_of(place.block + block));
    let first = [0, 1].map(|block| operands.activations.block(place.block + block.min(BLOCKS - 1)));
    let starts = [0, 1].map(|block| matrix.at(place.output + ROWS * block.min(OUTPUTS - 1), 0));
    // SAFETY: the caller's; whole steps of rows that are there, the last one from a copy.
    unsafe {
        tiles.clear::<{ sums(0, 0) }>();
        if BLOCKS == 2 {
            tiles.clear::<{ sums(0, 1) }>();
        }
        if OUTPUTS == 2 {
            tiles.clear::<{ sums(1, 0) }>();
        }
        if OUTPUTS == 2 && BLOCKS == 2 {
            tiles.clear::<{ sums(1, 1) }>();
        }
        for step in 0..whole {
            let from = starts.map(|start| start.wrapping_add(step * BYTES));
            if BLOCKS == 1 {
                ask::<T>(from[0], place.outputs[0], stride, step * BYTES, OUTPUTS * ROWS);
                if OUTPUTS == 2 {
                    ask::<T>(from[1], place.outputs[1], stride, step * BYTES, OUTPUTS * ROWS);
                }
            }
            multiply::<T, TERMS, OUTPUTS, BLOCKS>(tiles, from, stride, first, rows, step);
        }
        if whole * INPUTS < inputs {
            let last = [0, 1].map(|block: usize| {
                copied(starts[block].wrapping_add(whole * BYTES), place.outputs[block], stride, 2 * (inputs % INPUTS))
            });
            let from = [last[0].0.as_ptr(), last[1].0.as_ptr()];
            multiply::<T, TERMS, OUTPUTS, BLOCKS>(tiles, from, BYTES, first, rows, whole);
        }
        finish::<T, TERMS, { sums(0, 0) }>(tiles, operands, place, [0, 0]);
        if BLOCKS == 2 {
            finish::<T, TERMS, { sums(0, 1) }>(tiles, operands, place, [0, 1]);
        }
        if OUTPUTS == 2 {
            finish::<T, TERMS, { sums(1, 0) }>(tiles, operands, place, [1, 0]);
        }
        if OUTPUTS == 2 && BLOCKS == 2 {
            finish::<T, TERMS, { sums(1, 1) }>(tiles, operands, place, [1, 1]);
        }
    }
}

/// Adds the products of one step of the inputs, the largest terms first.
#[inline(always)]
unsafe fn multiply<T: Tiles, const TERMS: usize, const OUTPUTS: usize, const BLOCKS: usize>(
    tiles: &mut T,
    from: [*const u8; 2],
    stride: usize,
    first: [*const u8; 2],
    rows: [usize; 2],
    step: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        tiles.load::<{ weights(0) }>(from[0], stride);
        if OUTPUTS == 2 {
            tiles.load::<{ weights(1) }>(from[1], stride);
        }
        for term in 0..TERMS {
            let tile = |block: usize| first[block].wrapping_add((step * TERMS + term) * rows[block] * BYTES);
            tiles.load::<{ activations(0) }>(tile(0), 4 * rows[0]);
            tiles.multiply::<{ sums(0, 0) }, { weights(0) }, { activations(0) }>();
            if BLOCKS == 2 {
                tiles.load::<{ activations(1) }>(tile(1), 4 * rows[1]);
                tiles.multiply::<{ sums(0, 1) }, { weights(0) }, { activations(1) }>();
            }
            if OUTPUTS == 2 {
                tiles.multiply::<{ sums(1, 0) }, { weights(1) }, { activations(0) }>();
            }
            if OUTPUTS == 2 && BLOCKS == 2 {
                tiles.multiply::<{ sums(1, 1) }, { weights(1) }, { activations(1) }>();
            }
        }
    }
}

/// Asks for the weights of some rows ahead of their use; past the end of a row, for those of the next blocks.
#[inline(always)]
unsafe fn ask<T: Tiles>(from: *const u8, rows: usize, stride: usize, at: usize, outputs: usize) {
    let ahead = if at + AHEAD < stride { AHEAD } else { AHEAD + (outputs - 1) * stride };
    for row in 0..rows {
        // SAFETY: the caller's; the address need not be mapped.
        unsafe { <T::Lanes as Lanes>::prefetch(from.wrapping_add(row * stride + ahead)) };
    }
}

/// The first bytes of some rows, as a tile; zeros behind them.
fn copied(from: *const u8, rows: usize, stride: usize, count: usize) -> Copied {
    let mut tile = Copied([0; ROWS * BYTES]);
    for (row, to) in tile.0.chunks_exact_mut(BYTES).take(rows).enumerate() {
        // SAFETY: the rows' bytes are there, as the only caller says; they fit.
        unsafe { from.add(row * stride).copy_to_nonoverlapping(to.as_mut_ptr(), count) };
    }
    tile
}

/// Takes the sums of a block of outputs and one of rows out of their tile, and writes them with the bias.
#[inline(always)]
unsafe fn finish<T: Tiles, const TERMS: usize, const TILE: usize>(
    tiles: &T,
    operands: &Operands<'_>,
    place: Place,
    [of_outputs, of_rows]: [usize; 2],
) {
    let (output, row) = (place.output + ROWS * of_outputs, ROWS * (place.block + of_rows));
    let rows = operands.activations.rows_of(place.block + of_rows);
    let to = Sums { to: &operands.y, bias: operands.bias, is_first: true, is_last: true };
    // A row for each output.
    let mut taken = [[0.0_f32; ROWS]; ROWS];
    let width = <T::Lanes as Lanes>::WIDTH;
    // SAFETY: the caller's; the array holds the largest tile, and nothing past the width of `y` is written.
    unsafe {
        tiles.store::<TILE>(taken.as_mut_ptr().cast(), BYTES);
        // With one term, what is not finite is what it is.
        if TERMS > 1 && taken.as_flattened().iter().fold(false, |any, sum| any | !sum.is_finite()) {
            mend(&mut taken, operands, output, row);
        }
        for group in (0..rows).step_by(4) {
            for first in (0..place.outputs[of_outputs]).step_by(width) {
                let from = taken.as_ptr().cast::<u8>().add(first * BYTES + 4 * group);
                let words = T::Lanes::words(from, BYTES);
                for word in 0..(rows - group).min(4) {
                    to.put::<T::Lanes>(row + group + word, output + first, words[word]);
                }
            }
        }
    }
}

/// Computes sums that are not finite again, as [`linear`](super::super::linear) adds them up: of infinite activations and
/// weights, terms of them are no numbers.
#[cold]
fn mend(taken: &mut [[f32; ROWS]; ROWS], operands: &Operands<'_>, output: usize, row: usize) {
    for (output, taken) in (output..operands.weights.outputs()).zip(taken) {
        for (row, sum) in (row..operands.x.rows).zip(taken) {
            if !sum.is_finite() {
                *sum = in_order(&operands.x, &operands.weights, row, output);
            }
        }
    }
}

/// A sum over chunks of the inputs, each added in the order of the inputs with one rounding per step.
fn in_order(x: &Rows<'_>, weights: &Weights<'_>, row: usize, output: usize) -> f32 {
    let mut total = None;
    for input in (0..weights.inputs()).step_by(CHUNK) {
        let mut sum = 0.0_f32;
        for input in input..weights.inputs().min(input + CHUNK) {
            // SAFETY: the row, the output and the input are there, as the only caller says; weights are bfloat16.
            let (x, weight) = unsafe { (*x.at(row, input), weights.at(output, input).cast::<[u8; 2]>().read()) };
            sum = x.mul_add(half::bf16::from_le_bytes(weight).to_f32(), sum);
        }
        total = Some(total.map_or(sum, |total: f32| total + sum));
    }
    total.unwrap_or(0.0)
}
