//! What feed-forward networks apply to each number.

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{TensorElementType, ValueType};

use super::in_parallel;
use crate::kernels::activation::{Activation, Function};
use crate::kernels::processor::Path;
use crate::kernels::rows::{Rows, RowsMut};
use crate::lowering::activations;

/// `function(x + bias) · factor`: x (…, width), then a bias (width) where `biased` is 1, then a factor (…, width) where
/// `multiplied` is. To (…, width).
pub(super) struct ActivationOperator {
    /// The instructions.
    pub(super) path: Path,
}

/// One layer's.
pub(super) struct ActivationKernel {
    function: Function,
    is_biased: bool,
    is_multiplied: bool,
    path: Path,
}

impl Operator for ActivationOperator {
    type Kernel<'attr> = ActivationKernel;

    fn name(&self) -> &str {
        activations::OPERATOR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [OperatorInput::required(float), OperatorInput::optional(float), OperatorInput::optional(float)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<ActivationKernel, ort::Error> {
        let function = match context.get::<i64>("function") {
            Some(activations::GELU) => Function::Gelu,
            Some(activations::GELU_TANH) => Function::GeluTanh,
            Some(activations::SILU) => Function::Silu,
            other => return Err(ort::Error::new(format!("Activation: function {other:?}"))),
        };
        let is = |name: &str| context.get::<i64>(name) == Some(1);
        Ok(ActivationKernel { function, is_biased: is("biased"), is_multiplied: is("multiplied"), path: self.path })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> Result<(), ort::Error> {
        match context.inputs().first() {
            // Where nothing is known of x, it seems to have no dimensions.
            Some(x @ ValueType::Tensor { shape, .. }) if !shape.is_empty() => context.set_output(0, x),
            _ => Ok(()),
        }
    }
}

impl Kernel for ActivationKernel {
    fn compute(&mut self, context: &ComputeContext) -> Result<(), ort::Error> {
        let missing = || ort::Error::new("Activation: a tensor is missing, or has another shape");
        let x = context.input(0)?.ok_or_else(missing)?;
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let width = shape.last().and_then(|width| usize::try_from(*width).ok()).ok_or_else(missing)?;
        let rows = x.len() / width.max(1);
        let bias = if self.is_biased { Some(context.input(1)?.ok_or_else(missing)?) } else { None };
        let bias = bias.as_ref().map(|bias| bias.try_extract_tensor::<f32>()).transpose()?.map(|(_, bias)| bias);
        let index = 1 + usize::from(self.is_biased);
        let factor = if self.is_multiplied { Some(context.input(index)?.ok_or_else(missing)?) } else { None };
        let factor = factor.as_ref().map(|factor| factor.try_extract_tensor::<f32>()).transpose()?;
        let factor = match factor {
            Some((_, values)) => Some(Rows::new(values, rows, width, width).ok_or_else(missing)?),
            None => None,
        };
        let mut y = context.output(0, shape.to_vec())?.ok_or_else(missing)?;
        let (_, y) = y.try_extract_tensor_mut::<f32>()?;
        let shapes = Rows::new(x, rows, width, width).zip(RowsMut::new(y, rows, width, width));
        let (x, y) = shapes.ok_or_else(missing)?;
        let run = Activation::new(self.function, x, bias, factor, y, self.path).ok_or_else(missing)?;
        // SAFETY: each item is run once.
        in_parallel(context, run.items(), |item| unsafe { run.run(item) })
    }
}
