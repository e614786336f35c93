//! Heads of attention in memory of the caller: slices of a packed projection as well as arrays of their own.

use super::rows::Rows;

/// Values from one row, one position and one head to the next; those of a head's position lie side by side. A `row` of 0
/// shares one row among all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) row: usize,
    pub(crate) position: usize,
    pub(crate) head: usize,
}

/// How much there is of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) rows: usize,
    pub(crate) positions: usize,
    pub(crate) heads: usize,
    pub(crate) size: usize,
}

/// Heads to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads<'a> {
    values: &'a [f32],
    layout: Layout,
    pub(super) extent: Extent,
}

impl Layout {
    /// Where a head's first position lies.
    pub(super) fn start(&self, row: usize, head: usize) -> usize {
        row * self.row + head * self.head
    }

    /// Whether heads lie within so many values.
    pub(super) fn fits(&self, values: usize, extent: Extent) -> bool {
        let Extent { rows, positions, heads, size } = extent;
        if rows == 0 || positions == 0 || heads == 0 || size == 0 {
            return true;
        }
        let end = (rows - 1).checked_mul(self.row).and_then(|end| end.checked_add((heads - 1).checked_mul(self.head)?));
        let end = end.and_then(|end| end.checked_add((positions - 1).checked_mul(self.position)?)?.checked_add(size));
        size <= self.position && end.is_some_and(|end| end <= values)
    }
}

impl<'a> Heads<'a> {
    /// The heads, or nothing where they do not lie within the values.
    pub(crate) fn new(values: &'a [f32], layout: Layout, extent: Extent) -> Option<Self> {
        layout.fits(values.len(), extent).then_some(Heads { values, layout, extent })
    }

    /// The positions of one head, a row each.
    pub(super) fn head(&self, row: usize, head: usize) -> Rows<'a> {
        let values = self.values.get(self.layout.start(row, head)..).unwrap_or_default();
        Rows { values, rows: self.extent.positions, width: self.extent.size, stride: self.layout.position }
    }
}
