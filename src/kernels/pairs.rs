//! `Y = X·Wᵀ + bias` with both operands in bfloat16, by AVX512-BF16, over weights that stay where they lie.
//!
//! The instruction adds two products of bfloat16 to a float32. A pair of inputs so takes the place of one: the program is that
//! of [`linear`], over words of 32 bits that are pairs, with an addition of its own. What is said there of sums and
//! of a row's bits holds here; numbers below 2⁻¹²⁶ count as zero.

use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps};
use std::borrow::Cow;
use std::mem::transmute;

use super::InParallel;
use super::avx512::Avx512;
use super::lanes::{Lanes, Work};
use super::linear;
use super::processor::Path;
use super::rows::{Rows, RowsMut};
use super::terms::terms;
use super::weights::{Float32, Stored, Weights};

/// Rows whose activations an item rounds.
const ROWS: usize = 16;

/// A product with a matrix of bfloat16.
#[derive(Debug, Clone)]
pub(crate) struct Linear<'a> {
    /// (outputs, pairs).
    bytes: Cow<'a, [u8]>,
    outputs: usize,
    inputs: usize,
    bias: Option<&'a [f32]>,
    path: Path,
}

impl<'a> Linear<'a> {
    /// The product, or nothing where weights are not bfloat16 or the bias is not one value per output. An odd number
    /// of inputs, which no published model has, costs a copy.
    pub(super) fn new(weights: Weights<'a>, bias: Option<&'a [f32]>, path: Path) -> Option<Self> {
        let (outputs, inputs) = (weights.outputs(), weights.inputs());
        match weights.stored() {
            Stored::Bfloat16 => {}
            Stored::Float32 | Stored::Float16 => return None,
        }
        let bytes = match inputs % 2 {
            0 => Cow::Borrowed(weights.bytes()),
            _ => {
                let rows = weights.bytes().chunks_exact(2 * inputs);
                Cow::Owned(rows.flat_map(|row| row.iter().chain(&[0; 2])).copied().collect())
            }
        };
        let fits = bias.is_none_or(|bias| bias.len() == outputs);
        fits.then_some(Linear { bytes, outputs, inputs, bias, path })
    }

    /// Computes `y`; nothing where the shapes do not match or there is no memory. `run` computes an item of the
    /// call in pairs.
    pub(super) fn run<E>(
        &self,
        x: Rows<'_>,
        y: RowsMut<'_>,
        in_parallel: &InParallel<'_, E>,
        run: unsafe fn(&linear::Call<'_>, usize),
    ) -> Option<Result<(), E>> {
        let words = self.inputs.div_ceil(2);
        let weights = Weights::new(&self.bytes, Stored::Float32, self.outputs, words)?;
        let mut pairs = Vec::new();
        let count = x.rows.checked_mul(words)?;
        pairs.try_reserve_exact(count).ok()?;
        pairs.resize(count, 0.0_f32);
        (x.width == self.inputs).then_some(())?;
        let to = RowsMut::new(&mut pairs, x.rows, words, words)?;
        let rounded = in_parallel(x.rows.div_ceil(ROWS), &|block| {
            for row in block * ROWS..x.rows.min((block + 1) * ROWS) {
                // SAFETY: the row is there, and each is written once.
                unsafe { rounded(&x, &to, row) };
            }
        });
        if rounded.is_err() {
            return Some(rounded);
        }
        let linear = linear::Linear::new(weights, self.bias, self.path)?;
        let call = linear.call(Rows::new(&pairs, x.rows, words, words)?, y)?;
        // SAFETY: each item is run once; the caller chose the function by the path.
        Some(in_parallel(call.items(), &|item| unsafe { run(&call, item) }))
    }
}

/// Rounds a row to pairs, each of them a word.
///
/// # Safety
/// The row is there, and nobody else writes it now.
unsafe fn rounded(x: &Rows<'_>, to: &RowsMut<'_>, row: usize) {
    for word in (0..to.width).step_by(8) {
        let mut values = [0.0_f32; 16];
        let (inputs, words) = ((x.width - 2 * word).min(16), (to.width - word).min(8));
        // SAFETY: the caller's; a word is two of 16 bits.
        unsafe {
            x.at(row, 2 * word).copy_to_nonoverlapping(values.as_mut_ptr(), inputs);
            let [pairs] = terms::<1, 16>(&values);
            to.at(row, word).cast::<u8>().copy_from_nonoverlapping(pairs.as_ptr().cast(), 4 * words);
        }
    }
}

/// An item of a call over pairs.
///
/// # Safety
/// [`linear::Call::run`]'s, with the instructions of `L`, whose addition is of pairs.
pub(super) unsafe fn item<L: Lanes>(call: &linear::Call<'_>, item: usize) {
    // SAFETY: the caller's; a word is read as a float32 is.
    unsafe { linear::product::<L, Float32>(call, item) }
}

/// Vectors as those of `$base`, of words that are pairs, with an addition of products of pairs, in functions compiled with an
/// attribute.
macro_rules! lanes_of_pairs {
    ($(#[$attribute:meta])? $name:ty, $base:ty, $multiply_add:expr) => {
        impl Lanes for $name {
            type Vector = <$base as Lanes>::Vector;
            const WIDTH: usize = <$base as Lanes>::WIDTH;
            const ROWS: usize = <$base as Lanes>::ROWS;

            lanes_of_pairs! { $base:
                all(value: f32) -> Self::Vector;
                load(from: *const f32) -> Self::Vector;
                store(to: *mut f32, values: Self::Vector) -> ();
                add(left: Self::Vector, right: Self::Vector) -> Self::Vector;
                multiply(left: Self::Vector, right: Self::Vector) -> Self::Vector;
                divide(left: Self::Vector, right: Self::Vector) -> Self::Vector;
                larger(left: Self::Vector, right: Self::Vector) -> Self::Vector;
                power_of_two(exponents: Self::Vector) -> Self::Vector;
                zero_below(x: Self::Vector, least: f32, value: Self::Vector) -> Self::Vector;
                words(from: *const u8, stride: usize) -> [Self::Vector; 4];
                bfloat16(words: Self::Vector) -> [Self::Vector; 2];
                float16(words: Self::Vector) -> [Self::Vector; 2];
                prefetch(from: *const u8) -> ();
            }

            #[inline(always)]
            unsafe fn multiply_add(left: Self::Vector, right: Self::Vector, sum: Self::Vector) -> Self::Vector {
                // SAFETY: the trait's.
                unsafe { $multiply_add(sum, left, right) }
            }

            #[inline(never)]
            unsafe fn apart<W: Work>(work: W) {
                $(#[$attribute])?
                unsafe fn of<W: Work>(work: W) {
                    // SAFETY: the caller's.
                    unsafe { work.run::<$name>() }
                }
                // SAFETY: the trait's.
                unsafe { of(work) }
            }
        }
    };
    ($base:ty: $($operation:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(
            #[inline(always)]
            unsafe fn $operation($($argument: $type),*) -> $result {
                // SAFETY: the trait's.
                unsafe { <$base as Lanes>::$operation($($argument),*) }
            }
        )*
    };
}
#[cfg(test)]
pub(super) use lanes_of_pairs;

/// AVX512-BF16 beside AVX-512F.
pub(super) struct Avx512Pairs;

lanes_of_pairs!(
    #[target_feature(enable = "avx512bf16,avx512f,avx2,fma,f16c")]
    Avx512Pairs,
    Avx512,
    multiply_add
);

#[inline(always)]
unsafe fn multiply_add(sum: __m512, left: __m512, right: __m512) -> __m512 {
    // SAFETY: the caller's; a vector of words is one of pairs.
    unsafe { _mm512_dpbf16_ps(sum, transmute::<__m512, __m512bh>(left), transmute::<__m512, __m512bh>(right)) }
}
