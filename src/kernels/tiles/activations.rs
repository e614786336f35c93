//! Activations as tiles: for each block of 16 rows, for each 32 inputs, a tile for each of their terms, in the order in
//! which a product reads them. A tile has a row for each pair of inputs, in it the pair of each of the block's rows.

use std::mem::MaybeUninit;

use super::{BYTES, INPUTS, ROWS};
use crate::kernels::lanes::Lanes;
use crate::kernels::rows::Rows;
use crate::kernels::terms::terms;

/// A cache line: memory starts at one.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [MaybeUninit<u8>; 64],
}

/// Room for the tiles of some rows.
#[derive(Debug)]
pub(super) struct Activations {
    lines: Vec<Line>,
    start: *mut u8,
    rows: usize,
    /// Tiles side by side in the inputs.
    steps: usize,
    terms: usize,
}

// SAFETY: the memory is written only by an unsafe function, whose callers keep threads apart, and never moved.
unsafe impl Sync for Activations {}
// SAFETY: it owns its memory.
unsafe impl Send for Activations {}

impl Activations {
    /// Room for rows of so many inputs, with nothing in it; nothing where there is no memory for it.
    pub(super) fn new(rows: usize, inputs: usize, terms: usize) -> Option<Self> {
        let steps = inputs.div_ceil(INPUTS);
        // 4 bytes of 16 pairs for each row. Vectors are written whole: up to a line past the end of a narrow block.
        let count = rows.checked_mul(steps)?.checked_mul(terms)?.checked_add(1)?;
        let mut lines: Vec<Line> = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        let start = lines.as_mut_ptr().cast();
        Some(Activations { lines, start, rows, steps, terms })
    }

    /// Blocks of rows.
    pub(super) fn blocks(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Rows of a block.
    pub(super) fn rows_of(&self, block: usize) -> usize {
        self.rows.saturating_sub(block * ROWS).min(ROWS)
    }

    /// The first tile of a block; the next ones follow.
    pub(super) fn block(&self, block: usize) -> *const u8 {
        debug_assert!((block * ROWS * self.steps * self.terms) * BYTES < self.lines.capacity() * size_of::<Line>());
        self.start.wrapping_add(block * ROWS * self.steps * self.terms * BYTES)
    }

    /// Makes the tiles of a block.
    ///
    /// # Safety
    /// [`Lanes`]'; there are as many rows of as many inputs, the block is there, `TERMS` is the number of terms, and no other
    /// thread uses the block now.
    #[inline(always)]
    pub(super) unsafe fn fill<L: Lanes, const TERMS: usize>(&self, from: &Rows<'_>, block: usize) {
        let rows = self.rows_of(block);
        let mut to = self.block(block).cast_mut();
        for step in 0..self.steps {
            // A row for each of the block's rows, as wide as a tile of weights; those that are not there stay zeros.
            let mut pairs = [[[0_u16; INPUTS]; ROWS]; TERMS];
            let inputs = (from.width - step * INPUTS).min(INPUTS);
            for row in 0..rows {
                let mut values = [0.0_f32; INPUTS];
                // SAFETY: the caller's: the inputs of a row are there.
                unsafe {
                    from.at(block * ROWS + row, step * INPUTS).copy_to_nonoverlapping(values.as_mut_ptr(), inputs);
                }
                let terms = terms::<TERMS, INPUTS>(&values);
                for term in 0..TERMS {
                    pairs[term][row] = terms[term];
                }
            }
            for pairs in &pairs {
                // SAFETY: the caller's; the tiles so far are before it, and room for this one and a line is behind.
                unsafe { turned::<L>(pairs.as_ptr().cast(), to, rows) };
                to = to.wrapping_add(rows * BYTES);
            }
        }
    }
}

/// Turns 16 rows of 16 words into 16 rows of `count` words; writes up to a line more.
///
/// # Safety
/// [`Lanes`]'; the rows are there, and there is room.
#[inline(always)]
unsafe fn turned<L: Lanes>(from: *const u8, to: *mut u8, count: usize) {
    let is_wide = count > L::WIDTH;
    for group in (0..ROWS).step_by(4) {
        // SAFETY: the caller's. What a vector writes past its row is overwritten by the next row, which comes later.
        unsafe {
            let left = L::words(from.add(4 * group), BYTES);
            let right = if is_wide { L::words(from.add(L::WIDTH * BYTES + 4 * group), BYTES) } else { left };
            for word in 0..4 {
                let to = to.add(4 * (group + word) * count).cast::<f32>();
                L::store(to, left[word]);
                if is_wide {
                    L::store(to.add(L::WIDTH), right[word]);
                }
            }
        }
    }
}
