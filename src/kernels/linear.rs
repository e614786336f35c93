//! `Y = X·Wᵀ + bias` over weights that stay where and as they are; float32's results.
//!
//! Work is cut into items, some rows by some outputs, that any threads may run in any order. A sum is made of sums over
//! [`CHUNK`] inputs, each added in the order of the inputs with one rounding per step, themselves added in their order, and
//! the bias last. That holds on every path, for few rows and many, in every cut: a row's bits depend on nothing but the row,
//! and are the same on all of them. Zeros' signs, infinities and NaN are those of these
//! additions, denormal numbers are kept (where the thread does not flush them), and nothing is read outside the weights.

use std::ops::Range;

use super::block;
use super::lanes::Lanes;
use super::narrow;
use super::panel::CHUNK;
use super::processor::Path;
use super::rows::{Rows, RowsMut, Sums};
use super::weights::{Bfloat16, Float16, Float32, Format, Stored, Weights};
use super::wide::{self, FEW, OUTPUTS, ROWS};

/// Rows up to those whose sums fit the registers take weights through registers instead of a panel; where these are so many,
/// and weights have 16 bits, up to twice as many.
const NARROW: usize = 12;

/// A product with a matrix of weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear<'a> {
    weights: Weights<'a>,
    bias: Option<&'a [f32]>,
    path: Path,
}

/// One run of a product: rows and the room for their results, of the right shape.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    linear: Linear<'a>,
    x: Rows<'a>,
    y: RowsMut<'a>,
    rows_per_item: usize,
    outputs_per_item: usize,
}

impl<'a> Linear<'a> {
    /// The product, or nothing where the bias is not one value per output.
    pub(crate) fn new(weights: Weights<'a>, bias: Option<&'a [f32]>, path: Path) -> Option<Self> {
        bias.is_none_or(|bias| bias.len() == weights.outputs()).then_some(Linear { weights, bias, path })
    }

    /// A run, or nothing where the shapes do not match.
    pub(crate) fn call(&self, x: Rows<'a>, y: RowsMut<'a>) -> Option<Call<'a>> {
        let matches = x.rows == y.rows && x.width == self.weights.inputs() && y.width == self.weights.outputs();
        // Equal shares, so that no thread waits for the longest.
        let shares = x.rows.div_ceil(ROWS).max(1);
        let rows_per_item = x.rows.div_ceil(shares).next_multiple_of(block::ROWS).max(1);
        // Few rows are little work.
        let outputs_per_item = if x.rows <= FEW { OUTPUTS / 2 } else { OUTPUTS };
        matches.then_some(Call { linear: *self, x, y, rows_per_item, outputs_per_item })
    }
}

impl Call<'_> {
    /// Items of the run: numbers from 0 on.
    pub(crate) fn items(&self) -> usize {
        self.x.rows.div_ceil(self.rows_per_item) * self.y.width.div_ceil(self.outputs_per_item)
    }

    /// Rows and outputs of an item; none where it does not exist.
    pub(super) fn shares(&self, item: usize) -> (Range<usize>, Range<usize>) {
        let across = self.y.width.div_ceil(self.outputs_per_item).max(1);
        let share = |index: usize, each: usize, total: usize| {
            let start = index.saturating_mul(each).min(total);
            start..start.saturating_add(each).min(total)
        };
        let rows = share(item / across, self.rows_per_item, self.x.rows);
        (rows, share(item % across, self.outputs_per_item, self.y.width))
    }

    /// Computes an item; there is nothing in an item that does not exist.
    ///
    /// # Safety
    /// No other thread runs the same item of the same run at the same time.
    pub(crate) unsafe fn run(&self, item: usize) {
        let (rows, outputs) = self.shares(item);
        let call = self;
        // SAFETY: the path is the proof of the instructions; rows and outputs are there; the caller's.
        unsafe { with_lanes!(self.linear.path, item_of(call: &Call<'_>, rows: Range<usize>, outputs: Range<usize>)) }
    }
}

#[inline(always)]
unsafe fn item_of<L: Lanes>(call: &Call<'_>, rows: Range<usize>, outputs: Range<usize>) {
    // SAFETY: the caller's; the format is the weights'.
    unsafe {
        let rest = match call.linear.weights.stored() {
            Stored::Float32 => few::<L, Float32>(call, rows.clone(), outputs),
            Stored::Float16 => few::<L, Float16>(call, rows.clone(), outputs),
            Stored::Bfloat16 => few::<L, Bfloat16>(call, rows.clone(), outputs),
        };
        many::<L>(call, rows, rest);
    }
}

/// An item by vectors of `L` over weights of float32, or of words that are read as it.
///
/// # Safety
/// [`Call::run`]'s; [`Lanes`]'.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes>(call: &Call<'_>, rows: Range<usize>, outputs: Range<usize>) {
    // SAFETY: the caller's.
    unsafe {
        let rest = few::<L, Float32>(call, rows.clone(), outputs);
        many::<L>(call, rows, rest);
    }
}

/// Outputs whose weights go through registers, where rows are few. Gives back the outputs that are left.
#[inline(always)]
unsafe fn few<L: Lanes, F: Format>(call: &Call<'_>, rows: Range<usize>, outputs: Range<usize>) -> Range<usize> {
    let narrow = match L::ROWS {
        NARROW.. if F::BYTES == 2 => 2 * NARROW,
        _ => L::ROWS,
    };
    // Outputs that fill no vector cannot be read several at once.
    let whole = if rows.len() <= narrow { outputs.len() - outputs.len() % L::WIDTH } else { 0 };
    let middle = outputs.start + whole;
    if whole > 0 {
        // SAFETY: the caller's.
        unsafe { by_registers::<L, F>(call, rows, outputs.start..middle) };
    }
    middle..outputs.end
}

#[inline(always)]
unsafe fn many<L: Lanes>(call: &Call<'_>, rows: Range<usize>, outputs: Range<usize>) {
    let results = Sums { to: &call.y, bias: call.linear.bias, is_first: true, is_last: true };
    // SAFETY: the caller's.
    unsafe { wide::product::<L>(&call.linear.weights, &call.x, &results, rows, outputs) }
}

#[inline(always)]
unsafe fn by_registers<L: Lanes, F: Format>(call: &Call<'_>, rows: Range<usize>, outputs: Range<usize>) {
    // Weights are turned once for each block: few blocks, of equal shares.
    let blocks = rows.len().div_ceil(L::ROWS).max(1);
    let share = rows.len().div_ceil(blocks).max(1);
    for row in rows.clone().step_by(share) {
        for output in outputs.clone().step_by(L::WIDTH) {
            // SAFETY: the caller's.
            unsafe {
                match share.min(rows.end - row) {
                    1 if F::BYTES == 2 => registers::<L, F, 1, 2>(call, row, output),
                    2 if F::BYTES == 2 => registers::<L, F, 2, 2>(call, row, output),
                    3 if F::BYTES == 2 => registers::<L, F, 3, 2>(call, row, output),
                    1 => registers::<L, F, 1, 1>(call, row, output),
                    2 => registers::<L, F, 2, 1>(call, row, output),
                    3 => registers::<L, F, 3, 1>(call, row, output),
                    4 => registers::<L, F, 4, 1>(call, row, output),
                    5 => registers::<L, F, 5, 1>(call, row, output),
                    _ if L::ROWS <= 6 => registers::<L, F, 6, 1>(call, row, output),
                    6 => registers::<L, F, 6, 1>(call, row, output),
                    7 => registers::<L, F, 7, 1>(call, row, output),
                    8 => registers::<L, F, 8, 1>(call, row, output),
                    9 => registers::<L, F, 9, 1>(call, row, output),
                    10 => registers::<L, F, 10, 1>(call, row, output),
                    11 => registers::<L, F, 11, 1>(call, row, output),
                    _ => registers::<L, F, 12, 1>(call, row, output),
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn registers<L: Lanes, F: Format, const ROWS: usize, const CHUNKS: usize>(
    call: &Call<'_>,
    row: usize,
    output: usize,
) {
    let weights = &call.linear.weights;
    let mut input = 0;
    // SAFETY: the caller's; chunks side by side are whole.
    unsafe {
        while input + CHUNKS * CHUNK <= weights.inputs() {
            let x = call.x.at(row, input);
            let sums = narrow::product::<L, F, ROWS, CHUNKS>(x, call.x.stride, weights, output, input, CHUNK);
            for chunk in 0..CHUNKS {
                let to = call.sums(input + chunk * CHUNK);
                for offset in 0..ROWS {
                    to.put::<L>(row + offset, output, sums[chunk][offset]);
                }
            }
            input += CHUNKS * CHUNK;
        }
        while input < weights.inputs() {
            let length = CHUNK.min(weights.inputs() - input);
            let x = call.x.at(row, input);
            let [sums] = narrow::product::<L, F, ROWS, 1>(x, call.x.stride, weights, output, input, length);
            for offset in 0..ROWS {
                call.sums(input).put::<L>(row + offset, output, sums[offset]);
            }
            input += CHUNK;
        }
    }
}

impl Call<'_> {
    /// Where the sums of the chunk from `input` on go.
    #[inline(always)]
    fn sums(&self, input: usize) -> Sums<'_> {
        let is_last = input + CHUNK >= self.linear.weights.inputs();
        Sums { to: &self.y, bias: self.linear.bias, is_first: input == 0, is_last }
    }
}
