//! Places in a checkpoint: a tensor, or a range of its rows. Nothing is read here.

use std::ops::Range;

/// A matrix of the checkpoint, (outputs, inputs): a range of a tensor's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// The tensor's name, verbatim.
    pub tensor: String,
    /// Its rows in the checkpoint.
    pub tensor_rows: usize,
    /// Those that are the matrix: its outputs.
    pub rows: Range<usize>,
    /// Columns.
    pub inputs: usize,
}

/// A vector of the checkpoint: a range of a tensor of one dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    /// The tensor's name, verbatim.
    pub tensor: String,
    /// Its numbers in the checkpoint.
    pub tensor_size: usize,
    /// Those that are the vector.
    pub range: Range<usize>,
}

/// `x · Wᵀ + b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// W.
    pub weight: Matrix,
    /// b, of as many numbers as W has rows.
    pub bias: Option<Vector>,
}

impl Matrix {
    /// A tensor as it is.
    pub fn whole(tensor: impl Into<String>, [outputs, inputs]: [usize; 2]) -> Self {
        Matrix { tensor: tensor.into(), tensor_rows: outputs, rows: 0..outputs, inputs }
    }

    /// Some of the matrix's rows.
    pub fn part(&self, rows: Range<usize>) -> Self {
        let start = self.rows.start;
        Matrix { rows: start + rows.start..start + rows.end, ..self.clone() }
    }

    /// Rows.
    pub fn outputs(&self) -> usize {
        self.rows.len()
    }

    /// The tensor's name, and the rows where they are not all of it.
    pub fn name(&self) -> String {
        ranged(&self.tensor, &self.rows, self.tensor_rows)
    }
}

impl Vector {
    /// A tensor as it is.
    pub fn whole(tensor: impl Into<String>, size: usize) -> Self {
        Vector { tensor: tensor.into(), tensor_size: size, range: 0..size }
    }

    /// Some of the vector's numbers.
    pub fn part(&self, range: Range<usize>) -> Self {
        let start = self.range.start;
        Vector { range: start + range.start..start + range.end, ..self.clone() }
    }

    /// Numbers.
    pub fn size(&self) -> usize {
        self.range.len()
    }

    /// The tensor's name, and the range where it is not all of it.
    pub fn name(&self) -> String {
        ranged(&self.tensor, &self.range, self.tensor_size)
    }
}

fn ranged(tensor: &str, range: &Range<usize>, whole: usize) -> String {
    if *range == (0..whole) { tensor.to_owned() } else { format!("{tensor}[{}:{}]", range.start, range.end) }
}

impl Linear {
    /// `{module}.weight`, and `{module}.bias` where there is one.
    pub fn named(module: &str, [outputs, inputs]: [usize; 2], biased: bool) -> Self {
        Linear {
            weight: Matrix::whole(format!("{module}.weight"), [outputs, inputs]),
            bias: biased.then(|| Vector::whole(format!("{module}.bias"), outputs)),
        }
    }

    /// Some of the outputs.
    pub fn part(&self, rows: Range<usize>) -> Self {
        Linear { weight: self.weight.part(rows.clone()), bias: self.bias.as_ref().map(|bias| bias.part(rows)) }
    }
}
