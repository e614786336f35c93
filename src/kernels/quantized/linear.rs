//! The product of rows with a quantized matrix, in two steps that each any threads may share: the activations are quantized,
//! then multiplied. Between the two all threads must be done with the first.

use std::ops::Range;

use super::activations::Activations;
use super::block::BLOCK;
use super::integers::{Integers, MOST_OUTPUTS};
use super::multiplier::{Kind, Multiplier, with_integers};
use super::operands::{Operands, equal_share, put};
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
use super::tiles;
use super::weights::{QuantizedMatrix, block_bytes};
use crate::kernels::rows::{Rows, RowsMut};

/// Rows of a tile at most: with two vectors of outputs, twelve sums.
const TILE: usize = 6;

/// Rows that are quantized at once.
const QUANTIZED: usize = 24;

/// Activations of an item of the product at most: in 16 bits, half of a small L2 cache.
const ACTIVATIONS: usize = 128 * 1024;

/// Outputs of an item: a multiple of every panel's.
const OUTPUTS: usize = 2 * MOST_OUTPUTS;

/// Multiplies some rows by some outputs, from the beginning of a panel on; unsafe for the reasons of [`multiply`].
type Item = unsafe fn(&Operands<'_>, Range<usize>, Range<usize>);

/// One run of a product.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    operands: Operands<'a>,
    rows_per_item: usize,
}

/// # Safety
/// [`Integers`]'.
unsafe fn room<I: Integers>(rows: usize, inputs: usize) -> Option<Activations> {
    Activations::room::<I>(rows, inputs)
}

impl<'a> Call<'a> {
    /// A run, or nothing where the shapes do not match or there is no memory for the rows in steps.
    pub(crate) fn new(
        matrix: &'a QuantizedMatrix,
        bias: Option<&'a [f32]>,
        x: Rows<'a>,
        y: RowsMut<'a>,
    ) -> Option<Self> {
        let (rows, inputs) = (x.rows, matrix.inputs());
        let matches = rows == y.rows && x.width == inputs && y.width == matrix.outputs();
        (matches && bias.is_none_or(|bias| bias.len() == matrix.outputs())).then_some(())?;
        // SAFETY: the multiplier is the proof.
        let activations =
            unsafe { with_integers!(matrix.multiplier(), room(rows: usize, inputs: usize) -> Option<Activations>) }?;
        // Equal shares, so that no thread waits for the longest.
        let shares = rows.saturating_mul(inputs).div_ceil(ACTIVATIONS).max(1);
        let rows_per_item = rows.div_ceil(shares).next_multiple_of(TILE).max(1);
        Some(Call { operands: Operands { matrix, bias, x, y, activations }, rows_per_item })
    }

    /// Items of the first step: numbers from 0 on.
    pub(crate) fn first_items(&self) -> usize {
        self.operands.x.rows.div_ceil(QUANTIZED)
    }

    /// Quantizes the activations of an item; there is nothing in an item that does not exist.
    ///
    /// # Safety
    /// No other thread runs the same item at the same time.
    pub(crate) unsafe fn first(&self, item: usize) {
        let (operands, rows) = (&self.operands, share(item, QUANTIZED, self.operands.x.rows));
        // SAFETY: the multiplier is the proof; the rows are there; the caller's.
        unsafe {
            with_integers!(self.operands.matrix.multiplier(), quantize(operands: &Operands<'_>, rows: Range<usize>))
        }
    }

    /// Items of the second step: numbers from 0 on.
    pub(crate) fn items(&self) -> usize {
        self.operands.x.rows.div_ceil(self.rows_per_item) * self.operands.y.width.div_ceil(OUTPUTS)
    }

    /// Multiplies an item; there is nothing in an item that does not exist.
    ///
    /// # Safety
    /// Every item of the first step has been run; no other thread runs the same item at the same time.
    pub(crate) unsafe fn run(&self, item: usize) {
        let across = self.operands.y.width.div_ceil(OUTPUTS).max(1);
        let (operands, rows) = (&self.operands, share(item / across, self.rows_per_item, self.operands.x.rows));
        let outputs = share(item % across, OUTPUTS, self.operands.y.width);
        // SAFETY: the multiplier is the proof; rows and outputs are there; the caller's.
        unsafe {
            match in_tiles(self.operands.matrix.multiplier()) {
                // Fewer read the weights once either way.
                Some(multiply) if rows.len() > TILE => multiply(operands, rows, outputs),
                Some(_) | None => with_integers!(
                    self.operands.matrix.multiplier(),
                    multiply(operands: &Operands<'_>, rows: Range<usize>, outputs: Range<usize>)
                ),
            }
        }
    }
}

/// The numbers of a share, none past the last.
fn share(index: usize, each: usize, total: usize) -> Range<usize> {
    let start = index.saturating_mul(each).min(total);
    start..start.saturating_add(each).min(total)
}

/// What multiplies items of many rows, where it is not what multiplies those of few.
fn in_tiles(multiplier: Multiplier) -> Option<Item> {
    match multiplier.kind() {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Kind::Amx => Some(tiles::multiply_by_amx),
        #[cfg(test)]
        Kind::EmulatedAmx => Some(tiles::multiply::<super::emulated::Emulated>),
        #[cfg(target_arch = "x86_64")]
        Kind::Vnni512 | Kind::Vnni256 | Kind::Avx2 => None,
        Kind::Portable => None,
        #[cfg(test)]
        Kind::Emulated => None,
    }
}

#[inline(always)]
unsafe fn quantize<I: Integers>(operands: &Operands<'_>, rows: Range<usize>) {
    // SAFETY: the caller's.
    unsafe { operands.activations.fill::<I>(&operands.x, rows) }
}

#[inline(always)]
unsafe fn multiply<I: Integers>(operands: &Operands<'_>, rows: Range<usize>, outputs: Range<usize>) {
    for output in outputs.step_by(I::OUTPUTS) {
        let mut row = rows.start;
        while row < rows.end {
            // Seven rows are four and three, since a row alone widens weights for itself.
            let count = equal_share(rows.end - row, TILE);
            // SAFETY: the caller's.
            unsafe {
                match count {
                    1 => tile::<I, 1>(operands, row, output),
                    2 => tile::<I, 2>(operands, row, output),
                    3 => tile::<I, 3>(operands, row, output),
                    4 => tile::<I, 4>(operands, row, output),
                    5 => tile::<I, 5>(operands, row, output),
                    _ => tile::<I, TILE>(operands, row, output),
                }
            }
            row += count;
        }
    }
}

/// Some rows by a panel of outputs.
#[inline(always)]
unsafe fn tile<I: Integers, const ROWS: usize>(operands: &Operands<'_>, row: usize, output: usize) {
    let mut panel = operands.matrix.panel(output / I::OUTPUTS, I::OUTPUTS);
    // SAFETY: the caller's; past the width only the array is written.
    unsafe {
        let mut totals = [I::zeros(); ROWS];
        for block in 0..operands.x.width.div_ceil(BLOCK) {
            let steps = panel.add(2 * I::OUTPUTS);
            let mut x = [std::ptr::null::<I::Activation>(); ROWS];
            let mut sums = [I::all(0); ROWS];
            for at in 0..ROWS {
                x[at] = operands.activations.steps::<I::Activation>(row + at).add(block * BLOCK);
                if I::OFFSET > 0 {
                    sums[at] = I::all(*operands.activations.first(row + at, block));
                }
            }
            for group in 0..BLOCK / I::GROUP {
                let weights = I::weights(steps.add(group * I::OUTPUTS * I::GROUP));
                for at in 0..ROWS {
                    sums[at] = I::multiply_add(x[at].add(group * I::GROUP), weights, sums[at]);
                }
            }
            let sizes = I::sizes(panel);
            for at in 0..ROWS {
                totals[at] = I::add_scaled(totals[at], sums[at], sizes, *operands.activations.size(row + at, block));
            }
            panel = panel.wrapping_add(block_bytes(I::OUTPUTS));
        }
        for at in 0..ROWS {
            put::<I>(operands, row + at, output, totals[at]);
        }
    }
}
