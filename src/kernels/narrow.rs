//! The product for a few rows, where filling a panel would take longer than using it: weights go from the mapping through
//! registers into the sums. Each sum is added in the order of [`block::product`](super::block::product).
//!
//! One sum is a chain of dependent additions, so chunks of the inputs run side by side. Outputs side by side would do as
//! well, but where rows lie a multiple of 4 KiB apart they drive each other out of the L1 cache; so do four chunks, and two of
//! float32, which wants one.

use std::marker::PhantomData;
use std::ops::Range;

use super::lanes::{Lanes, Work};
use super::operands::Operands;
use super::panel::CHUNK;
use super::rows::Sums;
use super::weights::{Format, Weights};

/// Rows up to those whose sums fit the registers take weights through registers instead of a panel; where these are so many,
/// and weights have 16 bits, up to twice as many.
const NARROW: usize = 12;

/// Some rows by those outputs that fill vectors, where rows are few. Gives back the outputs that are left.
///
/// # Safety
/// [`Lanes`]'; rows and outputs are there, and nobody else writes these results now; `F` is the weights' format.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, F: Format>(
    operands: &Operands<'_>,
    rows: Range<usize>,
    outputs: Range<usize>,
) -> Range<usize> {
    let narrow = match L::ROWS {
        NARROW.. if F::BYTES == 2 => 2 * NARROW,
        _ => L::ROWS,
    };
    if rows.len() > narrow {
        return outputs;
    }
    // Outputs that fill no vector cannot be read several at once.
    let middle = outputs.end - outputs.len() % L::WIDTH;
    // Weights are turned once for each block: few blocks, of equal shares.
    let blocks = rows.len().div_ceil(L::ROWS).max(1);
    let share = rows.len().div_ceil(blocks).max(1);
    for row in rows.clone().step_by(share) {
        let count = share.min(rows.end - row);
        for output in (outputs.start..middle).step_by(L::WIDTH) {
            macro_rules! apart {
                ($rows:literal, $chunks:literal) => {
                    L::apart(Block::<F, $rows, $chunks> { operands, row, output, format: PhantomData })
                };
            }
            // SAFETY: the caller's.
            unsafe {
                match count {
                    1 if F::BYTES == 2 => apart!(1, 2),
                    2 if F::BYTES == 2 => apart!(2, 2),
                    3 if F::BYTES == 2 => apart!(3, 2),
                    1 => apart!(1, 1),
                    2 => apart!(2, 1),
                    3 => apart!(3, 1),
                    4 => apart!(4, 1),
                    5 => apart!(5, 1),
                    _ if L::ROWS <= 6 => apart!(6, 1),
                    6 => apart!(6, 1),
                    7 => apart!(7, 1),
                    8 => apart!(8, 1),
                    9 => apart!(9, 1),
                    10 => apart!(10, 1),
                    11 => apart!(11, 1),
                    _ => apart!(12, 1),
                }
            }
        }
    }
    middle..outputs.end
}

/// Some rows, from `row` on, by a vector of outputs, from `output` on; `CHUNKS` chunks side by side.
struct Block<'a, F, const ROWS: usize, const CHUNKS: usize> {
    operands: &'a Operands<'a>,
    row: usize,
    output: usize,
    format: PhantomData<F>,
}

impl<F: Format, const ROWS: usize, const CHUNKS: usize> Work for Block<'_, F, ROWS, CHUNKS> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Block { operands, row, output, .. } = self;
        let weights = &operands.weights;
        let mut input = 0;
        // SAFETY: the caller's; chunks side by side are whole.
        unsafe {
            while CHUNKS > 1 && input + CHUNKS * CHUNK <= weights.inputs() {
                let x = operands.x.at(row, input);
                let sums = chunks::<L, F, ROWS, CHUNKS>(x, operands.x.stride, weights, output, input, CHUNK);
                for chunk in 0..CHUNKS {
                    put::<L, ROWS>(operands, row, output, input + chunk * CHUNK, sums[chunk]);
                }
                input += CHUNKS * CHUNK;
            }
            while input < weights.inputs() {
                let length = CHUNK.min(weights.inputs() - input);
                let x = operands.x.at(row, input);
                let [sums] = chunks::<L, F, ROWS, 1>(x, operands.x.stride, weights, output, input, length);
                put::<L, ROWS>(operands, row, output, input, sums);
                input += CHUNK;
            }
        }
    }
}

/// Adds the sums of the chunk from `input` on to the results.
#[inline(always)]
unsafe fn put<L: Lanes, const ROWS: usize>(
    operands: &Operands<'_>,
    row: usize,
    output: usize,
    input: usize,
    sums: [L::Vector; ROWS],
) {
    let is_last = input + CHUNK >= operands.weights.inputs();
    let to = Sums { to: &operands.y, bias: operands.bias, is_first: input == 0, is_last };
    for offset in 0..ROWS {
        // SAFETY: the caller's.
        unsafe { to.put::<L>(row + offset, output, sums[offset]) };
    }
}

/// The sums of `CHUNKS` chunks of `length` inputs each, the first from `input` on, for a vector of outputs from `output` on.
///
/// # Safety
/// [`Lanes`]'; `rows` are `ROWS` rows of as many values, `stride` values apart; the outputs and inputs are there; `F` is
/// the weights' format.
#[inline(always)]
unsafe fn chunks<L: Lanes, F: Format, const ROWS: usize, const CHUNKS: usize>(
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
