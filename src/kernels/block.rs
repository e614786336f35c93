//! The innermost product: a few rows of activations by a panel.

use super::lanes::Lanes;

/// Rows of a block at most: with two vectors of outputs, twelve sums, which is what 16 registers hold beside the operands.
pub(super) const ROWS: usize = 6;

/// Inputs of a turn of the loop.
const UNROLLED: usize = 4;

/// The sums over `length` inputs, each added in the order of the inputs from 0 on.
///
/// # Safety
/// [`Lanes`]'; `rows` are `ROWS` rows of `length` values, `stride` values apart; the panel has `length` inputs, each two
/// vectors, `panel_stride` values apart.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, const ROWS: usize>(
    rows: *const f32,
    stride: usize,
    panel: *const f32,
    panel_stride: usize,
    length: usize,
) -> [[L::Vector; 2]; ROWS] {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[L::all(0.0); 2]; ROWS];
        let (mut weights, mut inputs) = (panel, rows);
        macro_rules! step {
            ($at:expr) => {
                let from = weights.add($at * panel_stride);
                let (left, right) = (L::load(from), L::load(from.add(L::WIDTH)));
                for row in 0..ROWS {
                    let x = L::all(*inputs.add(row * stride + $at));
                    sums[row][0] = L::multiply_add(x, left, sums[row][0]);
                    sums[row][1] = L::multiply_add(x, right, sums[row][1]);
                }
            };
        }
        for _ in 0..length / UNROLLED {
            step!(0);
            step!(1);
            step!(2);
            step!(3);
            weights = weights.wrapping_add(UNROLLED * panel_stride);
            inputs = inputs.wrapping_add(UNROLLED);
        }
        for _ in 0..length % UNROLLED {
            step!(0);
            weights = weights.wrapping_add(panel_stride);
            inputs = inputs.wrapping_add(1);
        }
        sums
    }
}
