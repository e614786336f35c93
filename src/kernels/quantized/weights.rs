//! Rows of float32 weights in, a matrix in steps out, laid as the product reads it: one panel of outputs after the other, of
//! each panel one block of inputs after the other, of each block the step sizes (bfloat16) and then the steps, an instruction's
//! inputs of all outputs side by side. What is missing to a whole panel or block is zeros. Refused: a value that is not finite.

use super::block::{BLOCK, peak, step_size, to_steps};
use super::integers::{Integers, MOST_OUTPUTS};
use super::multiplier::{Multiplier, with_integers};

/// The matrix's memory begins at the edge of a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [u8; 64],
}

/// A matrix (outputs, inputs) in steps, for one kind of instructions.
#[derive(Debug)]
pub(crate) struct QuantizedMatrix {
    lines: Vec<Line>,
    outputs: usize,
    inputs: usize,
    multiplier: Multiplier,
}

/// A block's bytes: sizes and steps of a panel's outputs.
#[inline(always)]
pub(super) const fn block_bytes(outputs: usize) -> usize {
    outputs * (2 + BLOCK)
}

/// Room for so many bytes, all 0, or nothing where there is no memory.
fn lines(bytes: usize) -> Option<Vec<Line>> {
    let mut lines = Vec::new();
    let count = bytes.div_ceil(64);
    lines.try_reserve_exact(count).ok()?;
    lines.resize(count, Line { _bytes: [0; 64] });
    Some(lines)
}

/// # Safety
/// [`Integers`]'.
unsafe fn outputs_of<I: Integers>() -> usize {
    I::OUTPUTS
}

impl QuantizedMatrix {
    /// A matrix of zeros, or nothing where there is no memory for it.
    pub(crate) fn zeros(outputs: usize, inputs: usize, multiplier: Multiplier) -> Option<Self> {
        // SAFETY: without any operation of the processor's.
        let panel = unsafe { with_integers!(multiplier, outputs_of() -> usize) };
        let blocks = outputs.div_ceil(panel).checked_mul(inputs.div_ceil(BLOCK))?;
        let lines = lines(blocks.checked_mul(block_bytes(panel))?)?;
        Some(QuantizedMatrix { lines, outputs, inputs, multiplier })
    }

    /// Who multiplies with it.
    pub(crate) fn multiplier(&self) -> Multiplier {
        self.multiplier
    }

    /// Rows of the matrix.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs that [`fill`](Self::fill) takes at once: a multiple of every panel's.
    pub(crate) const OUTPUTS_AT_ONCE: usize = MOST_OUTPUTS;

    /// Fills in outputs from `first` on, a multiple of [`OUTPUTS_AT_ONCE`](Self::OUTPUTS_AT_ONCE): rows of as many values as
    /// there are inputs. The first that has a value that is not finite is given back.
    pub(crate) fn fill(&mut self, first: usize, rows: &[f32]) -> Result<(), usize> {
        let matrix = self;
        // SAFETY: the multiplier is the proof.
        unsafe {
            with_integers!(matrix.multiplier, fill(matrix: &mut QuantizedMatrix, first: usize, rows: &[f32]) -> Result<(), usize>)
        }
    }

    /// Where a panel begins; the caller keeps to the shape.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize, outputs: usize) -> *const u8 {
        let bytes = self.inputs.div_ceil(BLOCK) * block_bytes(outputs);
        self.lines.as_ptr().cast::<u8>().wrapping_add(panel * bytes)
    }
}

/// # Safety
/// [`Integers`]'.
#[inline(always)]
unsafe fn fill<I: Integers>(matrix: &mut QuantizedMatrix, first: usize, rows: &[f32]) -> Result<(), usize> {
    let blocks = matrix.inputs.div_ceil(BLOCK);
    let each = block_bytes(I::OUTPUTS);
    let Some(count) = rows.len().checked_div(matrix.inputs) else { return Ok(()) };
    let last = (first + count).min(matrix.outputs);
    // SAFETY: any bytes are bytes.
    let (_, bytes, _) = unsafe { matrix.lines.align_to_mut::<u8>() };
    for (panel, start) in (first..last.next_multiple_of(I::OUTPUTS)).step_by(I::OUTPUTS).enumerate() {
        let panel = (first / I::OUTPUTS + panel) * blocks * each;
        for block in 0..blocks {
            let to = &mut bytes[panel + block * each..][..each];
            let (sizes, steps) = to.split_at_mut(2 * I::OUTPUTS);
            steps.fill(I::OFFSET);
            for output in start..last.min(start + I::OUTPUTS) {
                let row = &rows[(output - first) * matrix.inputs..][..matrix.inputs];
                let row = &row[block * BLOCK..matrix.inputs.min((block + 1) * BLOCK)];
                let mut values = [0.0; BLOCK];
                values[..row.len()].copy_from_slice(row);
                if !peak(&values).is_finite() {
                    return Err(output);
                }
                // Rotated twice, a block is BLOCK times itself: taken away here, where sums so cannot overflow.
                for value in &mut values {
                    *value *= 1.0 / BLOCK as f32;
                }
                // SAFETY: the caller's.
                unsafe { I::rotate(&mut values) };
                let size = rounded_up(step_size(peak(&values)));
                let mut rounded = [0_i8; BLOCK];
                to_steps(&values, size, &mut rounded);
                let lane = output - start;
                sizes[2 * lane..][..2].copy_from_slice(&((size.to_bits() >> 16) as u16).to_le_bytes());
                for group in 0..BLOCK / I::GROUP {
                    for at in 0..I::GROUP {
                        steps[(group * I::OUTPUTS + lane) * I::GROUP + at] =
                            (rounded[group * I::GROUP + at] as u8).wrapping_add(I::OFFSET);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The next bfloat16 that is not less, of a number that is not negative: half the memory, and steps hardly larger.
#[inline(always)]
fn rounded_up(size: f32) -> f32 {
    f32::from_bits((size.to_bits() + 0xffff) & 0xffff_0000)
}
