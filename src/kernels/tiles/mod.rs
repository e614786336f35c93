//! Products by tiles (Intel's AMX): of bfloat16, over weights that stay where they lie. Those of 8-bit integers are among
//! the [`quantized`](super::quantized) ones.
//!
//! `Yᵀ = W·Xᵀ`: 16 outputs by 32 inputs of the mapped weights are a tile as they are, and only activations are put in pairs.
//! A float32 activation is exactly the sum of three bfloat16 [`terms`](super::terms), so three products of a tile of weights
//! give float32's accuracy; one term, rounded, is `dtype="bfloat16"`.
//!
//! The program ([`block`], [`linear`]) is written over [`Tiles`], which is the [`instructions`], or plain Rust that does what
//! they do ([`emulation`]): where there is no AMX, cuts, tails and sums are tested all the same.
//!
//! A sum is added in one order for any number of rows: 32 inputs at a time, for each of them the terms from the largest
//! on, within a tile as TDPBF16PS states; the bias comes last. So a row's bits depend on the row alone. They are not those of
//! the other paths, and numbers below 2⁻¹²⁶, terms and products among them, count as zero: a sum may be off by so much times
//! the weights. With three terms, a sum that is not finite is added again in the order of the other paths: infinities
//! and NaN are theirs. With one, they are those of the tiles, and an activation past bfloat16's range is infinite.

mod activations;
mod block;
pub(super) mod emulation;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) mod instructions;
pub(super) mod linear;

use super::lanes::Lanes;

/// Rows of a tile.
pub(super) const ROWS: usize = 16;
/// Bytes of a tile's row.
pub(super) const BYTES: usize = 64;
/// Inputs that a tile of weights covers.
const INPUTS: usize = 32;

/// Who multiplies tiles. A value of this type is the proof that it can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Instructions,
    Emulation,
}

impl Unit {
    /// The processor, where it has AMX for bfloat16, and the system lets this process use it.
    #[cfg(any(test, target_arch = "x86_64"))]
    pub(super) fn of_processor() -> Option<Unit> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if instructions::are_there() {
            return Some(Unit(Kind::Instructions));
        }
        None
    }

    /// Whether it is the processor, and multiplies 8-bit integers too.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) fn has_integers(self) -> bool {
        match self.0 {
            Kind::Instructions => instructions::have_integers(),
            Kind::Emulation => false,
        }
    }

    /// Plain Rust.
    pub(super) fn emulated() -> Unit {
        Unit(Kind::Emulation)
    }
}

/// Eight tiles, each of up to 16 rows of up to 64 bytes, with those operations on them that a product needs.
///
/// # Safety
/// Every function needs the instructions, which a [`Unit`] proves; all but `configure` need a thread that has configured
/// its tiles and not released them since, and tiles that have a shape. Pointers lead to as many rows of as many bytes as the
/// tile has, `stride` bytes apart.
pub(super) trait Tiles {
    /// Vectors of the same processor.
    type Lanes: Lanes;

    /// Nothing in them yet.
    fn new() -> Self;
    /// Gives the tiles their shapes, and zeros.
    unsafe fn configure(&mut self, shapes: &Shapes);
    /// Gives the tiles back, so that the system need not save them when it switches threads.
    unsafe fn release(&mut self);
    /// Fills a tile with zeros.
    unsafe fn clear<const TILE: usize>(&mut self);
    /// Reads a tile.
    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize);
    /// Writes a tile.
    unsafe fn store<const TILE: usize>(&self, to: *mut u8, stride: usize);
    /// Adds the product of two tiles of bfloat16 to one of float32. `LEFT` has pairs side by side in its rows; `RIGHT`
    /// has a row for each pair. All three are of matching shapes.
    unsafe fn multiply<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&mut self);
    /// Adds the product of two tiles of 8-bit integers to one of 32-bit ones, exactly. `LEFT`, signed, has groups of four
    /// side by side in its rows; `RIGHT`, unsigned, has a row for each group. [`Unit::has_integers`] proves the instruction.
    #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code, reason = "but in tests"))]
    unsafe fn multiply_integers<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&mut self);
}

/// Shapes of the tiles: two blocks of a product's left side by two of its right side, some of them not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shapes {
    /// Rows of each tile on the left, at most 16: a row's inputs lie side by side.
    pub(super) left: [usize; 2],
    /// Columns of each tile on the right, at most 16: a column's inputs lie below each other, 4 bytes of them side by side.
    pub(super) right: [usize; 2],
}

/// Tile of the sums of a block on the left and a block on the right.
pub(super) const fn sums(left: usize, right: usize) -> usize {
    2 * left + right
}

/// Tile of a block on the left.
pub(super) const fn left(block: usize) -> usize {
    4 + block
}

/// Tile of a block on the right.
pub(super) const fn right(block: usize) -> usize {
    6 + block
}

/// What LDTILECFG reads.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Configuration([u8; 64]);

impl Shapes {
    /// The shapes as LDTILECFG reads them: palette 1, and for each tile its bytes in a row from byte 16 on, two bytes each, and
    /// its rows from byte 48 on. A tile that is not there has neither.
    fn configuration(&self) -> Configuration {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut set = |tile: usize, rows: usize, row_bytes: usize| {
            if rows > 0 && row_bytes > 0 {
                bytes[16 + 2 * tile] = row_bytes as u8;
                bytes[48 + tile] = rows as u8;
            }
        };
        for block in 0..2 {
            set(left(block), self.left[block], BYTES);
            set(right(block), if self.right[block] > 0 { ROWS } else { 0 }, 4 * self.right[block]);
            for other in 0..2 {
                set(sums(block, other), self.left[block], 4 * self.right[other]);
            }
        }
        Configuration(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_the_shapes_and_nothing_of_what_is_not_there() {
        let Configuration(bytes) = Shapes { left: [16, 3], right: [5, 0] }.configuration();
        let mut expected = [0; 64];
        expected[0] = 1;
        for (tile, rows, row_bytes) in [(0, 16, 20), (2, 3, 20), (4, 16, 64), (5, 3, 64), (6, 16, 20)] {
            (expected[16 + 2 * tile], expected[48 + tile]) = (row_bytes, rows);
        }
        assert_eq!(bytes, expected);
    }
}
