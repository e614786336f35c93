//! Products in int8 with matrices that the session holds quantized.

use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use super::{constant, floats, in_parallel};
use crate::kernels::quantized::linear::Call;
use crate::kernels::quantized::weights::QuantizedMatrix;
use crate::kernels::rows::{Rows, RowsMut};

/// `x · Wᵀ + bias`: (…, inputs) to (…, outputs). W is the session's matrix of the number `matrix`.
pub(super) struct QuantizedLinearOperator {
    /// All that the graph names.
    pub(super) matrices: Arc<[QuantizedMatrix]>,
}

pub(super) struct QuantizedLinearKernel<'b> {
    matrices: Arc<[QuantizedMatrix]>,
    index: usize,
    bias: Option<&'b [f32]>,
}

impl Operator for QuantizedLinearOperator {
    type Kernel<'attr> = QuantizedLinearKernel<'attr>;

    fn name(&self) -> &str {
        "QuantizedLinear"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [OperatorInput::required(float), OperatorInput::optional(float)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<QuantizedLinearKernel<'attr>, ort::Error> {
        let index = context.get::<i64>("matrix").and_then(|index| usize::try_from(index).ok());
        let index = index.filter(|index| *index < self.matrices.len());
        let index = index.ok_or_else(|| ort::Error::new("QuantizedLinear: no such matrix"))?;
        let bias = match context.inputs()?.len() {
            ..=1 => None,
            _ => Some(floats(constant(context, 1)?.1)?),
        };
        Ok(QuantizedLinearKernel { matrices: Arc::clone(&self.matrices), index, bias })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> Result<(), ort::Error> {
        let index = context.attr::<i64>("matrix").ok().and_then(|index| usize::try_from(index).ok());
        let Some(matrix) = index.and_then(|index| self.matrices.get(index)) else { return Ok(()) };
        let inputs = context.inputs();
        let Some(ValueType::Tensor { shape, .. }) = inputs.first() else { return Ok(()) };
        let Some((_, rows)) = shape.split_last() else { return Ok(()) };
        let shape: Shape = rows.iter().copied().chain([matrix.outputs() as i64]).collect();
        let dimension_symbols = SymbolicDimensions::empty(shape.len());
        context.set_output(0, &ValueType::Tensor { ty: TensorElementType::Float32, shape, dimension_symbols })
    }
}

impl Kernel for QuantizedLinearKernel<'_> {
    fn compute(&mut self, context: &ComputeContext) -> Result<(), ort::Error> {
        let missing = || ort::Error::new("QuantizedLinear: a tensor is missing");
        let matrix = self.matrices.get(self.index).ok_or_else(missing)?;
        let x = context.input(0)?.ok_or_else(missing)?;
        let (shape, values) = x.try_extract_tensor::<f32>()?;
        let (width, outputs) = (matrix.inputs(), matrix.outputs());
        let mut sizes = shape.to_vec();
        let last = sizes.last_mut().filter(|size| usize::try_from(**size) == Ok(width));
        *last
            .ok_or_else(|| ort::Error::new(format!("QuantizedLinear: {shape:?} where rows of {width} are needed")))? =
            outputs as i64;
        let mut y = context.output(0, sizes)?.ok_or_else(missing)?;
        let (_, target) = y.try_extract_tensor_mut::<f32>()?;
        let rows = values.len() / width;
        let shapes = Rows::new(values, rows, width, width).zip(RowsMut::new(target, rows, outputs, outputs));
        let (x, y) = shapes.ok_or_else(missing)?;
        let call = Call::new(matrix, self.bias, x, y);
        let call = call.ok_or_else(|| ort::Error::new("QuantizedLinear: Failed to allocate memory"))?;
        // SAFETY: each item is run once, and those of the first step before the others.
        in_parallel(context, call.first_items(), |item| unsafe { call.first(item) })?;
        // SAFETY: the same.
        in_parallel(context, call.items(), |item| unsafe { call.run(item) })
    }
}
