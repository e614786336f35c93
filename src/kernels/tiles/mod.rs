//! Products by tiles of bfloat16 (Intel's AMX), over weights that stay where they lie.
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
mod emulation;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod instructions;
pub(super) mod linear;

use super::lanes::Lanes;

/// Rows of a tile.
const ROWS: usize = 16;
/// Bytes of a tile's row.
const BYTES: usize = 64;
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
trait Tiles {
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
}

/// Shapes of the tiles: two blocks of outputs by two of rows, some of them not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shapes {
    /// Outputs in each block, at most 16.
    outputs: [usize; 2],
    /// Rows in each block, at most 16.
    rows: [usize; 2],
}

/// Tile of the sums of a block of outputs and a block of rows.
const fn sums(outputs: usize, rows: usize) -> usize {
    2 * outputs + rows
}

/// Tile of the weights of a block of outputs.
const fn weights(outputs: usize) -> usize {
    4 + outputs
}

/// Tile of the activations of a block of rows.
const fn activations(rows: usize) -> usize {
    6 + rows
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
            set(weights(block), self.outputs[block], BYTES);
            set(activations(block), if self.rows[block] > 0 { ROWS } else { 0 }, 4 * self.rows[block]);
            for rows in 0..2 {
                set(sums(block, rows), self.outputs[block], 4 * self.rows[rows]);
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
        let Configuration(bytes) = Shapes { outputs: [16, 3], rows: [5, 0] }.configuration();
        let mut expected = [0; 64];
        expected[0] = 1;
        for (tile, rows, row_bytes) in [(0, 16, 20), (2, 3, 20), (4, 16, 64), (5, 3, 64), (6, 16, 20)] {
            (expected[16 + 2 * tile], expected[48 + tile]) = (row_bytes, rows);
        }
        assert_eq!(bytes, expected);
    }
}
