//! Attention in one pass over the keys: of queries, keys and values that lie side by side in their rows, after a prefix that
//! all rows share.

use std::ops::Range;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{DynValue, TensorElementType, ValueRef, ValueType};

use super::in_parallel;
use crate::kernels::attention::{Attention, Sight};
use crate::kernels::heads::{Extent, Heads, Layout};
use crate::kernels::processor::Path;

/// Queries (B, L or 1, N·D), keys and values (B, L, K·D), or all three in one tensor, side by side (`packed`), which tokens there are (B, L) int32; then nothing, or a prefix's
/// keys and values (1, K, P, D), or what is added to scores by distance (N, 2·L - 1). To (B, L or 1, N·D).
pub(super) struct AttentionOperator {
    /// The instructions.
    pub(super) path: Path,
}

/// One layer's.
pub(super) struct AttentionKernel {
    heads: usize,
    shared: usize,
    scale: f32,
    /// All three are in each of the first three inputs.
    packed: bool,
    back: Option<usize>,
    ahead: Option<usize>,
    path: Path,
}

impl Operator for AttentionOperator {
    type Kernel<'attr> = AttentionKernel;

    fn name(&self) -> &str {
        "Attention"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = || OperatorInput::required(TensorElementType::Float32);
        let optional = || OperatorInput::optional(TensorElementType::Float32);
        let mask = OperatorInput::required(TensorElementType::Int32);
        [required(), required(), required(), mask, optional(), optional()]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<AttentionKernel, ort::Error> {
        let number =
            |name: &str| context.get::<i64>(name).ok_or_else(|| ort::Error::new(format!("Attention: no {name}")));
        let count = |name: &str| number(name).map(|count| usize::try_from(count).ok());
        let zero = || ort::Error::new("Attention: no heads");
        Ok(AttentionKernel {
            heads: count("heads")?.ok_or_else(zero)?,
            shared: count("key_value_heads")?.filter(|count| *count > 0).ok_or_else(zero)?,
            scale: context.get::<f32>("scale").ok_or_else(|| ort::Error::new("Attention: no scale"))?,
            packed: number("packed")? != 0,
            back: count("back")?,
            ahead: count("ahead")?,
            path: self.path,
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> Result<(), ort::Error> {
        match context.inputs().first() {
            // Of a packed one, the width is not that of what comes out; nobody needs to know it before.
            Some(queries @ ValueType::Tensor { .. }) if context.attr::<i64>("packed")? == 0 => {
                context.set_output(0, queries)
            }
            _ => Ok(()),
        }
    }
}

impl Kernel for AttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> Result<(), ort::Error> {
        let wrong = || ort::Error::new("Attention: tensors whose shapes do not match");
        let given: Vec<Option<ValueRef<'_>>> =
            (0..context.num_inputs()?.min(6)).map(|at| context.input(at)).collect::<Result<_, _>>()?;
        let tensor = |at: usize| given.get(at).and_then(Option::as_ref).map(floats).transpose();
        let (Some(queries), Some(keys), Some(values)) = (tensor(0)?, tensor(1)?, tensor(2)?) else {
            return Err(wrong());
        };
        let (prefix, relative) = match (tensor(4)?, tensor(5)?) {
            (Some(keys), Some(values)) => (Some((keys, values)).filter(|(keys, _)| !keys.1.is_empty()), None),
            (relative, _) => (None, relative),
        };
        let &[rows, positions, width] = &queries.0[..] else { return Err(wrong()) };
        let (heads, shared) = (self.heads, self.shared);
        let all = if self.packed { heads + 2 * shared } else { heads };
        let size = width / all.max(1);
        let width = heads * size;
        // Where the heads of keys and values begin, and that there are no others in their tensors.
        let [first, second] = if self.packed { [heads, heads + shared] } else { [0, 0] };
        let side_by_side = |tensor, heads: Range<usize>| {
            let all = if self.packed { all } else { heads.len() };
            side_by_side(tensor, heads, all, size)
        };
        let lengths = lengths(given.get(3).and_then(Option::as_ref).ok_or_else(wrong)?)?;

        let own = side_by_side(&keys, first..first + shared)
            .zip(side_by_side(&values, second..second + shared))
            .ok_or_else(wrong)?;
        let before = match &prefix {
            Some((keys, values)) => Some(one_row(keys, size, rows).zip(one_row(values, size, rows)).ok_or_else(wrong)?),
            None => None,
        };
        let mut output = context.output(0, [rows as i64, positions as i64, width as i64])?.ok_or_else(wrong)?;
        let (_, target) = output.try_extract_tensor_mut::<f32>()?;
        let sight = Sight {
            scale: self.scale,
            lengths: &lengths,
            back: self.back,
            ahead: self.ahead,
            relative: relative.as_ref().map(|(_, table)| *table),
        };
        let layout = Layout { row: positions * width, position: width, head: size };
        let queries = side_by_side(&queries, 0..heads).ok_or_else(wrong)?;
        let run = Attention::new(queries, before, own, sight, (target, layout), self.path).ok_or_else(wrong)?;
        // SAFETY: each item is run once, and the layout keeps heads apart.
        in_parallel(context, run.items(), |item| unsafe { run.run(item) })
    }
}

/// Some of the heads that lie side by side in their rows, of which there are `all`.
fn side_by_side<'v>(
    (shape, values): &(Vec<usize>, &'v [f32]),
    heads: Range<usize>,
    all: usize,
    size: usize,
) -> Option<Heads<'v>> {
    let &[rows, positions, width] = &shape[..] else { return None };
    let layout = Layout { row: positions * width, position: width, head: size };
    (width == all * size).then_some(())?;
    let values = values.get(heads.start * size..).unwrap_or_default();
    Heads::new(values, layout, Extent { rows, positions, heads: heads.len(), size })
}

/// Heads of a prefix, each with its positions below each other, as if every one of the batch's rows had them.
fn one_row<'v>((shape, values): &(Vec<usize>, &'v [f32]), size: usize, rows: usize) -> Option<Heads<'v>> {
    let &[1, heads, positions, wide] = &shape[..] else { return None };
    let layout = Layout { row: 0, position: size, head: positions * size };
    (wide == size).then_some(())?;
    Heads::new(values, layout, Extent { rows, positions, heads, size })
}

fn floats<'v>(value: &'v ValueRef<'_>) -> Result<(Vec<usize>, &'v [f32]), ort::Error> {
    let (shape, values) = DynValue::try_extract_tensor::<f32>(value)?;
    Ok((shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect(), values))
}

/// Tokens of each row, from ones before zeros.
fn lengths(mask: &ValueRef<'_>) -> Result<Vec<usize>, ort::Error> {
    let (shape, values) = DynValue::try_extract_tensor::<i32>(mask)?;
    let length = shape.last().map_or(0, |size| usize::try_from(*size).unwrap_or(0)).max(1);
    Ok(values.chunks(length).map(|row| row.iter().filter(|token| **token != 0).count()).collect())
}
