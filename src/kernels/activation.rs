//! What feed-forward networks apply to each number, in one pass with the bias before it and the product after it.

use super::exponential::exponential;
use super::lanes::{Lanes, Work};
use super::processor::Path;
use super::rows::{Rows, RowsMut};

/// Numbers of an item, about: many beside what starting one costs, few enough that threads end together.
const NUMBERS: usize = 16 * 1024;

/// The function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// x·Φ(x).
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
    /// x·σ(x).
    Silu,
}

/// One run: `function(x + bias) · factor`.
#[derive(Debug)]
pub(crate) struct Activation<'a> {
    function: Function,
    x: Rows<'a>,
    bias: Option<&'a [f32]>,
    factor: Option<Rows<'a>>,
    y: RowsMut<'a>,
    path: Path,
}

impl<'a> Activation<'a> {
    /// The run, or nothing where the shapes do not match.
    pub(crate) fn new(
        function: Function,
        x: Rows<'a>,
        bias: Option<&'a [f32]>,
        factor: Option<Rows<'a>>,
        y: RowsMut<'a>,
        path: Path,
    ) -> Option<Self> {
        let matches = (x.rows, x.width) == (y.rows, y.width)
            && bias.is_none_or(|bias| bias.len() == x.width)
            && factor.is_none_or(|factor| (factor.rows, factor.width) == (x.rows, x.width));
        matches.then_some(Activation { function, x, bias, factor, y, path })
    }

    /// Rows of an item.
    fn rows_per_item(&self) -> usize {
        (NUMBERS / self.x.width.max(1)).max(1)
    }

    /// Items of the run: numbers from 0 on.
    pub(crate) fn items(&self) -> usize {
        self.x.rows.div_ceil(self.rows_per_item())
    }

    /// Computes an item; there is nothing in an item that does not exist.
    ///
    /// # Safety
    /// No other thread runs the same item of the same run at the same time.
    pub(crate) unsafe fn run(&self, item: usize) {
        // SAFETY: the caller's.
        unsafe { self.path.run(Item { run: self, item }) }
    }
}

struct Item<'a> {
    run: &'a Activation<'a>,
    item: usize,
}

impl Work for Item<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the caller's.
        unsafe { item_of::<L>(self.run, self.item) }
    }
}

#[inline(always)]
unsafe fn item_of<L: Lanes>(run: &Activation<'_>, item: usize) {
    let each = run.rows_per_item();
    let first = item.saturating_mul(each).min(run.x.rows);
    for row in first..run.x.rows.min(first + each) {
        // SAFETY: the row is there; the caller's.
        unsafe {
            match run.function {
                Function::Gelu => line::<L, Gelu>(run, row),
                Function::GeluTanh => line::<L, GeluTanh>(run, row),
                Function::Silu => line::<L, Silu>(run, row),
            }
        }
    }
}

/// A row. What does not fill a vector is copied into one.
#[inline(always)]
unsafe fn line<L: Lanes, F: Of>(run: &Activation<'_>, row: usize) {
    let (x, y) = (run.x.at(row, 0), run.y.at(row, 0));
    let bias = run.bias.map(<[f32]>::as_ptr);
    let factor = run.factor.map(|factor| factor.at(row, 0));
    // SAFETY: the caller's; past the width only arrays are read and written.
    unsafe {
        let mut at = 0;
        while at + L::WIDTH <= run.x.width {
            let mut value = L::load(x.add(at));
            if let Some(bias) = bias {
                value = L::add(value, L::load(bias.add(at)));
            }
            value = F::of::<L>(value);
            if let Some(factor) = factor {
                value = L::multiply(value, L::load(factor.add(at)));
            }
            L::store(y.add(at), value);
            at += L::WIDTH;
        }
        let left = run.x.width - at;
        if left == 0 {
            return;
        }
        let mut values = [0.0_f32; 16];
        for lane in 0..left {
            values[lane] = *x.add(at + lane) + bias.map_or(0.0, |bias| *bias.add(at + lane));
        }
        let mut results = [0.0_f32; 16];
        L::store(results.as_mut_ptr(), F::of::<L>(L::load(values.as_ptr())));
        for lane in 0..left {
            y.add(at + lane).write(factor.map_or(results[lane], |factor| results[lane] * *factor.add(at + lane)));
        }
    }
}

/// A [`Function`] of vectors. Of NaN it is NaN.
trait Of {
    /// # Safety
    /// [`Lanes`]'.
    unsafe fn of<L: Lanes>(x: L::Vector) -> L::Vector;
}

struct Gelu;
struct GeluTanh;
struct Silu;

/// Of the normal distribution's tail, T(u) = e^(-u²/2)·(a₁t + a₂t² + …) with t = 1 / (1 + P·u): fitted for u from 0 on by least
/// squares of what an error does to GELU.
const P: f32 = 0.28;
const TAIL: [f32; 6] = [0.116_800_89, 0.065_725_684, 0.273_358_5, -0.242_542_62, 0.393_312_93, -0.106_655_404];

impl Of for Gelu {
    /// max(x, 0) - |x|·T(|x|): nothing cancels, so that it is as good as float32. Of infinities it is NaN.
    #[inline(always)]
    unsafe fn of<L: Lanes>(x: L::Vector) -> L::Vector {
        // SAFETY: the caller's.
        unsafe {
            let size = L::larger(x, L::multiply(x, L::all(-1.0)));
            let t = L::divide(L::all(1.0), L::multiply_add(size, L::all(P), L::all(1.0)));
            let mut tail = L::all(TAIL[5]);
            for at in [4, 3, 2, 1, 0] {
                tail = L::multiply_add(tail, t, L::all(TAIL[at]));
            }
            let density = exponential::<L>(L::multiply(L::multiply(size, size), L::all(-0.5)));
            let tail = L::multiply(L::multiply(tail, t), density);
            L::multiply_add(L::multiply(size, L::all(-1.0)), tail, L::larger(x, L::all(0.0)))
        }
    }
}

impl Of for GeluTanh {
    /// x·σ(√(8/π)·(x + 0.044715·x³)).
    #[inline(always)]
    unsafe fn of<L: Lanes>(x: L::Vector) -> L::Vector {
        // SAFETY: the caller's.
        unsafe {
            let slope = L::multiply_add(L::multiply(x, x), L::all(0.071_354_814), L::all(1.595_769));
            L::multiply(x, sigmoid::<L>(L::multiply(x, slope)))
        }
    }
}

impl Of for Silu {
    #[inline(always)]
    unsafe fn of<L: Lanes>(x: L::Vector) -> L::Vector {
        // SAFETY: the caller's.
        unsafe { L::multiply(x, sigmoid::<L>(x)) }
    }
}

/// 1 / (1 + e^-x), by e to the power of a number that is not positive.
///
/// # Safety
/// [`Lanes`]'.
#[inline(always)]
unsafe fn sigmoid<L: Lanes>(x: L::Vector) -> L::Vector {
    // SAFETY: the caller's.
    unsafe {
        let opposite = L::multiply(x, L::all(-1.0));
        let power = exponential::<L>(L::multiply(L::larger(x, opposite), L::all(-1.0)));
        // e^x where x is negative, and else 1.
        let above = L::zero_below(opposite, f32::MIN_POSITIVE, power);
        let above = L::add(above, L::zero_below(x, 0.0, L::all(1.0)));
        L::divide(above, L::add(power, L::all(1.0)))
    }
}
