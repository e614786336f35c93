//! How a checkpoint calls its tensors: the prefix before all of them, and the spellings that differ by origin.

use std::cell::RefCell;

use crate::checkpoint::weights::Weights;
use crate::transformer::{Linear, Matrix, Norm, Vector};

/// The names of a checkpoint's tensors.
pub struct Names<'w> {
    weights: &'w Weights,
    prefix: RefCell<String>,
}

impl<'w> Names<'w> {
    /// Those of these weights, without a prefix.
    pub fn of(weights: &'w Weights) -> Self {
        Names { weights, prefix: RefCell::default() }
    }

    /// Takes the first prefix under which there is a tensor of this name; none, where there is none.
    pub fn find_prefix(&self, candidates: &[&str], tensor: &str) {
        let found = candidates.iter().find(|prefix| self.weights.contains(&format!("{prefix}{tensor}")));
        *self.prefix.borrow_mut() = found.map_or_else(String::new, |prefix| (*prefix).to_owned());
    }

    /// A name with the prefix.
    pub fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix.borrow())
    }

    /// Whether there is a tensor of this name under the prefix.
    pub fn has(&self, tensor: &str) -> bool {
        self.weights.contains(&self.full(tensor))
    }

    /// A whole tensor.
    pub fn matrix(&self, tensor: &str, shape: [usize; 2]) -> Matrix {
        Matrix::whole(self.full(tensor), shape)
    }

    /// A whole tensor of one dimension.
    pub fn vector(&self, tensor: &str, size: usize) -> Vector {
        Vector::whole(self.full(tensor), size)
    }

    /// `{module}.weight`, and `{module}.bias` where `biased` says.
    pub fn linear(&self, module: &str, shape: [usize; 2], biased: bool) -> Linear {
        Linear::named(&self.full(module), shape, biased)
    }

    /// A LayerNorm. Checkpoints that came from TensorFlow call scale and shift gamma and beta.
    pub fn layer_norm(&self, module: &str, size: usize, epsilon: f32) -> Norm {
        let old = self.has(&format!("{module}.gamma"));
        let (scale, shift) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        let name = |part: &str| format!("{}.{part}", self.full(module));
        Norm::layer(name(scale), Some(name(shift)), size, epsilon)
    }

    /// A LayerNorm that has a shift only where `biased` says.
    pub fn layer_norm_biased(&self, module: &str, size: usize, epsilon: f32, biased: bool) -> Norm {
        let name = self.full(module);
        Norm::layer(format!("{name}.weight"), biased.then(|| format!("{name}.bias")), size, epsilon)
    }

    /// An RMSNorm.
    pub fn rms_norm(&self, module: &str, size: usize, epsilon: f32) -> Norm {
        Norm::root_mean_square(format!("{}.weight", self.full(module)), size, epsilon)
    }
}
