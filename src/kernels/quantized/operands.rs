//! What a product is made of, and where its sums go.

use super::activations::Activations;
use super::integers::{Integers, MOST_OUTPUTS};
use super::weights::QuantizedMatrix;
use crate::kernels::rows::{Rows, RowsMut};

/// Rows, the room for them in steps, and for their results, of the shape of a matrix.
#[derive(Debug)]
pub(super) struct Operands<'a> {
    pub(super) matrix: &'a QuantizedMatrix,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) x: Rows<'a>,
    pub(super) y: RowsMut<'a>,
    pub(super) activations: Activations,
}

/// So many of what is left that no share has more than `most`, and none far less.
#[inline(always)]
pub(super) fn equal_share(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}

/// Adds the bias, and leaves out outputs past the width.
///
/// # Safety
/// [`Integers`]'; the row and the first output are there, and nobody else uses them now.
#[inline(always)]
pub(super) unsafe fn put<I: Integers>(operands: &Operands<'_>, row: usize, output: usize, total: I::Floats) {
    let mut totals = [0.0_f32; MOST_OUTPUTS];
    // SAFETY: the caller's; there is room for the largest panel.
    unsafe {
        I::store(totals.as_mut_ptr(), total);
        let count = I::OUTPUTS.min(operands.y.width - output);
        if let Some(bias) = operands.bias {
            for at in 0..count {
                totals[at] += *bias.as_ptr().add(output + at);
            }
        }
        std::ptr::copy_nonoverlapping(totals.as_ptr(), operands.y.at(row, output), count);
    }
}
