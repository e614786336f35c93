//! The innermost product: a few rows of activations by a panel. What is wanted next from memory is asked for meanwhile, a
//! cache line each turn of the loop: asked for at once, so many lines would wait for each other.

use super::lanes::Lanes;

/// Rows of a block at most: with two vectors of outputs, twelve sums, which is what 16 registers hold beside the operands.
pub(super) const ROWS: usize = 6;

/// Does something for each row of a block. Written out, since sums that a loop goes over stay in memory.
macro_rules! each_row {
    ($rows:expr, $row:ident, $work:block) => {
        const { assert!($rows <= $crate::kernels::block::ROWS) };
        each_row!($rows, $row, $work, 0 1 2 3 4 5)
    };
    ($rows:expr, $row:ident, $work:block, $($number:literal)*) => {
        $(if $number < $rows {
            let $row = $number;
            $work
        })*
    };
}
pub(super) use each_row;

/// Inputs of a turn of the loop.
const UNROLLED: usize = 4;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Cache lines that are wanted next, of rows of bytes: the first of all rows, then the second of all, and so on.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    next: *const u8,
    stride: usize,
    rows: usize,
    row: usize,
    lines: usize,
}

impl Ahead {
    /// None.
    #[inline(always)]
    pub(super) fn nothing() -> Ahead {
        Ahead { next: std::ptr::null(), stride: 0, rows: 0, row: 0, lines: 0 }
    }

    /// So many bytes of each of some rows, `stride` bytes apart, which need not be there.
    #[inline(always)]
    pub(super) fn of(from: *const u8, stride: usize, rows: usize, bytes: usize) -> Ahead {
        Ahead { next: from, stride, rows, row: 0, lines: rows * bytes.div_ceil(LINE) }
    }

    /// Asks for one.
    #[inline(always)]
    unsafe fn ask<L: Lanes>(&mut self) {
        if self.lines > 0 {
            // SAFETY: a prefetch reads nothing.
            unsafe { L::prefetch(self.next) };
            self.lines -= 1;
            self.row += 1;
            self.next = self.next.wrapping_add(self.stride);
            if self.row == self.rows {
                self.row = 0;
                self.next = self.next.wrapping_sub(self.rows * self.stride).wrapping_add(LINE);
            }
        }
    }
}

/// Adds to the sums over `length` inputs, each in the order of the inputs from 0 on.
///
/// # Safety
/// [`Lanes`]'; `rows` are `ROWS` rows of `length` values, `stride` values apart; the panel has `length` inputs, each two
/// vectors, `panel_stride` values apart.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, const ROWS: usize>(
    mut sums: [[L::Vector; 2]; ROWS],
    rows: *const f32,
    stride: usize,
    panel: *const f32,
    panel_stride: usize,
    length: usize,
    ahead: &mut Ahead,
) -> [[L::Vector; 2]; ROWS] {
    // SAFETY: the caller's.
    unsafe {
        let (mut weights, mut inputs) = (panel, rows);
        macro_rules! step {
            ($at:expr) => {
                let from = weights.add($at * panel_stride);
                let (left, right) = (L::load(from), L::load(from.add(L::WIDTH)));
                each_row!(ROWS, row, {
                    let x = L::all(*inputs.add(row * stride + $at));
                    sums[row][0] = L::multiply_add(x, left, sums[row][0]);
                    sums[row][1] = L::multiply_add(x, right, sums[row][1]);
                });
            };
        }
        for _ in 0..length / UNROLLED {
            ahead.ask::<L>();
            step!(0);
            step!(1);
            step!(2);
            step!(3);
            weights = weights.wrapping_add(UNROLLED * panel_stride);
            inputs = inputs.wrapping_add(UNROLLED);
        }
        for _ in 0..length % UNROLLED {
            step!(0);
            weights = weights.wrapping_add(panel_stride);
            inputs = inputs.wrapping_add(1);
        }
        sums
    }
}
