//! A product with a matrix of weights, by whichever program fits the path, the weights and what is to come out: float32's
//! results, or those of activations and weights in bfloat16 with sums in float32.

use super::InParallel;
use super::linear::Linear;
#[cfg(target_arch = "x86_64")]
use super::pairs;
use super::processor::{Bfloat16, Path};
use super::rows::{Rows, RowsMut};
use super::tiles::{self, Unit};
#[cfg(target_arch = "x86_64")]
use super::weights::Stored;
use super::weights::Weights;

/// `x · Wᵀ + bias`.
#[derive(Debug)]
pub(crate) struct Product<'a>(Program<'a>);

#[derive(Debug)]
enum Program<'a> {
    Lanes(Linear<'a>),
    Tiles(tiles::linear::Linear<'a>),
    #[cfg(target_arch = "x86_64")]
    Pairs(pairs::Linear<'a>),
}

impl<'a> Product<'a> {
    /// The product, or nothing where the bias is not one value per output. `is_rounded`: activations are rounded to bfloat16,
    /// which weights must be, and the path must have such products.
    pub(crate) fn new(weights: Weights<'a>, bias: Option<&'a [f32]>, path: Path, is_rounded: bool) -> Option<Self> {
        let lanes = || Linear::new(weights, bias, path).map(Program::Lanes);
        let tiles = |unit| tiles::linear::Linear::new(weights, bias, unit, is_rounded).map(Program::Tiles);
        let program = match (path.bfloat16(), is_rounded) {
            #[cfg(target_arch = "x86_64")]
            (Bfloat16::Tiles(unit), false) => match weights.stored() {
                Stored::Bfloat16 => tiles(unit),
                Stored::Float32 | Stored::Float16 => lanes(),
            },
            #[cfg(target_arch = "x86_64")]
            (Bfloat16::Tiles(unit), true) => tiles(unit),
            #[cfg(target_arch = "x86_64")]
            (Bfloat16::Pairs | Bfloat16::Missing, false) => lanes(),
            #[cfg(target_arch = "x86_64")]
            (Bfloat16::Pairs, true) => pairs::Linear::new(weights, bias, path).map(Program::Pairs),
            #[cfg(target_arch = "x86_64")]
            (Bfloat16::Missing, true) => None,
            (Bfloat16::Emulation, false) => lanes(),
            (Bfloat16::Emulation, true) => tiles(Unit::emulated()),
        };
        program.map(Product)
    }

    /// Computes `y`, or nothing where the shapes do not match or there is no memory.
    pub(crate) fn run<E>(&self, x: Rows<'_>, y: RowsMut<'_>, in_parallel: &InParallel<'_, E>) -> Option<Result<(), E>> {
        match &self.0 {
            Program::Lanes(linear) => {
                let mut room = Vec::new();
                let x = match x.apart(&mut room, in_parallel)? {
                    Ok(x) => x,
                    Err(error) => return Some(Err(error)),
                };
                let call = linear.call(x, y)?;
                // SAFETY: each item is run once.
                Some(in_parallel(call.items(), &|item| unsafe { call.run(item) }))
            }
            Program::Tiles(linear) => {
                let call = linear.call(x, y)?;
                // SAFETY: each block is filled once.
                let filled = in_parallel(call.blocks(), &|block| unsafe { call.fill(block) });
                // SAFETY: all blocks are filled, and each item is run once.
                Some(filled.and_then(|()| in_parallel(call.items(), &|item| unsafe { call.run(item) })))
            }
            #[cfg(target_arch = "x86_64")]
            Program::Pairs(linear) => linear.run(x, y, in_parallel, pairs::item::<pairs::Avx512Pairs>),
        }
    }
}
