//! The product for a few rows, where filling a panel would take longer than using it: weights go from the mapping through
//! registers into the sums. Each sum is added in the order of [`block::product`](super::block::product).
//!
//! One sum is a chain of dependent additions, so chunks of the inputs run side by side. Outputs side by side would do as
//! well, but where rows lie a multiple of 4 KiB apart they drive each other out of the L1 cache; so do four chunks, and two of
//! float32, which wants one.

use super::lanes::Lanes;
use super::panel::CHUNK;
use super::weights::{Format, Weights};

/// The sums of `CHUNKS` chunks of `length` inputs each, the first from `input` on, for a vector of outputs from `output` on.
///
/// # Safety
/// [`Lanes`]'; `rows` are `ROWS` rows of as many values, `stride` values apart; the outputs and inputs are there; `F` is
/// the weights' format.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, F: Format, const ROWS: usize, const CHUNKS: usize>(
    rows: *const f32,
    stride: usize,
    weights: &Weights<'_>,
    output: usize,
    input: usize,
    length: usize,
) -> [[L::Vector; ROWS]; CHUNKS] {
    let row_bytes = weights.stride();
    let chunk_bytes = CHUNK * F::BYTES;
    // What is read next: the next chunks, or after the last ones the next outputs.
    let is_last = (input + CHUNKS * CHUNK) * F::BYTES >= row_bytes;
    let ahead = if is_last { L::WIDTH * row_bytes - input * F::BYTES } else { CHUNKS * chunk_bytes };
    let turned = length - length % F::STEP;
    // SAFETY: the caller's; 16 bytes at once are read only where there are so many.
    unsafe {
        let base = weights.at(output, input);
        let mut sums = [[L::all(0.0); ROWS]; CHUNKS];
        let mut at = 0;
        while at < turned {
            for chunk in 0..CHUNKS {
                let from = base.add(chunk * chunk_bytes + at * F::BYTES);
                if at * F::BYTES % 64 == 0 {
                    for row in 0..L::WIDTH {
                        L::prefetch(from.wrapping_add(row * row_bytes + ahead));
                    }
                }
                let columns = F::columns::<L>(L::words(from, row_bytes));
                for column in 0..F::STEP {
                    for row in 0..ROWS {
                        let x = L::all(*rows.add(row * stride + chunk * CHUNK + at + column));
                        sums[chunk][row] = L::multiply_add(x, columns[column], sums[chunk][row]);
                    }
                }
            }
            at += F::STEP;
        }
        for at in turned..length {
            for chunk in 0..CHUNKS {
                let mut column = [0.0_f32; 16];
                for lane in 0..L::WIDTH {
                    column[lane] = F::one(base.add(chunk * chunk_bytes + lane * row_bytes + at * F::BYTES));
                }
                for row in 0..ROWS {
                    let x = L::all(*rows.add(row * stride + chunk * CHUNK + at));
                    sums[chunk][row] = L::multiply_add(x, L::load(column.as_ptr()), sums[chunk][row]);
                }
            }
        }
        sums
    }
}
