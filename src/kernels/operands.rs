//! What a product is of, and where it goes.

use super::rows::{Rows, RowsMut};
use super::weights::Weights;

/// Of matching shapes: rows are as wide as there are inputs, results and bias as there are outputs.
#[derive(Debug)]
pub(super) struct Operands<'a> {
    pub(super) weights: Weights<'a>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) x: Rows<'a>,
    pub(super) y: RowsMut<'a>,
}
