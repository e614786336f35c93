//! One block of keys of [`attention`](super::attention): scores, their weights so far, and the weighted values.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::block::{self, Ahead};
use super::exponential::exponential;
use super::lanes::Lanes;
use super::panel::Panel;
use super::rows::Rows;
use super::weights::{Float32, Weights};

/// Keys of a block.
pub(super) const KEYS: usize = 64;

/// Queries of an item: a multiple of those of a block of products.
pub(super) const QUERIES: usize = 48;

/// Sums of a block's weights, one for each 16th key, that are added in turn: as many as the widest vector has lanes, on every
/// path, so that the bits are the same.
const SUMS: usize = 16;

/// What is known of the queries of an item after some blocks of keys.
pub(super) struct State {
    /// As many as the block has keys, up to whole panels.
    scores: [[MaybeUninit<f32>; KEYS]; QUERIES],
    largest: [f32; QUERIES],
    /// Sums of the weights.
    pub(super) total: [f32; QUERIES],
}

impl State {
    /// Before the first block.
    #[inline(always)]
    pub(super) fn new() -> Self {
        State {
            scores: [[MaybeUninit::uninit(); KEYS]; QUERIES],
            largest: [f32::NEG_INFINITY; QUERIES],
            total: [0.0; QUERIES],
        }
    }

    /// A query's first score.
    #[inline(always)]
    fn scores(&mut self, query: usize) -> *mut f32 {
        self.scores[query].as_mut_ptr().cast()
    }
}

/// Products of all queries with a block of keys.
///
/// # Safety
/// [`Lanes`]'; queries, keys and context are there, and nobody else uses the context now.
#[inline(always)]
pub(super) unsafe fn scores<L: Lanes>(
    state: &mut State,
    panel: &mut Panel,
    queries: &Rows<'_>,
    first: usize,
    count: usize,
    keys: &Rows<'_>,
    block: Range<usize>,
) {
    let weights = Weights::of_rows(Rows { rows: block.end, ..*keys });
    // SAFETY: the caller's; KEYS is a multiple of the width of a panel.
    unsafe {
        for key in block.clone().step_by(2 * L::WIDTH) {
            panel.fill::<L, Float32>(&weights, key, 0, keys.width);
            let column = key - block.start;
            for query in (0..count).step_by(block::ROWS) {
                let from = queries.at(first + query, 0);
                macro_rules! products {
                    ($rows:literal) => {{
                        let sums = block::product::<L, $rows>(
                            [[L::all(0.0); 2]; $rows],
                            from,
                            queries.stride,
                            panel.start(),
                            2 * L::WIDTH,
                            keys.width,
                            &mut Ahead::nothing(),
                        );
                        for offset in 0..$rows {
                            let to = state.scores(query + offset).add(column);
                            L::store(to, sums[offset][0]);
                            L::store(to.add(L::WIDTH), sums[offset][1]);
                        }
                    }};
                }
                by_rows!(count - query, products);
            }
        }
    }
}

/// Turns a query's scores into weights, and scales what was summed before to the new largest score.
///
/// # Safety
/// [`Lanes`]'; queries, keys and context are there, and nobody else uses the context now.
#[inline(always)]
pub(super) unsafe fn weigh<L: Lanes>(
    state: &mut State,
    query: usize,
    scale: f32,
    relative: Option<*const f32>,
    block: &Range<usize>,
    seen: Range<usize>,
    context: &mut [f32],
) {
    let keys = block.len().next_multiple_of(2 * L::WIDTH);
    // SAFETY: whole panels of scores were written.
    let scores = unsafe { std::slice::from_raw_parts_mut(state.scores(query), keys) };
    let start = seen.start.clamp(block.start, block.end) - block.start;
    let end = seen.end.clamp(block.start, block.end) - block.start;
    if start >= end {
        scores.fill(0.0);
        return;
    }
    // SAFETY: within the scores; the table has a value for each key of a row.
    unsafe {
        let at = scores.as_mut_ptr();
        let mut lane = 0;
        while lane < keys {
            L::store(at.add(lane), L::multiply(L::load(at.add(lane)), L::all(scale)));
            lane += L::WIDTH;
        }
        if let Some(relative) = relative {
            for key in start..end {
                scores[key] += *relative.wrapping_add(block.start + key);
            }
        }
        scores[..start].fill(f32::NEG_INFINITY);
        scores[end..].fill(f32::NEG_INFINITY);
        let at = scores.as_mut_ptr();
        let mut largest = L::load(at);
        lane = L::WIDTH;
        while lane < keys {
            largest = L::larger(largest, L::load(at.add(lane)));
            lane += L::WIDTH;
        }
        let mut lanes = [f32::NEG_INFINITY; 16];
        L::store(lanes.as_mut_ptr(), largest);
        let before = state.largest[query];
        let largest = lanes.into_iter().fold(before, f32::max);
        let mut totals = [L::all(0.0); 2];
        lane = 0;
        while lane < keys {
            for part in 0..SUMS / L::WIDTH {
                let at = at.add(lane + part * L::WIDTH);
                let weight = exponential::<L>(L::add(L::load(at), L::all(-largest)));
                totals[part] = L::add(totals[part], weight);
                L::store(at, weight);
            }
            lane += SUMS;
        }
        let mut sums = [0.0_f32; SUMS];
        for part in 0..SUMS / L::WIDTH {
            L::store(sums.as_mut_ptr().add(part * L::WIDTH), totals[part]);
        }
        let total = sums.iter().sum::<f32>();
        if before == f32::NEG_INFINITY {
            state.total[query] = total;
        } else if largest > before {
            let mut factor = [0.0_f32; 16];
            L::store(factor.as_mut_ptr(), exponential::<L>(L::all(before - largest)));
            state.total[query] = state.total[query] * factor[0] + total;
            for value in context {
                *value *= factor[0];
            }
        } else {
            state.total[query] += total;
        }
        state.largest[query] = largest;
    }
}

/// Adds the weighted values of a block.
///
/// # Safety
/// [`Lanes`]'; queries, keys and context are there, and nobody else uses the context now.
#[inline(always)]
pub(super) unsafe fn add_values<L: Lanes>(
    state: &State,
    panel: &mut Panel,
    values: &Rows<'_>,
    count: usize,
    block: Range<usize>,
    size: usize,
    context: *mut f32,
    position: usize,
) {
    // SAFETY: the caller's; columns that do not fill a panel are copied into one.
    unsafe {
        for column in (0..size).step_by(2 * L::WIDTH) {
            let columns = (size - column).min(2 * L::WIDTH);
            let (mut from, mut stride) = (values.at(block.start, column), values.stride);
            if columns < 2 * L::WIDTH {
                panel.copy::<L>(values, block.start, column, block.len());
                (from, stride) = (panel.start(), 2 * L::WIDTH);
            }
            for query in (0..count).step_by(block::ROWS) {
                let weights = state.scores[query].as_ptr().cast();
                macro_rules! products {
                    ($rows:literal) => {{
                        let sums = block::product::<L, $rows>(
                            [[L::all(0.0); 2]; $rows],
                            weights,
                            KEYS,
                            from,
                            stride,
                            block.len(),
                            &mut Ahead::nothing(),
                        );
                        for offset in 0..$rows {
                            let to = context.wrapping_add((query + offset) * position + column);
                            if columns == 2 * L::WIDTH {
                                L::store(to, L::add(L::load(to), sums[offset][0]));
                                let to = to.add(L::WIDTH);
                                L::store(to, L::add(L::load(to), sums[offset][1]));
                                continue;
                            }
                            let mut added = [0.0_f32; 32];
                            L::store(added.as_mut_ptr(), sums[offset][0]);
                            L::store(added.as_mut_ptr().add(L::WIDTH), sums[offset][1]);
                            let to = std::slice::from_raw_parts_mut(to, columns);
                            for (value, added) in to.iter_mut().zip(added) {
                                *value += added;
                            }
                        }
                    }};
                }
                by_rows!(count - query, products);
            }
        }
    }
}
