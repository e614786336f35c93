//! Many rows by tiles of 8-bit integers (Intel's AMX): a block of inputs is as long as a tile's row, so that one product of two
//! tiles has the whole sums of up to 16 rows by 16 outputs. They are made floats as all others are, block after block.
//!
//! Activations are the signed side and weights the unsigned one, so that both lie as AVX-512 VNNI reads them, 128 added to the
//! weights: every processor with AMX has it too, and few rows, of which a tile would be mostly empty, are left to it.

use std::ops::Range;

use super::block::BLOCK;
use super::integers::InTiles;
use super::operands::{Operands, equal_share, put};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::vnni::Vnni512;
use super::weights::block_bytes;
use crate::kernels::tiles::{BYTES, ROWS, Shapes, Tiles, left, right, sums};

/// Outputs of a panel: two tiles of weights, side by side.
const OUTPUTS: usize = 32;

/// The sums of a block, a row for each of activations.
#[repr(align(64))]
struct Stored([[i32; OUTPUTS]; ROWS]);

/// Multiplies some rows by some outputs, from the beginning of a panel on.
///
/// # Safety
/// [`InTiles`]', and [`Tiles`]'; the rows are quantized, and nobody else uses their outputs now.
#[inline(always)]
pub(super) unsafe fn multiply<I: InTiles>(operands: &Operands<'_>, rows: Range<usize>, outputs: Range<usize>) {
    const { assert!(I::OUTPUTS == OUTPUTS && I::GROUP == 4 && BLOCK == BYTES && BLOCK == 4 * ROWS) };
    let mut tiles = I::Tiles::new();
    let mut configured = None;
    let mut row = rows.start;
    while row < rows.end {
        let count = equal_share(rows.end - row, ROWS);
        let shapes = Shapes { left: [count, 0], right: [ROWS, ROWS] };
        // SAFETY: the caller's; tiles are configured for so many rows.
        unsafe {
            if configured != Some(shapes) {
                tiles.configure(&shapes);
                configured = Some(shapes);
            }
            for output in outputs.clone().step_by(OUTPUTS) {
                panel::<I>(&mut tiles, operands, row, count, output);
            }
        }
        row += count;
    }
    if configured.is_some() {
        // SAFETY: the caller's.
        unsafe { tiles.release() };
    }
}

/// Some rows by a panel of outputs.
#[inline(always)]
unsafe fn panel<I: InTiles>(tiles: &mut I::Tiles, operands: &Operands<'_>, row: usize, count: usize, output: usize) {
    let (activations, stride) = (&operands.activations, operands.activations.stride());
    let mut panel = operands.matrix.panel(output / OUTPUTS, OUTPUTS);
    let mut stored = Stored([[0; OUTPUTS]; ROWS]);
    let to = stored.0.as_mut_ptr();
    // SAFETY: the caller's: whole blocks of rows and of a panel; the array holds two of the largest tiles.
    unsafe {
        let mut totals = [I::zeros(); ROWS];
        for block in 0..operands.x.width.div_ceil(BLOCK) {
            let weights = panel.add(2 * OUTPUTS);
            tiles.clear::<{ sums(0, 0) }>();
            tiles.clear::<{ sums(0, 1) }>();
            tiles.load::<{ left(0) }>(activations.steps::<u8>(row).add(block * BLOCK), stride);
            tiles.load::<{ right(0) }>(weights, 2 * BYTES);
            tiles.multiply_integers::<{ sums(0, 0) }, { left(0) }, { right(0) }>();
            tiles.load::<{ right(1) }>(weights.add(BYTES), 2 * BYTES);
            tiles.multiply_integers::<{ sums(0, 1) }, { left(0) }, { right(1) }>();
            tiles.store::<{ sums(0, 0) }>(to.cast(), 2 * BYTES);
            tiles.store::<{ sums(0, 1) }>(to.cast::<u8>().add(BYTES), 2 * BYTES);
            let sizes = I::sizes(panel);
            for at in 0..count {
                let sums = I::sums(to.add(at).cast(), *activations.first(row + at, block));
                totals[at] = I::add_scaled(totals[at], sums, sizes, *activations.size(row + at, block));
            }
            panel = panel.wrapping_add(block_bytes(OUTPUTS));
        }
        for at in 0..count {
            put::<I>(operands, row + at, output, totals[at]);
        }
    }
}

/// [`multiply`] by the processor.
///
/// # Safety
/// Its; the processor has AMX-INT8 and AVX-512 VNNI, and the system lets the process use tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
pub(super) unsafe fn multiply_by_amx(operands: &Operands<'_>, rows: Range<usize>, outputs: Range<usize>) {
    // SAFETY: the caller's.
    unsafe { multiply::<Vnni512>(operands, rows, outputs) }
}
