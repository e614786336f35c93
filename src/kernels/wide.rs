//! The product for many rows: weights are widened and turned into a panel, which stays in the L1 cache while all rows run
//! over it. Meanwhile the weights of the next panel are asked for, so that they are there when it is filled.
//!
//! Where rows are few, a panel holds a strip of a chunk: it leaves room for the rows and for the weights on their way.
//! Sums wait for the chunk's other strips, and for the other chunks, in memory of their own, where they lie side by side:
//! among the results, rows that are far apart would drive each other and the panel out of the cache.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::block::{self, Ahead};
use super::lanes::{Lanes, Work};
use super::operands::Operands;
use super::panel::{CHUNK, Panel};
use super::rows::{Rows, Sums};
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
    let (weights, x) = (&operands.weights, &operands.x);
    let results = Sums { to: &operands.y, bias: operands.bias, is_first: true, is_last: true };
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
                        for row in rows.clone().step_by(block::ROWS) {
                            let first = row - rows.start;
                            macro_rules! multiply {
                                ($rows:literal) => {
                                    multiply::<L, $rows>(
                                        x,
                                        &results,
                                        row,
                                        first,
                                        place,
                                        &panel,
                                        &mut waiting,
                                        &mut ahead,
                                    )
                                };
                            }
                            by_rows!(rows.end - row, multiply);
                        }
                    }
                }
            }
        }
    }
}

/// Some rows, from `row` on, which is the `first` of the item's, by a panel.
#[inline(always)]
unsafe fn multiply<L: Lanes, const BLOCK: usize>(
    x: &Rows<'_>,
    results: &Sums<'_>,
    row: usize,
    first: usize,
    place: Place,
    panel: &Panel,
    waiting: &mut Waiting,
    ahead: &mut Ahead,
) {
    let width = 2 * L::WIDTH;
    let (from, stride) = (x.at(row, place.input), x.stride);
    let strips = waiting.strips.as_mut_ptr().cast::<f32>().wrapping_add(first % FEW * width);
    let chunks = waiting.chunks.as_mut_ptr().cast::<f32>().wrapping_add((place.panel * ROWS + first) * width);
    // SAFETY: the caller's: there is room for the rows; what waits was written.
    unsafe {
        let mut sums = [[L::all(0.0); 2]; BLOCK];
        if !place.is_first_strip {
            sums = block::load::<L, BLOCK>(strips);
        }
        sums = block::product::<L, BLOCK>(sums, from, stride, panel.start(), width, place.length, ahead);
        if !place.is_last_strip {
            return block::store::<L, BLOCK>(strips, sums);
        }
        if !place.is_first_chunk {
            let before = block::load::<L, BLOCK>(chunks);
            for offset in 0..BLOCK {
                for half in 0..2 {
                    sums[offset][half] = L::add(before[offset][half], sums[offset][half]);
                }
            }
        }
        if !place.is_last_chunk {
            return block::store::<L, BLOCK>(chunks, sums);
        }
        results.put_block::<L, BLOCK>(row, place.output, sums);
    }
}
