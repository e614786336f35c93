//! Products with a checkpoint's matrices, read where they lie.

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use super::{constant, floats, in_parallel};
use crate::kernels::processor::Path;
use crate::kernels::product::Product;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::weights::{Stored, Weights};

/// `x · Wᵀ + bias`: (…, inputs) and (outputs, inputs) to (…, outputs). W is a constant, read where it lies. Where `rounded`
/// is 1, x is rounded to bfloat16, which W is.
pub(super) struct LinearOperator {
    /// What W is stored as.
    pub(super) weights: TensorElementType,
    /// The instructions.
    pub(super) path: Path,
}

pub(super) struct LinearKernel<'w> {
    product: Product<'w>,
    inputs: usize,
    outputs: usize,
}

impl Operator for LinearOperator {
    type Kernel<'attr> = LinearKernel<'attr>;

    fn name(&self) -> &str {
        "Linear"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [OperatorInput::required(float), OperatorInput::required(self.weights), OperatorInput::optional(float)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<LinearKernel<'attr>, ort::Error> {
        let (shape, bytes) = constant(context, 1)?;
        let stored = match self.weights {
            TensorElementType::Float16 => Stored::Float16,
            TensorElementType::Bfloat16 => Stored::Bfloat16,
            _ => Stored::Float32,
        };
        let refused = || ort::Error::new(format!("Linear: weights of shape {shape:?}"));
        let &[outputs, inputs] = &shape[..] else { return Err(refused()) };
        let weights = Weights::new(bytes, stored, outputs, inputs);
        let bias = match context.inputs()?.len() {
            ..=2 => None,
            _ => Some(floats(constant(context, 2)?.1)?),
        };
        let is_rounded = context.get::<i64>("rounded").is_some_and(|rounded| rounded == 1);
        let product = weights.and_then(|weights| Product::new(weights, bias, self.path, is_rounded));
        Ok(LinearKernel { product: product.ok_or_else(refused)?, inputs, outputs })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> Result<(), ort::Error> {
        let types = context.inputs();
        let (Some(ValueType::Tensor { shape: x, .. }), Some(ValueType::Tensor { shape: weights, .. })) =
            (types.first(), types.get(1))
        else {
            return Ok(());
        };
        let (Some((_, rows)), Some(outputs)) = (x.split_last(), weights.first()) else { return Ok(()) };
        let shape: Shape = rows.iter().chain([outputs]).copied().collect();
        let dimension_symbols = SymbolicDimensions::empty(shape.len());
        context.set_output(0, &ValueType::Tensor { ty: TensorElementType::Float32, shape, dimension_symbols })
    }
}

impl Kernel for LinearKernel<'_> {
    fn compute(&mut self, context: &ComputeContext) -> Result<(), ort::Error> {
        let missing = || ort::Error::new("Linear: a tensor is missing");
        let x = context.input(0)?.ok_or_else(missing)?;
        let (shape, values) = x.try_extract_tensor::<f32>()?;
        let (width, outputs) = (self.inputs, self.outputs);
        let mut sizes = shape.to_vec();
        let last = sizes.last_mut().filter(|size| usize::try_from(**size) == Ok(width));
        *last.ok_or_else(|| ort::Error::new(format!("Linear: {shape:?} where rows of {width} are needed")))? =
            outputs as i64;
        let mut y = context.output(0, sizes)?.ok_or_else(missing)?;
        let (_, target) = y.try_extract_tensor_mut::<f32>()?;
        let rows = values.len() / width;
        let x = Rows::new(values, rows, width, width).ok_or_else(missing)?;
        let y = RowsMut::new(target, rows, outputs, outputs).ok_or_else(missing)?;
        let done = self.product.run(x, y, &|items, run| in_parallel(context, items, run));
        done.ok_or_else(|| ort::Error::new("Linear: Failed to allocate memory for activations"))?
    }
}
