//! A panel: the weights of two vectors of outputs by one chunk of the inputs, widened and turned so that the weights of
//! one input lie side by side. It stays in the L1 cache while all rows run over it.

use std::mem::MaybeUninit;

use super::lanes::Lanes;
use super::rows::Rows;
use super::weights::{Format, Weights};

/// Inputs of a panel at most, and of a sum before it is added to the others. A constant of the arithmetic: another one gives
/// other bits.
pub(super) const CHUNK: usize = 256;

/// Room for a panel of the widest vectors.
#[repr(align(64))]
pub(super) struct Panel([MaybeUninit<f32>; 32 * CHUNK]);

impl Panel {
    /// Nothing in it yet.
    #[inline(always)]
    pub(super) fn new() -> Self {
        Panel([MaybeUninit::uninit(); 32 * CHUNK])
    }

    /// Its first value.
    #[inline(always)]
    pub(super) fn start(&self) -> *const f32 {
        self.0.as_ptr().cast()
    }

    /// Fills it with `length` inputs from `input` on, of the outputs from `output` on; of outputs that are not there, with
    /// zeros.
    ///
    /// # Safety
    /// [`Lanes`]'; `F` is the weights' format; the inputs, at most `CHUNK`, and the first of the outputs are there.
    #[inline(always)]
    pub(super) unsafe fn fill<L: Lanes, F: Format>(
        &mut self,
        weights: &Weights<'_>,
        output: usize,
        input: usize,
        length: usize,
    ) {
        let width = 2 * L::WIDTH;
        let to = self.0.as_mut_ptr().cast::<f32>();
        let stride = weights.stride();
        let outputs = (weights.outputs() - output).min(width);
        // SAFETY: whole steps of rows that are there; the panel has room for CHUNK inputs of `width` outputs.
        unsafe {
            for half in 0..2 {
                let outputs = outputs.saturating_sub(half * L::WIDTH).min(L::WIDTH);
                let output = output + if outputs > 0 { half * L::WIDTH } else { 0 };
                let (from, to) = (weights.at(output, input), to.add(half * L::WIDTH));
                // 16 bytes of a row are read at once only where there are so many.
                let turned = length - length % F::STEP;
                let mut edge = [[0_u8; 16]; 16];
                let mut at = 0;
                while at < turned {
                    let step = from.add(at * F::BYTES);
                    let words = if outputs == L::WIDTH {
                        L::words(step, stride)
                    } else {
                        for row in 0..outputs {
                            edge[row] = step.add(row * stride).cast::<[u8; 16]>().read();
                        }
                        L::words(edge.as_ptr().cast(), size_of_val(&edge[0]))
                    };
                    let columns = F::columns::<L>(words);
                    for column in 0..F::STEP {
                        L::store(to.add((at + column) * width), columns[column]);
                    }
                    at += F::STEP;
                }
                for at in turned..length {
                    for lane in 0..L::WIDTH {
                        let value = if lane < outputs { F::one(from.add(lane * stride + at * F::BYTES)) } else { 0.0 };
                        to.add(at * width + lane).write(value);
                    }
                }
            }
        }
    }

    /// Fills it with `length` rows of the columns that are left from `column` on, fewer than fill it, and zeros.
    ///
    /// # Safety
    /// [`Lanes`]'; the rows, at most `CHUNK`, and the first column are there.
    #[inline(always)]
    pub(super) unsafe fn copy<L: Lanes>(&mut self, rows: &Rows<'_>, row: usize, column: usize, length: usize) {
        let to = self.0.as_mut_ptr().cast::<f32>();
        for at in 0..length {
            for lane in 0..2 * L::WIDTH {
                // SAFETY: rows and columns that are there; the panel has room for them.
                unsafe {
                    let value = if column + lane < rows.width { *rows.at(row + at, column + lane) } else { 0.0 };
                    to.add(at * 2 * L::WIDTH + lane).write(value);
                }
            }
        }
    }
}
