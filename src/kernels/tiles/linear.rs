//! `Y = X·Wᵀ + bias` by tiles: first activations become tiles, block by block of rows, then items, some rows by some outputs,
//! are computed in any order by any threads. Each item configures the tiles of the thread that it runs on, and gives
//! them back.

use std::ops::Range;

use super::activations::Activations;
use super::block::{Operands, Place, product};
use super::{Kind, ROWS, Shapes, Tiles, Unit};
use crate::kernels::lanes::Lanes;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::weights::{Stored, Weights};

/// What activations of an item may take of the L2 cache, where they stay while weights pass: half of it, or a little more.
const CACHE: usize = 5 << 18;

/// Outputs of an item: a multiple of two blocks.
const OUTPUTS: usize = 64;

/// A product with a matrix of bfloat16.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear<'a> {
    weights: Weights<'a>,
    bias: Option<&'a [f32]>,
    unit: Unit,
    is_rounded: bool,
}

/// One run of a product.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    operands: Operands<'a>,
    unit: Unit,
    is_rounded: bool,
    /// Blocks of rows.
    blocks_per_item: usize,
    outputs_per_item: usize,
}

impl<'a> Linear<'a> {
    /// The product, or nothing where weights are not bfloat16 or the bias is not one value per output. Activations are
    /// taken as they are, or rounded to bfloat16.
    pub(crate) fn new(weights: Weights<'a>, bias: Option<&'a [f32]>, unit: Unit, is_rounded: bool) -> Option<Self> {
        let is_bfloat16 = match weights.stored() {
            Stored::Bfloat16 => true,
            Stored::Float32 | Stored::Float16 => false,
        };
        let fits = is_bfloat16 && bias.is_none_or(|bias| bias.len() == weights.outputs());
        fits.then_some(Linear { weights, bias, unit, is_rounded })
    }

    /// A run, or nothing where the shapes do not match or there is no memory.
    pub(crate) fn call(&self, x: Rows<'a>, y: RowsMut<'a>) -> Option<Call<'a>> {
        let (weights, inputs) = (self.weights, self.weights.inputs());
        let matches = x.rows == y.rows && x.width == inputs && y.width == weights.outputs();
        matches.then_some(())?;
        let terms = if self.is_rounded { 1 } else { 3 };
        let activations = Activations::new(x.rows, inputs, terms)?;
        // Equal shares, so that no thread waits for the longest.
        let blocks = activations.blocks();
        let most = (CACHE / (ROWS * inputs * terms * 2)).clamp(2, 16);
        let blocks_per_item = blocks.div_ceil(blocks.div_ceil(most).max(1)).next_multiple_of(2).max(2);
        let outputs_per_item = if blocks <= 1 { OUTPUTS / 2 } else { OUTPUTS };
        let operands = Operands { weights, bias: self.bias, x, activations, y };
        Some(Call { operands, unit: self.unit, is_rounded: self.is_rounded, blocks_per_item, outputs_per_item })
    }
}

impl Call<'_> {
    /// Blocks of rows that are made into tiles, before any item.
    pub(crate) fn blocks(&self) -> usize {
        self.operands.activations.blocks()
    }

    /// Makes a block of rows into tiles; there is nothing in a block that does not exist.
    ///
    /// # Safety
    /// No other thread does the same at the same time.
    pub(crate) unsafe fn fill(&self, block: usize) {
        if block >= self.blocks() {
            return;
        }
        // SAFETY: the unit is the proof of the instructions; the block is there; the caller's.
        unsafe {
            match self.unit.0 {
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                Kind::Instructions => fill_by_avx512(self, block),
                Kind::Emulation => self.fill_by::<crate::kernels::portable::Portable>(block),
            }
        }
    }

    /// Items of the run: numbers from 0 on.
    pub(crate) fn items(&self) -> usize {
        self.blocks().div_ceil(self.blocks_per_item) * self.operands.y.width.div_ceil(self.outputs_per_item)
    }

    /// Computes an item; there is nothing in an item that does not exist.
    ///
    /// # Safety
    /// Every block is filled; no other thread runs the same item of the same run at the same time.
    pub(crate) unsafe fn run(&self, item: usize) {
        let across = self.operands.y.width.div_ceil(self.outputs_per_item).max(1);
        let share = |index: usize, each: usize, total: usize| {
            let start = index.saturating_mul(each).min(total);
            start..start.saturating_add(each).min(total)
        };
        let blocks = share(item / across, self.blocks_per_item, self.blocks());
        let outputs = share(item % across, self.outputs_per_item, self.operands.y.width);
        // SAFETY: the unit is the proof of the instructions; blocks and outputs are there; the caller's.
        unsafe {
            match self.unit.0 {
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                Kind::Instructions => run_by_amx(self, blocks, outputs),
                Kind::Emulation => self.run_by::<super::emulation::Emulated>(blocks, outputs),
            }
        }
    }

    #[inline(always)]
    unsafe fn fill_by<L: Lanes>(&self, block: usize) {
        let Operands { x, activations, .. } = &self.operands;
        // SAFETY: the caller's.
        unsafe {
            match self.is_rounded {
                true => activations.fill::<L, 1>(x, block),
                false => activations.fill::<L, 3>(x, block),
            }
        }
    }

    #[inline(always)]
    unsafe fn run_by<T: Tiles>(&self, blocks: Range<usize>, outputs: Range<usize>) {
        // SAFETY: the caller's.
        unsafe {
            match self.is_rounded {
                true => self.item::<T, 1>(blocks, outputs),
                false => self.item::<T, 3>(blocks, outputs),
            }
        }
    }

    #[inline(always)]
    unsafe fn item<T: Tiles, const TERMS: usize>(&self, blocks: Range<usize>, outputs: Range<usize>) {
        let mut tiles = T::new();
        let mut configured = None;
        for output in outputs.clone().step_by(2 * ROWS) {
            for block in blocks.clone().step_by(2) {
                let count = |index: usize| outputs.end.saturating_sub(output + ROWS * index).min(ROWS);
                let rows = |index: usize| match block + index < blocks.end {
                    true => self.operands.activations.rows_of(block + index),
                    false => 0,
                };
                let shapes = Shapes { left: [count(0), count(1)], right: [rows(0), rows(1)] };
                let place = Place { output, block, outputs: shapes.left };
                // SAFETY: the caller's; tiles are configured for the place.
                unsafe {
                    if configured != Some(shapes) {
                        tiles.configure(&shapes);
                        configured = Some(shapes);
                    }
                    match (shapes.left[1] > 0, shapes.right[1] > 0) {
                        (false, false) => product::<T, TERMS, 1, 1>(&mut tiles, &self.operands, place),
                        (false, true) => product::<T, TERMS, 1, 2>(&mut tiles, &self.operands, place),
                        (true, false) => product::<T, TERMS, 2, 1>(&mut tiles, &self.operands, place),
                        (true, true) => product::<T, TERMS, 2, 2>(&mut tiles, &self.operands, place),
                    }
                }
            }
        }
        if configured.is_some() {
            // SAFETY: the caller's.
            unsafe { tiles.release() };
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn fill_by_avx512(call: &Call<'_>, block: usize) {
    // SAFETY: the caller's.
    unsafe { call.fill_by::<crate::kernels::avx512::Avx512>(block) }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn run_by_amx(call: &Call<'_>, blocks: Range<usize>, outputs: Range<usize>) {
    // SAFETY: the caller's.
    unsafe { call.run_by::<super::instructions::Amx>(blocks, outputs) }
}
