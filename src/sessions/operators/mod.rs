//! Operators of our own, as ONNX Runtime calls them: tensors in, slices for [`kernels`](crate::kernels), the runtime's own
//! threads for their items. A panic in an item ends a run with an error: across the C interface it would end the process.

mod activation;
mod attention;
mod linear;
mod quantized;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ort::operator::{ComputeContext, KernelContext, OperatorDomain};
use ort::value::{DynTensorValueType, TensorElementType, ValueType};

use self::activation::ActivationOperator;
use self::attention::AttentionOperator;
use self::linear::LinearOperator;
use self::quantized::QuantizedLinearOperator;
use crate::kernels::processor::Path;
use crate::kernels::quantized::weights::QuantizedMatrix;
use crate::lowering::onnx::builder::OWN;

/// The operators, over the instructions of a path and a graph's quantized matrices.
pub fn domain(path: Path, matrices: Vec<QuantizedMatrix>) -> Result<OperatorDomain, ort::Error> {
    let stored = [TensorElementType::Float32, TensorElementType::Float16, TensorElementType::Bfloat16];
    let domain = OperatorDomain::new(OWN)?.add(AttentionOperator { path })?.add(ActivationOperator { path })?;
    let domain = domain.add(QuantizedLinearOperator { matrices: Arc::from(matrices) })?;
    stored.into_iter().try_fold(domain, |domain, weights| domain.add(LinearOperator { weights, path }))
}

/// Shares of the items at most: one for each costs more than some items do.
const SHARES: usize = 256;

/// Runs every item once, on the session's threads.
///
/// There is no lock at which many cores would queue. Threads claim shares by one atomic addition each, at most [`SHARES`] in
/// a run, on counters that the runtime keeps apart for groups of threads; items read what nobody writes, write parts of
/// the output that are theirs, and allocate nothing (room for a run is made before it, by one thread). The one flag that they
/// share is written by a panic alone. Callers wait for each other at the session, whose runs have all cores.
pub(super) fn in_parallel(
    context: &ComputeContext,
    items: usize,
    run: impl Fn(usize) + Sync + Send,
) -> Result<(), ort::Error> {
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
        // The runtime gives each thread the next share that is free: enough of them that none waits long for the last.
        _ => context.par_for(items, items.min(SHARES), guarded)?,
    }
    match panicked.into_inner() {
        true => Err(ort::Error::new("an operator of ironvec panicked")),
        false => Ok(()),
    }
}

/// A constant input's shape and bytes, which live as long as the session.
pub(super) fn constant<'attr>(
    context: &KernelContext<'attr>,
    index: usize,
) -> Result<(Vec<usize>, &'attr [u8]), ort::Error> {
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

pub(super) fn floats(bytes: &[u8]) -> Result<&[f32], ort::Error> {
    // SAFETY: every pattern of bits is a float32.
    match unsafe { bytes.align_to::<f32>() } {
        ([], floats, []) => Ok(floats),
        _ => Err(ort::Error::new("a bias that is not aligned")),
    }
}
