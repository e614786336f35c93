//! [`Tiles`] in plain Rust: bit for bit what the instructions are documented to do (Intel's Software Developer's Manual,
//! LDTILECFG, TDPBF16PS and TDPBSUD), their refusals as panics. Of bfloat16 and its sums, numbers below 2⁻¹²⁶ count as zero, on
//! the way in and out.

use super::{BYTES, ROWS, Shapes, Tiles};
use crate::kernels::portable::Portable;

/// A tile: 32 bits in 16 columns of 16 rows.
type Words = [[u32; BYTES / 4]; ROWS];

/// Eight tiles in memory.
pub(in crate::kernels) struct Emulated {
    words: [Words; 8],
    /// Rows, and columns of 32 bits, of each; zeros where there is no tile.
    shapes: [[usize; 2]; 8],
}

impl Tiles for Emulated {
    type Lanes = Portable;

    fn new() -> Self {
        Emulated { words: [[[0; BYTES / 4]; ROWS]; 8], shapes: [[0; 2]; 8] }
    }

    unsafe fn configure(&mut self, shapes: &Shapes) {
        let bytes = shapes.configuration().0;
        assert!(bytes[0] == 1 && bytes[1..16].iter().all(|byte| *byte == 0), "palette 1, reserved bytes");
        assert!(bytes[32..48].iter().chain(&bytes[56..]).all(|byte| *byte == 0), "palette 1 has eight tiles");
        *self = Emulated::new();
        for (tile, shape) in self.shapes.iter_mut().enumerate() {
            let row_bytes = usize::from(u16::from_le_bytes([bytes[16 + 2 * tile], bytes[17 + 2 * tile]]));
            let rows = usize::from(bytes[48 + tile]);
            assert!(row_bytes <= BYTES && rows <= ROWS && (rows == 0) == (row_bytes == 0));
            assert!(row_bytes % 4 == 0, "whole columns, for products");
            *shape = [rows, row_bytes / 4];
        }
    }

    unsafe fn release(&mut self) {
        *self = Emulated::new();
    }

    unsafe fn clear<const TILE: usize>(&mut self) {
        self.shape(TILE);
        self.words[TILE] = [[0; BYTES / 4]; ROWS];
    }

    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize) {
        let [rows, columns] = self.shape(TILE);
        self.words[TILE] = [[0; BYTES / 4]; ROWS];
        for (row, words) in self.words[TILE][..rows].iter_mut().enumerate() {
            for (column, word) in words[..columns].iter_mut().enumerate() {
                // SAFETY: the trait's: the tile's rows and columns are there.
                *word = u32::from_le_bytes(unsafe { from.add(row * stride + 4 * column).cast::<[u8; 4]>().read() });
            }
        }
    }

    unsafe fn store<const TILE: usize>(&self, to: *mut u8, stride: usize) {
        let [rows, columns] = self.shape(TILE);
        for (row, words) in self.words[TILE][..rows].iter().enumerate() {
            for (column, word) in words[..columns].iter().enumerate() {
                // SAFETY: the trait's: room for the tile's rows and columns.
                unsafe { to.add(row * stride + 4 * column).cast::<[u8; 4]>().write(word.to_le_bytes()) };
            }
        }
    }

    unsafe fn multiply<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&mut self) {
        let [rows, pairs, columns] = self.shapes::<SUMS, LEFT, RIGHT>();
        let (left, right) = (self.words[LEFT], self.words[RIGHT].map(|row| row.map(halves)));
        let fits = is_moderate(&left) && is_moderate(&self.words[RIGHT]);
        let step = if fits { exact_step } else { any_step };
        for (left, to) in left[..rows].iter().zip(&mut self.words[SUMS]) {
            let mut sums = [[0.0_f32; 2]; BYTES / 4];
            for (pair, right) in left[..pairs].iter().zip(&right) {
                let pair = halves(*pair);
                for (sums, right) in sums.iter_mut().zip(right) {
                    *sums = [step(pair[0], right[0], sums[0]), step(pair[1], right[1], sums[1])];
                }
            }
            for (to, [even, odd]) in to[..columns].iter_mut().zip(sums) {
                *to = flushed(flushed(f32::from_bits(*to)) + flushed(even + odd)).to_bits();
            }
        }
    }

    unsafe fn multiply_integers<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&mut self) {
        let [rows, groups, columns] = self.shapes::<SUMS, LEFT, RIGHT>();
        let (left, right) = (self.words[LEFT], self.words[RIGHT]);
        for (left, to) in left[..rows].iter().zip(&mut self.words[SUMS]) {
            for (left, right) in left[..groups].iter().zip(&right) {
                let left = left.to_le_bytes().map(|byte| i32::from(byte as i8));
                for (to, right) in to[..columns].iter_mut().zip(right) {
                    let products =
                        left.into_iter().zip(right.to_le_bytes()).map(|(left, right)| left * i32::from(right));
                    *to = to.wrapping_add(products.sum::<i32>() as u32);
                }
            }
        }
    }
}

impl Emulated {
    /// Rows and columns of a tile, which is there.
    fn shape(&self, tile: usize) -> [usize; 2] {
        assert_ne!(self.shapes[tile], [0; 2], "a tile without a shape");
        self.shapes[tile]
    }

    /// Rows of a product, words of a row on its left, and its columns.
    fn shapes<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&self) -> [usize; 3] {
        assert!(SUMS != LEFT && SUMS != RIGHT && LEFT != RIGHT, "three tiles");
        let ([rows, columns], [left_rows, words]) = (self.shape(SUMS), self.shape(LEFT));
        assert_eq!((left_rows, self.shape(RIGHT)), (rows, [words, columns]), "shapes that match");
        [rows, words, columns]
    }
}

/// The two bfloat16 of a pair.
fn halves(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)].map(flushed)
}

/// Zero in a number's stead where it is below the normal ones.
fn flushed(number: f32) -> f32 {
    if number.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(number) } else { number }
}

/// Whether all bfloat16 are zero or between 2⁻⁴⁰ and 2⁴⁰ or so: then products are exact and no sum leaves the normal numbers.
fn is_moderate(words: &Words) -> bool {
    let is_moderate = |number: f32| number == 0.0 || (1e-12..1e12).contains(&number.abs());
    words.as_flattened().iter().all(|pair| halves(*pair).into_iter().all(is_moderate))
}

/// `left · right + sum`, rounded once, where the product is exact and what comes out is no denormal number.
#[inline(always)]
fn exact_step(left: f32, right: f32, sum: f32) -> f32 {
    left * right + sum
}

/// `left · right + sum`, rounded once.
fn any_step(left: f32, right: f32, sum: f32) -> f32 {
    flushed(left.mul_add(right, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    const SHAPES: Shapes = Shapes { left: [2, 0], right: [1, 0] };

    /// The sum of one row of products, on top of `start`.
    fn sum(start: f32, left: &[f32], right: &[f32]) -> f32 {
        let bytes = |values: &[f32]| {
            let mut bytes: Vec<u8> = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
            bytes.resize(64, 0);
            bytes
        };
        let (left, right) = ([bytes(left), vec![0; 64]].concat(), bytes(right));
        let mut out = [start, 0.0].map(f32::to_bits);
        let mut tiles = Emulated::new();
        // SAFETY: two rows of 64 bytes, 16 rows of 4, and 2 of 4.
        unsafe {
            tiles.configure(&SHAPES);
            tiles.load::<0>(out.as_ptr().cast(), 4);
            tiles.load::<4>(left.as_ptr(), 64);
            tiles.load::<6>(right.as_ptr(), 4);
            tiles.multiply::<0, 4, 6>();
            tiles.store::<0>(out.as_mut_ptr().cast(), 4);
            tiles.release();
        }
        f32::from_bits(out[0])
    }

    #[test]
    fn even_and_odd_inputs_are_added_apart_and_from_zero() {
        let small = 2.0_f32.powi(-24);
        // One after the other, 1 would swallow each of the small ones.
        assert_eq!(sum(0.0, &[1.0, small, 0.0, small], &[1.0; 4]), 1.0 + 2.0 * small);
        assert_eq!(sum(0.0, &[1.0, 0.0, small, 0.0, small], &[1.0; 5]), 1.0);
        assert_eq!(sum(1.0, &[small, 0.0, small], &[1.0; 3]), 1.0 + 2.0 * small);
    }

    #[test]
    fn a_product_is_not_rounded_before_it_is_added() {
        let (big, tiny) = (2.0_f32.powi(127), 1.5 * 2.0_f32.powi(-100));
        assert_eq!(sum(0.0, &[-big, 0.0, big], &[1.0, 0.0, 2.0]), big);
        let normal = 2.0_f32.powi(-126) * (1.0 + 2.0_f32.powi(-7));
        assert_eq!(sum(0.0, &[normal, 0.0, tiny], &[1.0, 0.0, 2.0_f32.powi(-50)]).to_bits(), normal.to_bits() + 1);
    }

    #[test]
    fn denormal_numbers_are_zero_on_the_way_in_and_out() {
        let least = f32::MIN_POSITIVE;
        assert_eq!(sum(0.0, &[least / 2.0], &[1e30]), 0.0);
        assert_eq!(sum(0.0, &[1e30], &[least / 4.0]), 0.0);
        assert_eq!(sum(least / 2.0, &[1.0], &[1.0]), 1.0);
        assert_eq!(sum(0.0, &[1e-20], &[1e-20]), 0.0);
        assert_eq!(sum(0.0, &[least, 0.0, least], &[1.5, 0.0, -1.0]), 0.0);
        assert_eq!(sum(0.0, &[least, least], &[1.0; 2]), 2.0 * least);
    }

    #[test]
    fn infinities_and_nan_follow_from_the_sums() {
        assert_eq!(sum(0.0, &[f32::INFINITY], &[-2.0]), f32::NEG_INFINITY);
        assert!(sum(0.0, &[f32::INFINITY], &[0.0]).is_nan());
        assert!(sum(0.0, &[f32::INFINITY, 1.0], &[1.0, f32::NEG_INFINITY]).is_nan());
        assert!(sum(f32::NAN, &[1.0], &[1.0]).is_nan());
        assert_eq!(sum(0.0, &[3e38, 3e38], &[1.0; 2]), f32::INFINITY);
    }

    #[test]
    fn integers_are_signed_on_the_left_and_unsigned_on_the_right() {
        // A word has four inputs of a row, or of a column; row 0 of the right tile has the first inputs of its columns.
        let (mut left, mut right) = ([0_u8; 3 * BYTES], [0_u8; ROWS * 8]);
        left[..5].copy_from_slice(&[0x80, 0xff, 2, 0, 3]);
        left[2 * BYTES + 63] = 0x7f;
        right[..12].copy_from_slice(&[0x80, 1, 0xff, 9, 0xff, 2, 0, 0, 5, 9, 9, 9]);
        right[ROWS * 8 - 1] = 0xff;
        let mut sums = [100_i32, -100, 1, 2, 3, i32::MAX];
        let mut tiles = Emulated::new();
        // SAFETY: three rows of 64 bytes, 16 of 8, and three of 8.
        unsafe {
            tiles.configure(&Shapes { left: [3, 0], right: [0, 2] });
            tiles.load::<1>(sums.as_ptr().cast(), 8);
            tiles.load::<4>(left.as_ptr(), BYTES);
            tiles.load::<7>(right.as_ptr(), 8);
            tiles.multiply_integers::<1, 4, 7>();
            tiles.store::<1>(sums.as_mut_ptr().cast(), 8);
        }
        let first = [100 - 128 * 128 - 1 + 2 * 255 + 3 * 5, -100 - 128 * 255 - 2];
        assert_eq!(sums, [first[0], first[1], 1, 2, 3, i32::MAX.wrapping_add(127 * 255)]);
    }

    #[test]
    #[should_panic(expected = "a tile without a shape")]
    fn a_tile_that_is_not_there_is_refused() {
        let mut tiles = Emulated::new();
        // SAFETY: no memory is touched.
        unsafe {
            tiles.configure(&SHAPES);
            tiles.clear::<1>();
        }
    }
}
