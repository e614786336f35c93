//! Scores, masks, softmax and context in one pass over the keys, in memory that does not grow with their number.
//!
//! Keys come in blocks, counted from the first key of the prefix and again from the first of the row's own.
//! After each block, what was summed is scaled to the largest score so far (online softmax; Milakov and Gimelshein 2018).
//! All paths add in one order, and agree to the bit.
//! A query's result depends on neither the other rows, nor padding behind its own: equal bits but for the sign of zeros.
//! Keys out of sight are not read, unless the same block holds one in sight of a query nearby; then they weigh 0.
//! A query without any key in sight, and each query behind its row's end, gives zeros.

use std::marker::PhantomData;
use std::ops::Range;

use super::heads::{Extent, Heads, Layout};
use super::lanes::{Lanes, Work};
use super::online_softmax::{KEYS, QUERIES, State, add_values, scores, weigh};
use super::panel::{CHUNK, Panel};
use super::processor::Path;

/// Which keys a query sees, and what is added to their scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight<'a> {
    /// Factor of the scores.
    pub(crate) scale: f32,
    /// Positions of each row that are no padding.
    pub(crate) lengths: &'a [usize],
    /// No key farther before the query than this.
    pub(crate) back: Option<usize>,
    /// No key farther after the query than this; 0: causal.
    pub(crate) ahead: Option<usize>,
    /// Added to the scores: (heads, 2 · positions - 1), at `positions - 1 + key - query`; not with a prefix.
    pub(crate) relative: Option<&'a [f32]>,
}

/// One run of attention.
#[derive(Debug)]
pub(crate) struct Attention<'a> {
    queries: Heads<'a>,
    /// Keys and values: of the prefix, and of the rows.
    segments: [Option<(Heads<'a>, Heads<'a>)>; 2],
    sight: Sight<'a>,
    context: *mut f32,
    layout: Layout,
    path: Path,
    memory: PhantomData<&'a mut [f32]>,
}

// SAFETY: the context is written only by an unsafe function, whose callers keep threads apart.
unsafe impl Sync for Attention<'_> {}

impl<'a> Attention<'a> {
    /// The run, or nothing where shapes do not match. Where a row has one query and more keys, it is that of its last
    /// position. Several heads of queries in turn share one of keys and values, and a head's size is at most 256.
    pub(crate) fn new(
        queries: Heads<'a>,
        prefix: Option<(Heads<'a>, Heads<'a>)>,
        own: (Heads<'a>, Heads<'a>),
        sight: Sight<'a>,
        (context, layout): (&'a mut [f32], Layout),
        path: Path,
    ) -> Option<Self> {
        let Extent { rows, positions, heads, size } = queries.extent;
        let shared = own.0.extent.heads;
        let own_positions = own.0.extent.positions;
        let is_pair = |(keys, values): (Heads<'_>, Heads<'_>), count: usize| {
            [keys.extent, values.extent]
                .iter()
                .all(|extent| (extent.rows, extent.positions, extent.heads, extent.size) == (rows, count, shared, size))
        };
        let prefix_positions = prefix.map_or(0, |(keys, _)| keys.extent.positions);
        let matches = (1..=CHUNK).contains(&size)
            && shared > 0
            && heads % shared == 0
            && is_pair(own, own_positions)
            && (positions == own_positions || positions == 1 && sight.relative.is_none())
            && prefix.is_none_or(|prefix| is_pair(prefix, prefix_positions))
            && sight.lengths.len() == rows
            && sight.lengths.iter().all(|&length| length <= own_positions)
            && sight
                .relative
                .is_none_or(|table| prefix_positions == 0 && table.len() == heads * (2 * positions).saturating_sub(1))
            && layout.fits(context.len(), queries.extent);
        let context = context.as_mut_ptr();
        let segments = [prefix, Some(own)];
        matches.then_some(Attention { queries, segments, sight, context, layout, path, memory: PhantomData })
    }

    /// Items of the run: numbers from 0 on.
    pub(crate) fn items(&self) -> usize {
        let Extent { rows, positions, heads, .. } = self.queries.extent;
        rows * heads * positions.div_ceil(QUERIES)
    }

    /// Computes an item; there is nothing in an item that does not exist.
    ///
    /// # Safety
    /// No other thread runs the same item at the same time; the layout of the context keeps its heads apart.
    pub(crate) unsafe fn run(&self, item: usize) {
        if item >= self.items() {
            return;
        }
        // SAFETY: the item is there; the caller's.
        unsafe { self.path.run(Item { attention: self, item }) }
    }

    /// The position of a row's first query.
    fn first_query(&self, row: usize) -> usize {
        let keys = self.segments[1].map_or(0, |(keys, _)| keys.extent.positions);
        if self.queries.extent.positions == keys { 0 } else { self.sight.lengths[row].saturating_sub(1) }
    }

    /// The keys of a segment that a query sees.
    fn seen(&self, row: usize, query: usize, segment: usize) -> Range<usize> {
        let before = self.segments[0].map_or(0, |(keys, _)| keys.extent.positions);
        let (offset, end) = if segment == 0 { (0, before) } else { (before, self.sight.lengths[row]) };
        let query = before + self.first_query(row) + query;
        let last = query.saturating_add(self.sight.ahead.unwrap_or(usize::MAX));
        let start = query.saturating_sub(self.sight.back.unwrap_or(usize::MAX)).saturating_sub(offset).min(end);
        start..last.saturating_add(1).saturating_sub(offset).clamp(start, end)
    }
}

struct Item<'a> {
    attention: &'a Attention<'a>,
    item: usize,
}

impl Work for Item<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the caller's.
        unsafe { item_of::<L>(self.attention, self.item) }
    }
}

#[inline(always)]
unsafe fn item_of<L: Lanes>(attention: &Attention<'_>, item: usize) {
    let Extent { positions, heads, size, .. } = attention.queries.extent;
    let parts = positions.div_ceil(QUERIES);
    let (row, head, first) = (item / parts / heads, item / parts % heads, item % parts * QUERIES);
    let length = attention.sight.lengths[row];
    let queries = attention.queries.head(row, head);
    let base = attention.context.wrapping_add(attention.layout.start(row, head));
    let context = |query: usize| base.wrapping_add((first + query) * attention.layout.position);
    let present = positions.min(first + QUERIES) - first;
    let count = length.saturating_sub(attention.first_query(row)).clamp(first, first + present) - first;
    let mut state = State::new();
    let mut panel = Panel::new();
    // SAFETY: the caller's; the shapes were checked.
    unsafe {
        for query in 0..present {
            std::slice::from_raw_parts_mut(context(query), size).fill(0.0);
        }
        for (segment, pair) in attention.segments.iter().enumerate() {
            let (Some((keys, values)), true) = (pair, count > 0) else { continue };
            let shared = head / (heads / keys.extent.heads);
            let (keys, values) = (keys.head(row, shared), values.head(row, shared));
            let end = attention.seen(row, first + count - 1, segment).end;
            let start = attention.seen(row, first, segment).start;
            for block in (start - start % KEYS..end).step_by(KEYS) {
                // Up to the row's end and no further: what lies behind is padding.
                let limit = if segment == 0 { keys.rows } else { length };
                let block = block..(block + KEYS).min(limit);
                scores::<L>(&mut state, &mut panel, &queries, first, count, &keys, block.clone());
                for query in 0..count {
                    let seen = attention.seen(row, first + query, segment);
                    let relative = attention.sight.relative.map(|table| {
                        table.as_ptr().add(head * (2 * positions - 1) + positions - 1).wrapping_sub(first + query)
                    });
                    let to = std::slice::from_raw_parts_mut(context(query), size);
                    weigh::<L>(&mut state, query, attention.sight.scale, relative, &block, seen, to);
                }
                add_values::<L>(&state, &mut panel, &values, count, block, size, context(0), attention.layout.position);
            }
        }
        for query in 0..count {
            if state.total[query] != 0.0 {
                for value in std::slice::from_raw_parts_mut(context(query), size) {
                    *value /= state.total[query];
                }
            }
        }
    }
}
