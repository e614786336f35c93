//! sentence-transformers' Dense: `activation(x · Wᵀ + b)`, and x or a projection of it added where the module says.

use ndarray::{Array1, Array2, ArrayView2};

use super::HeadModule;

/// The activations that ironvec does, as torch names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x.
    Identity,
    /// tanh(x).
    Tanh,
    /// max(x, 0).
    Relu,
    /// 1 / (1 + e^-x).
    Sigmoid,
}

impl Activation {
    fn of(self, value: f32) -> f32 {
        match self {
            Activation::Identity => value,
            Activation::Tanh => value.tanh(),
            // Not f32::max, which would lose a NaN.
            Activation::Relu => {
                if value < 0.0 {
                    0.0
                } else {
                    value
                }
            }
            Activation::Sigmoid => 1.0 / (1.0 + (-value).exp()),
        }
    }
}

/// A layer of a head.
#[derive(Debug)]
pub struct Dense {
    /// (outputs, inputs).
    pub weight: Array2<f32>,
    /// (outputs).
    pub bias: Option<Array1<f32>>,
    /// What the sum goes through.
    pub activation: Activation,
    /// What is added after that.
    pub residual: Residual,
}

/// What a Dense adds to its result.
#[derive(Debug)]
pub enum Residual {
    /// Nothing.
    None,
    /// The row itself.
    Input,
    /// The row's product with a matrix, (outputs, inputs).
    Projected(Array2<f32>),
}

impl HeadModule for Dense {
    fn inputs(&self) -> Option<usize> {
        Some(self.weight.ncols())
    }

    fn outputs(&self, _inputs: usize) -> usize {
        self.weight.nrows()
    }

    fn apply(&self, rows: Vec<f32>, inputs: usize) -> Vec<f32> {
        let count = rows.len() / inputs.max(1);
        let Ok(given) = ArrayView2::from_shape((count, inputs), &rows) else { return rows };
        let mut made = given.dot(&self.weight.t());
        if let Some(bias) = &self.bias {
            made += bias;
        }
        made.mapv_inplace(|value| self.activation.of(value));
        match &self.residual {
            Residual::None => {}
            Residual::Input => made += &given,
            Residual::Projected(weight) => made += &given.dot(&weight.t()),
        }
        made.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_product_a_bias_an_activation_and_what_is_added() {
        let dense = |residual| Dense {
            weight: array![[1.0, 2.0], [0.0, -1.0]],
            bias: Some(array![0.5, 0.0]),
            activation: Activation::Relu,
            residual,
        };
        let rows = || vec![1.0, 1.0, -1.0, 2.0];
        assert_eq!(dense(Residual::None).apply(rows(), 2), [3.5, 0.0, 3.5, 0.0]);
        assert_eq!(dense(Residual::Input).apply(rows(), 2), [4.5, 1.0, 2.5, 2.0]);
        let swap = Residual::Projected(array![[0.0, 1.0], [1.0, 0.0]]);
        assert_eq!(dense(swap).apply(rows(), 2), [4.5, 1.0, 5.5, -1.0]);
        assert!(Activation::Relu.of(f32::NAN).is_nan());
    }
}
