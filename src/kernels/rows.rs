//! Rows of float32 in memory of the caller, and where the sums of a product go.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::InParallel;
use super::block::each_row;
use super::lanes::Lanes;

/// Rows to read: `width` values each, `stride` values from one row to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
}

/// Rows to write, from several threads at once.
#[derive(Debug)]
pub(crate) struct RowsMut<'a> {
    pub(super) start: *mut f32,
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
    memory: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is written only by unsafe functions, whose callers keep threads apart.
unsafe impl Sync for RowsMut<'_> {}
// SAFETY: as a `&mut [f32]`.
unsafe impl Send for RowsMut<'_> {}

/// So many rows are worth a copy: fewer have room in the cache.
const WORTH: usize = 4;

/// Rows that are copied at once.
const COPIED: usize = 64;

/// Values of 4 KiB, and of a cache line.
const PAGE: usize = 1024;
const LINE: usize = 16;

/// Whether rows of that shape lie within so many values.
fn fits(values: usize, rows: usize, width: usize, stride: usize) -> bool {
    let Some(last) = rows.checked_sub(1) else { return true };
    width <= stride
        && last.checked_mul(stride).and_then(|start| start.checked_add(width)).is_some_and(|end| end <= values)
}

impl<'a> Rows<'a> {
    /// The rows, or nothing where they overlap or do not lie within the values.
    pub(crate) fn new(values: &'a [f32], rows: usize, width: usize, stride: usize) -> Option<Self> {
        fits(values.len(), rows, width, stride).then_some(Rows { values, rows, width, stride })
    }

    /// The same rows, in `room` where they lie a multiple of 4 KiB apart: such rows drive each other out of the caches.
    /// Nothing where there is no memory.
    pub(super) fn apart<'r, E>(
        self,
        room: &'r mut Vec<f32>,
        in_parallel: &InParallel<'_, E>,
    ) -> Option<Result<Rows<'r>, E>>
    where
        'a: 'r,
    {
        if self.rows < WORTH || !self.stride.is_multiple_of(PAGE) {
            return Some(Ok(self));
        }
        let stride = self.width.next_multiple_of(LINE) + LINE;
        let count = self.rows.checked_mul(stride)?;
        room.try_reserve_exact(count).ok()?;
        let to = RowsMut { start: room.as_mut_ptr(), rows: self.rows, width: stride, stride, memory: PhantomData };
        let copied = in_parallel(self.rows.div_ceil(COPIED), &|item| {
            for row in item * COPIED..self.rows.min((item + 1) * COPIED) {
                // SAFETY: the row is there; there is room for as many of `stride` values, and each item has rows of its own.
                unsafe {
                    std::ptr::copy_nonoverlapping(self.at(row, 0), to.at(row, 0), self.width);
                    std::slice::from_raw_parts_mut(to.at(row, self.width).cast(), stride - self.width)
                        .fill(MaybeUninit::new(0.0_f32));
                }
            }
        });
        if let Err(error) = copied {
            return Some(Err(error));
        }
        // SAFETY: every row was written, and what is between them.
        unsafe { room.set_len(count) };
        Rows::new(room, self.rows, self.width, stride).map(Ok)
    }

    /// A value's place; the caller keeps to the shape.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, column: usize) -> *const f32 {
        self.values.as_ptr().wrapping_add(row * self.stride + column)
    }
}

impl<'a> RowsMut<'a> {
    /// The rows, or nothing where they overlap or do not lie within the values.
    pub(crate) fn new(values: &'a mut [f32], rows: usize, width: usize, stride: usize) -> Option<Self> {
        let fits = fits(values.len(), rows, width, stride);
        fits.then_some(RowsMut { start: values.as_mut_ptr(), rows, width, stride, memory: PhantomData })
    }

    /// A value's place; the caller keeps to the shape.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, column: usize) -> *mut f32 {
        self.start.wrapping_add(row * self.stride + column)
    }
}

/// Adds the sums of one chunk of the inputs to those of the chunks before it, and the bias after the last.
pub(super) struct Sums<'a> {
    pub(super) to: &'a RowsMut<'a>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

impl Sums<'_> {
    /// For some rows, two vectors of outputs each, from `output` on: the sums of all chunks.
    ///
    /// # Safety
    /// As [`Sums::put`]'s; it is the first chunk and the last.
    #[inline(always)]
    pub(super) unsafe fn put_block<L: Lanes, const ROWS: usize>(
        &self,
        row: usize,
        output: usize,
        mut sums: [[L::Vector; 2]; ROWS],
    ) {
        // SAFETY: the caller's; vectors whose first output is past the width are left out.
        unsafe {
            if self.to.width - output < 2 * L::WIDTH {
                each_row!(ROWS, offset, {
                    self.put::<L>(row + offset, output, sums[offset][0]);
                    if output + L::WIDTH < self.to.width {
                        self.put::<L>(row + offset, output + L::WIDTH, sums[offset][1]);
                    }
                });
                return;
            }
            let to = self.to.at(row, output);
            if let Some(bias) = self.bias {
                let bias = bias.as_ptr().add(output);
                let (left, right) = (L::load(bias), L::load(bias.add(L::WIDTH)));
                each_row!(ROWS, offset, {
                    sums[offset] = [L::add(sums[offset][0], left), L::add(sums[offset][1], right)];
                });
            }
            each_row!(ROWS, offset, {
                L::store(to.add(offset * self.to.stride), sums[offset][0]);
                L::store(to.add(offset * self.to.stride + L::WIDTH), sums[offset][1]);
            });
        }
    }

    /// For a row, a vector of outputs from `output` on, of which those past the width are left out.
    ///
    /// # Safety
    /// [`Lanes`]'; the row and the first output are there, and nobody else uses them now; the bias is as long as a row.
    #[inline(always)]
    pub(super) unsafe fn put<L: Lanes>(&self, row: usize, output: usize, mut sum: L::Vector) {
        let to = self.to.at(row, output);
        let count = self.to.width - output;
        // SAFETY: the caller's; past the width only the array is read and written.
        unsafe {
            if count >= L::WIDTH {
                if !self.is_first {
                    sum = L::add(L::load(to), sum);
                }
                if let (true, Some(bias)) = (self.is_last, self.bias) {
                    sum = L::add(sum, L::load(bias.as_ptr().add(output)));
                }
                L::store(to, sum);
                return;
            }
            let mut sums = [0.0_f32; 16];
            L::store(sums.as_mut_ptr(), sum);
            for index in 0..count {
                let mut sum = sums[index];
                if !self.is_first {
                    sum += *to.add(index);
                }
                if let (true, Some(bias)) = (self.is_last, self.bias) {
                    sum += *bias.as_ptr().add(output + index);
                }
                to.add(index).write(sum);
            }
        }
    }
}
