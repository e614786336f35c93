//! Operators of our own, as ONNX Runtime calls them: tensors in, slices for [`kernels`](crate::kernels), the runtime's own
//! threads for their items. A panic ends a run with an error: across the C interface it would end the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{DynTensorValueType, Shape, SymbolicDimensions, TensorElementType, ValueType};

use crate::kernels::linear::Linear;
use crate::kernels::processor::Path;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::weights::{Stored, Weights};
use crate::lowering::onnx::builder::OWN;

/// The operators, over the instructions of a path.
pub fn domain(path: Path) -> Result<OperatorDomain, ort::Error> {
    let stored = [TensorElementType::Float32, TensorElementType::Float16, TensorElementType::Bfloat16];
    stored
        .into_iter()
        .try_fold(OperatorDomain::new(OWN)?, |domain, weights| domain.add(LinearOperator { weights, path }))
}

/// `x · Wᵀ + bias`: (…, inputs) and (outputs, inputs) to (…, outputs). W is a constant, read where it lies.
struct LinearOperator {
    weights: TensorElementType,
    path: Path,
}

struct LinearKernel<'w> {
    linear: Linear<'w>,
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
        let linear = weights.and_then(|weights| Linear::new(weights, bias, self.path));
        Ok(LinearKernel { linear: linear.ok_or_else(refused)?, inputs, outputs })
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
        let call = Rows::new(values, rows, width, width)
            .zip(RowsMut::new(target, rows, outputs, outputs))
            .and_then(|(x, y)| self.linear.call(x, y))
            .ok_or_else(missing)?;
        // SAFETY: each item is run once.
        in_parallel(context, call.items(), |item| unsafe { call.run(item) })
    }
}

/// Runs every item once, on the session's threads.
fn in_parallel(context: &ComputeContext, items: usize, run: impl Fn(usize) + Sync + Send) -> Result<(), ort::Error> {
    let panicked = AtomicBool::new(false);
    // Captured by reference only; what a panic leaves half done is an output that is not used.
    let guarded = |item: usize| {
        if catch_unwind(AssertUnwindSafe(|| run(item))).is_err() {
            panicked.store(true, Ordering::Relaxed);
        }
    };
    match items {
        0 => {}
        1 => guarded(0),
        // As many shares as items: the runtime gives each thread the next one that is free.
        _ => context.par_for(items, items, guarded)?,
    }
    match panicked.into_inner() {
        true => Err(ort::Error::new("an operator of ironvec panicked")),
        false => Ok(()),
    }
}

/// A constant input's shape and bytes, which live as long as the session.
fn constant<'attr>(context: &KernelContext<'attr>, index: usize) -> Result<(Vec<usize>, &'attr [u8]), ort::Error> {
    let value = context.constant_input::<DynTensorValueType>(index)?;
    let wrong = || ort::Error::new(format!("input {index} is not a plain tensor"));
    let (element, shape) = match value.dtype() {
        ValueType::Tensor { ty, shape, .. } => (*ty, shape),
        _ => return Err(wrong()),
    };
    let shape: Option<Vec<usize>> = shape.iter().map(|size| usize::try_from(*size).ok()).collect();
    let shape = shape.ok_or_else(wrong)?;
    let each = match element {
        TensorElementType::Float32 => 4,
        TensorElementType::Float16 | TensorElementType::Bfloat16 => 2,
        _ => return Err(wrong()),
    };
    let length = shape.iter().try_fold(each, |bytes: usize, size| bytes.checked_mul(*size)).ok_or_else(wrong)?;
    // SAFETY: the runtime holds a tensor of that shape and type there for as long as the session, which 'attr is.
    Ok((shape, unsafe { std::slice::from_raw_parts(value.data_ptr().cast::<u8>(), length) }))
}

fn floats(bytes: &[u8]) -> Result<&[f32], ort::Error> {
    // SAFETY: every pattern of bits is a float32.
    match unsafe { bytes.align_to::<f32>() } {
        ([], floats, []) => Ok(floats),
        _ => Err(ort::Error::new("a bias that is not aligned")),
    }
}
