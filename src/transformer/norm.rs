//! Norms, and where a block has them.

use super::Vector;

/// A norm over the last axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// What is subtracted and divided by.
    pub kind: NormKind,
    /// Multiplies; nothing: 1.
    pub weight: Option<Vector>,
    /// Added to the weight.
    pub weight_offset: f32,
    /// Added.
    pub bias: Option<Vector>,
    /// ε.
    pub epsilon: f32,
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// LayerNorm: mean and standard deviation.
    Layer,
    /// RMSNorm: the root of the mean square.
    RootMeanSquare,
}

/// `sum(x + output(block(input(x))))`, each norm where there is one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlockNorms {
    /// Before the block.
    pub input: Option<Norm>,
    /// Of what the block puts out.
    pub output: Option<Norm>,
    /// Of the sum with the residual.
    pub sum: Option<Norm>,
}

impl Norm {
    /// A LayerNorm with weight and bias of these names.
    pub fn layer(weight: impl Into<String>, bias: Option<String>, size: usize, epsilon: f32) -> Self {
        Norm {
            kind: NormKind::Layer,
            weight: Some(Vector::whole(weight, size)),
            weight_offset: 0.0,
            bias: bias.map(|bias| Vector::whole(bias, size)),
            epsilon,
        }
    }

    /// Whether it does nothing but divide and scale, so that what follows may do the scaling.
    pub fn only_scales(&self) -> bool {
        match self.kind {
            NormKind::RootMeanSquare => self.bias.is_none(),
            NormKind::Layer => false,
        }
    }

    /// An RMSNorm with a weight of this name.
    pub fn root_mean_square(weight: impl Into<String>, size: usize, epsilon: f32) -> Self {
        Norm { kind: NormKind::RootMeanSquare, ..Norm::layer(weight, None, size, epsilon) }
    }
    /// An RMSNorm that only divides.
    pub fn bare_root_mean_square(epsilon: f32) -> Self {
        Norm { kind: NormKind::RootMeanSquare, weight: None, weight_offset: 0.0, bias: None, epsilon }
    }
}
