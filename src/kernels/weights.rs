//! A matrix of weights as it lies in the mapped checkpoint, and how its values become float32.

use half::{bf16, f16};

use super::lanes::Lanes;
use super::rows::Rows;

/// What a weight is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// float32.
    Float32,
    /// float16.
    Float16,
    /// bfloat16.
    Bfloat16,
}

impl Stored {
    /// Bytes of a value.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Stored::Float32 => 4,
            Stored::Float16 | Stored::Bfloat16 => 2,
        }
    }
}

/// A matrix (outputs, inputs), row-major, at any alignment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights<'a> {
    bytes: &'a [u8],
    stored: Stored,
    outputs: usize,
    inputs: usize,
    /// Bytes from one output's weights to the next's.
    stride: usize,
}

impl<'a> Weights<'a> {
    /// The matrix, or nothing where it is empty or the bytes are not exactly those of the shape.
    pub(crate) fn new(bytes: &'a [u8], stored: Stored, outputs: usize, inputs: usize) -> Option<Self> {
        let expected = outputs.checked_mul(inputs)?.checked_mul(stored.bytes())?;
        let stride = inputs * stored.bytes();
        (expected > 0 && bytes.len() == expected).then_some(Weights { bytes, stored, outputs, inputs, stride })
    }

    /// Rows of float32, such as keys.
    pub(super) fn of_rows(rows: Rows<'a>) -> Self {
        // SAFETY: any float32 is four bytes.
        let bytes = unsafe { std::slice::from_raw_parts(rows.values.as_ptr().cast(), size_of_val(rows.values)) };
        Weights { bytes, stored: Stored::Float32, outputs: rows.rows, inputs: rows.width, stride: rows.stride * 4 }
    }

    /// What a weight is stored as.
    pub(crate) fn stored(&self) -> Stored {
        self.stored
    }

    /// The values, row by row.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Rows of the matrix.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes from one output's weights to the next's.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Where the weight of an output and an input would lie, if there is one: to ask for, not to read.
    pub(super) fn near(&self, output: usize, input: usize) -> *const u8 {
        self.bytes.as_ptr().wrapping_add(output * self.stride() + input * self.stored.bytes())
    }

    /// Where the weight of an output and an input lies.
    pub(super) fn at(&self, output: usize, input: usize) -> *const u8 {
        self.bytes[output * self.stride() + input * self.stored.bytes()..].as_ptr()
    }
}

/// How stored values are read.
///
/// # Safety
/// As [`Lanes`]'.
pub(super) trait Format {
    /// Bytes of a value.
    const BYTES: usize;
    /// Values in 16 bytes.
    const STEP: usize = 16 / Self::BYTES;

    /// One value.
    unsafe fn one(from: *const u8) -> f32;

    /// The values of four words, in the order of the row, of which there are `STEP`.
    unsafe fn columns<L: Lanes>(words: [L::Vector; 4]) -> [L::Vector; 8];
}

/// float32.
pub(super) struct Float32;
/// float16.
pub(super) struct Float16;
/// bfloat16.
pub(super) struct Bfloat16;

impl Format for Float32 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn one(from: *const u8) -> f32 {
        // SAFETY: the trait's.
        f32::from_le_bytes(unsafe { from.cast::<[u8; 4]>().read() })
    }

    #[inline(always)]
    unsafe fn columns<L: Lanes>([a, b, c, d]: [L::Vector; 4]) -> [L::Vector; 8] {
        [a, b, c, d, a, b, c, d]
    }
}

impl Format for Float16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn one(from: *const u8) -> f32 {
        // SAFETY: the trait's.
        f16::from_le_bytes(unsafe { from.cast::<[u8; 2]>().read() }).to_f32()
    }

    #[inline(always)]
    unsafe fn columns<L: Lanes>([a, b, c, d]: [L::Vector; 4]) -> [L::Vector; 8] {
        // SAFETY: the trait's.
        let ([a, b], [c, d], [e, f], [g, h]) = unsafe { (L::float16(a), L::float16(b), L::float16(c), L::float16(d)) };
        [a, b, c, d, e, f, g, h]
    }
}

impl Format for Bfloat16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn one(from: *const u8) -> f32 {
        // SAFETY: the trait's.
        bf16::from_le_bytes(unsafe { from.cast::<[u8; 2]>().read() }).to_f32()
    }

    #[inline(always)]
    unsafe fn columns<L: Lanes>([a, b, c, d]: [L::Vector; 4]) -> [L::Vector; 8] {
        // SAFETY: the trait's.
        let ([a, b], [c, d], [e, f], [g, h]) =
            unsafe { (L::bfloat16(a), L::bfloat16(b), L::bfloat16(c), L::bfloat16(d)) };
        [a, b, c, d, e, f, g, h]
    }
}
