//! Rows of float32 activations in, the same in steps out, laid as one kind of instructions reads them: of each row, the step
//! sizes of its blocks, then what their sums begin with, then the steps, whole blocks of them.

use std::ops::Range;

use super::block::{BLOCK, peak, step_size, to_steps};
use super::integers::Integers;
use crate::kernels::rows::Rows;

/// Rows in steps, filled from several threads at once.
#[derive(Debug)]
pub(super) struct Activations {
    start: *mut u8,
    stride: usize,
    blocks: usize,
    /// What `start` points into.
    _memory: Vec<u64>,
}

// SAFETY: it is written only by unsafe functions, whose callers keep threads apart.
unsafe impl Sync for Activations {}
// SAFETY: it owns its memory.
unsafe impl Send for Activations {}

impl Activations {
    /// Room for rows of so many inputs, or nothing where there is no memory. Nothing in it yet.
    #[inline(always)]
    pub(super) fn room<I: Integers>(rows: usize, inputs: usize) -> Option<Self> {
        let blocks = inputs.div_ceil(BLOCK);
        let stride = blocks.checked_mul(size_of::<f32>() + size_of::<i32>() + BLOCK * size_of::<I::Activation>())?;
        let mut memory: Vec<u64> = Vec::new();
        memory.try_reserve_exact(rows.checked_mul(stride)?.div_ceil(size_of::<u64>())).ok()?;
        Some(Activations { start: memory.as_mut_ptr().cast(), stride, blocks, _memory: memory })
    }

    /// A row's step size of a block; the caller keeps to the shape.
    #[inline(always)]
    pub(super) fn size(&self, row: usize, block: usize) -> *mut f32 {
        self.start.wrapping_add(row * self.stride).cast::<f32>().wrapping_add(block)
    }

    /// What the sums of a row's block begin with.
    #[inline(always)]
    pub(super) fn first(&self, row: usize, block: usize) -> *mut i32 {
        self.start.wrapping_add(row * self.stride).cast::<i32>().wrapping_add(self.blocks + block)
    }

    /// A row's steps.
    #[inline(always)]
    pub(super) fn steps<A>(&self, row: usize) -> *mut A {
        self.start.wrapping_add(row * self.stride + 8 * self.blocks).cast()
    }

    /// Bytes from one row's steps to the next one's.
    #[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Fills in some rows.
    ///
    /// # Safety
    /// [`Integers`]'; the room was made for these integers and for as many rows and inputs; nobody else uses these rows now.
    #[inline(always)]
    pub(super) unsafe fn fill<I: Integers>(&self, x: &Rows<'_>, rows: Range<usize>) {
        for row in rows {
            for block in 0..self.blocks {
                let count = BLOCK.min(x.width - block * BLOCK);
                let mut values = [0.0_f32; BLOCK];
                // SAFETY: the caller's: the inputs are there, and so is the room for a block.
                unsafe {
                    std::ptr::copy_nonoverlapping(x.at(row, block * BLOCK), values.as_mut_ptr(), count);
                    I::rotate(&mut values);
                    let size = step_size(peak(&values));
                    let to = self.steps::<[I::Activation; BLOCK]>(row).wrapping_add(block);
                    let sum = to_steps(&values, size, &mut *to);
                    self.size(row, block).write(size);
                    self.first(row, block).write(-i32::from(I::OFFSET) * sum);
                }
            }
        }
    }
}
