//! The product for many rows: weights are widened and turned into a panel, which stays in the L1 cache while all rows run
//! over it. Meanwhile the weights of the next panel are asked for, so that they are there when it is filled.
//!
//! Where rows are few, a panel holds a strip of a chunk: it leaves room for the rows and for the weights on their way.
//! Sums wait for the chunk's other strips, and for the other chunks, in memory of their own, where they lie side by side:
//! among the results, rows that are far apart would drive each other and the panel out of the cache.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::block::{self, Ahead, each_row};
use super::lanes::{Lanes, Work};
use super::operands::Operands;
use super::panel::{CHUNK, Panel};
use super::rows::Sums;
use super::weights::{Bfloat16, Float16, Float32, Stored};

/// Rows and outputs of an item at most: a chunk of the rows stays in the L2 cache while panels pass.
pub(super) const ROWS: usize = 288;
pub(super) const OUTPUTS: usize = 64;

/// Inputs of a strip: a part of a chunk.
const STRIP: usize = 64;

/// Rows at most, where a panel holds a strip.
pub(super) const FEW: usize = 24;

/// Sums of an item that wait for others.
#[repr(align(64))]
struct Waiting {
    /// Those of a panel, for the chunk's other strips.
    strips: [MaybeUninit<f32>; FEW * 32],
    /// Those of all panels, for the other chunks.
    chunks: [MaybeUninit<f32>; ROWS * OUTPUTS],
}

/// What a panel holds.
#[derive(Clone, Copy)]
struct Place {
    output: usize,
    input: usize,
    length: usize,
    /// Of the item's panels.
    panel: usize,
    is_first_strip: bool,
    is_last_strip: bool,
    is_first_chunk: bool,
    is_last_chunk: bool,
}

/// Some rows, at most [`ROWS`], by some outputs, at most [`OUTPUTS`]. One text whatever weights are stored as, which
/// only filling depends on. Nobody else writes to these results now.
pub(super) struct Product<'a> {
    pub(super) operands: &'a Operands<'a>,
    pub(super) rows: Range<usize>,
    pub(super) outputs: Range<usize>,
}

impl Work for Product<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the caller's.
        unsafe { product::<L>(self.operands, self.rows, self.outputs) }
    }
}

#[inline(always)]
unsafe fn product<L: Lanes>(operands: &Operands<'_>, rows: Range<usize>, outputs: Range<usize>) {
    let weights = &operands.weights;
    let (width, bytes) = (2 * L::WIDTH, weights.stored().bytes());
    // Few rows: all inputs of a few outputs after each other, so that memory is read in long rows.
    let (strips, group) = if rows.len() <= FEW { (STRIP, width) } else { (CHUNK, OUTPUTS) };
    let mut panel = Panel::new();
    let mut waiting =
        Waiting { strips: [MaybeUninit::uninit(); FEW * 32], chunks: [MaybeUninit::uninit(); ROWS * OUTPUTS] };
    for start in outputs.clone().step_by(group) {
        let end = outputs.end.min(start + group);
        for chunk in (0..weights.inputs()).step_by(CHUNK) {
            let inputs = CHUNK.min(weights.inputs() - chunk);
            for (index, output) in (start..end).step_by(width).enumerate() {
                // The panel after this one: of the same inputs, of the next ones, or the next outputs' first.
                let next = if output + width < end {
                    weights.near(output + width, chunk)
                } else if chunk + CHUNK < weights.inputs() {
                    weights.near(start, chunk + CHUNK)
                } else {
                    weights.near(end, 0)
                };
                for strip in (0..inputs).step_by(strips) {
                    let length = strips.min(inputs - strip);
                    let place = Place {
                        output,
                        input: chunk + strip,
                        length,
                        panel: index,
                        is_first_strip: strip == 0,
                        is_last_strip: strip + length == inputs,
                        is_first_chunk: chunk == 0,
                        is_last_chunk: chunk + inputs == weights.inputs(),
                    };
                    let mut ahead =
                        Ahead::of(next.wrapping_add(strip * bytes), weights.stride(), width, length * bytes);
                    // SAFETY: the caller's; the format is the weights'.
                    unsafe {
                        match weights.stored() {
                            Stored::Float32 => panel.fill::<L, Float32>(weights, output, place.input, length),
                            Stored::Float16 => panel.fill::<L, Float16>(weights, output, place.input, length),
                            Stored::Bfloat16 => panel.fill::<L, Bfloat16>(weights, output, place.input, length),
                        }
                        macro_rules! multiply {
                            ($rows:literal, $first:expr, $blocks:expr) => {
                                L::apart(Blocks::<$rows> {
                                    operands,
                                    row: rows.start + $first,
                                    first: $first,
                                    count: $blocks,
                                    place,
                                    panel: panel.start(),
                                    waiting: &mut waiting,
                                    ahead: &mut ahead,
                                })
                            };
                        }
                        let rest = rows.len() % block::ROWS;
                        let whole = rows.len() - rest;
                        if whole > 0 {
                            multiply!(6, 0, whole / block::ROWS);
                        }
                        match rest {
                            1 => multiply!(1, whole, 1),
                            2 => multiply!(2, whole, 1),
                            3 => multiply!(3, whole, 1),
                            4 => multiply!(4, whole, 1),
                            5 => multiply!(5, whole, 1),
                            _ => {}
                        }
                    }
                }
            }
        }
    }
}

/// Blocks of so many rows by a panel, from `row` on, which is the `first` of the item's.
struct Blocks<'a, const BLOCK: usize> {
    operands: &'a Operands<'a>,
    row: usize,
    first: usize,
    count: usize,
    place: Place,
    panel: *const f32,
    waiting: &'a mut Waiting,
    ahead: &'a mut Ahead,
}

impl<const BLOCK: usize> Work for Blocks<'_, BLOCK> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Blocks { operands, row, first, count, place, panel, waiting, ahead } = self;
        let strips = waiting.strips.as_mut_ptr().cast::<f32>();
        let chunks = waiting.chunks.as_mut_ptr().cast::<f32>();
        // In registers.
        let mut next = *ahead;
        for offset in (0..count * BLOCK).step_by(BLOCK) {
            // SAFETY: the caller's: there is room for the rows.
            unsafe {
                let strips = strips.wrapping_add((first + offset) % FEW * 2 * L::WIDTH);
                let chunks = chunks.wrapping_add((place.panel * ROWS + first + offset) * 2 * L::WIDTH);
                multiply::<L, BLOCK>(operands, row + offset, place, panel, strips, chunks, &mut next);
            }
        }
        *ahead = next;
    }
}

/// A block, from `row` on, by a panel; where its sums wait.
#[inline(always)]
unsafe fn multiply<L: Lanes, const BLOCK: usize>(
    operands: &Operands<'_>,
    row: usize,
    place: Place,
    panel: *const f32,
    strips: *mut f32,
    chunks: *mut f32,
    ahead: &mut Ahead,
) {
    let width = 2 * L::WIDTH;
    let (from, stride) = (operands.x.at(row, place.input), operands.x.stride);
    // SAFETY: the caller's; what waits was written.
    unsafe {
        let mut sums = [[L::all(0.0); 2]; BLOCK];
        if !place.is_first_strip {
            each_row!(BLOCK, offset, {
                let from = strips.add(offset * width);
                sums[offset] = [L::load(from), L::load(from.add(L::WIDTH))];
            });
        }
        sums = block::product::<L, BLOCK>(sums, from, stride, panel, width, place.length, ahead);
        if !place.is_last_strip {
            return put::<L, BLOCK>(strips, sums);
        }
        if !place.is_first_chunk {
            each_row!(BLOCK, offset, {
                let from = chunks.add(offset * width);
                let [left, right] = sums[offset];
                sums[offset] = [L::add(L::load(from), left), L::add(L::load(from.add(L::WIDTH)), right)];
            });
        }
        if !place.is_last_chunk {
            return put::<L, BLOCK>(chunks, sums);
        }
        let results = Sums { to: &operands.y, bias: operands.bias, is_first: true, is_last: true };
        results.put_block::<L, BLOCK>(row, place.output, sums);
    }
}

/// Writes a block's sums side by side.
#[inline(always)]
unsafe fn put<L: Lanes, const BLOCK: usize>(to: *mut f32, sums: [[L::Vector; 2]; BLOCK]) {
    // SAFETY: the caller's.
    unsafe {
        each_row!(BLOCK, offset, {
            let to = to.add(offset * 2 * L::WIDTH);
            L::store(to, sums[offset][0]);
            L::store(to.add(L::WIDTH), sums[offset][1]);
        });
    }
}
