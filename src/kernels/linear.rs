//! `Y = X·Wᵀ + bias` over weights that stay where and as they are; float32's results.
//!
//! Work is cut into items, some rows by some outputs, that any threads may run in any order. A sum is made of sums over
//! [`CHUNK`](super::panel::CHUNK) inputs, each added in the order of the inputs with one rounding per step, themselves added
//! in their order, and the bias last. That holds on every path, for few rows and many, in every cut: a row's bits depend on
//! nothing but the row, and are the same on all of them. Zeros' signs, infinities and NaN are those of these additions,
//! denormal numbers are kept (where the thread does not flush them), and nothing is read outside the weights.

use std::ops::Range;

use super::block;
use super::lanes::{Lanes, Work};
use super::narrow;
use super::operands::Operands;
use super::processor::Path;
use super::rows::{Rows, RowsMut};
use super::weights::{Bfloat16, Float16, Float32, Format, Stored, Weights};
use super::wide::{FEW, OUTPUTS, Product, ROWS};

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
    operands: Operands<'a>,
    path: Path,
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
        let Linear { weights, bias, path } = *self;
        let operands = Operands { weights, bias, x, y };
        matches.then_some(Call { operands, path, rows_per_item, outputs_per_item })
    }
}

impl Call<'_> {
    /// Items of the run: numbers from 0 on.
    pub(crate) fn items(&self) -> usize {
        self.operands.x.rows.div_ceil(self.rows_per_item) * self.operands.y.width.div_ceil(self.outputs_per_item)
    }

    /// Rows and outputs of an item; none where it does not exist.
    fn shares(&self, item: usize) -> (Range<usize>, Range<usize>) {
        let across = self.operands.y.width.div_ceil(self.outputs_per_item).max(1);
        let share = |index: usize, each: usize, total: usize| {
            let start = index.saturating_mul(each).min(total);
            start..start.saturating_add(each).min(total)
        };
        let rows = share(item / across, self.rows_per_item, self.operands.x.rows);
        (rows, share(item % across, self.outputs_per_item, self.operands.y.width))
    }

    /// Computes an item; there is nothing in an item that does not exist.
    ///
    /// # Safety
    /// No other thread runs the same item of the same run at the same time.
    pub(crate) unsafe fn run(&self, item: usize) {
        // SAFETY: the caller's.
        unsafe { self.path.run(Item { call: self, item }) }
    }
}

struct Item<'a> {
    call: &'a Call<'a>,
    item: usize,
}

impl Work for Item<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the caller's; the format is the weights'.
        unsafe {
            match self.call.operands.weights.stored() {
                Stored::Float32 => product::<L, Float32>(self.call, self.item),
                Stored::Float16 => product::<L, Float16>(self.call, self.item),
                Stored::Bfloat16 => product::<L, Bfloat16>(self.call, self.item),
            }
        }
    }
}

/// An item of a call over weights of the format.
///
/// # Safety
/// [`Call::run`]'s; [`Lanes`]'.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, F: Format>(call: &Call<'_>, item: usize) {
    let (operands, (rows, outputs)) = (&call.operands, call.shares(item));
    // SAFETY: rows and outputs are there; the caller's.
    unsafe {
        let rest = narrow::product::<L, F>(operands, rows.clone(), outputs);
        if !rest.is_empty() {
            L::apart(Product { operands, rows, outputs: rest });
        }
    }
}
