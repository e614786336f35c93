//! Norms, and the residual stream that blocks add to: a sum waits until the next norm, which takes it into one operator.

use super::LAST_AXIS;
use crate::error::Result;
use crate::lowering::onnx::builder::{GraphBuilder, Value};
use crate::lowering::onnx::proto::AttributeProto;
use crate::transformer::{BlockNorms, Norm, NormKind, Vector};

/// A norm over the last axis, of this many numbers.
pub fn norm(builder: &mut GraphBuilder, name: &str, x: &Value, norm: &Norm, size: usize) -> Result<Value> {
    let scale = scale(builder, norm, size)?;
    let attributes = [AttributeProto::int("axis", -1), epsilon(norm)];
    match norm.kind {
        NormKind::Layer => match &norm.bias {
            Some(bias) => {
                let bias = builder.vector(bias)?;
                builder.op(name, "LayerNormalization", &[x, &scale, &bias], &attributes)
            }
            None => builder.op(name, "LayerNormalization", &[x, &scale], &attributes),
        },
        NormKind::RootMeanSquare => {
            let normed = builder.op(name, "SimplifiedLayerNormalization", &[x, &scale], &attributes)?;
            biased(builder, normed, norm.bias.as_ref())
        }
    }
}

fn epsilon(norm: &Norm) -> AttributeProto {
    AttributeProto::float("epsilon", norm.epsilon)
}

/// What a norm multiplies with; the runtime folds an offset at load.
fn scale(builder: &mut GraphBuilder, norm: &Norm, size: usize) -> Result<Value> {
    let Some(weight) = &norm.weight else { return builder.filled(&format!("ones.{size}"), size, 1.0) };
    let value = builder.vector(weight)?;
    if norm.weight_offset == 0.0 {
        return Ok(value);
    }
    let name = format!("{}.offset", weight.name());
    let offset = builder.filled(&format!("offset.{}", norm.weight_offset), 1, norm.weight_offset)?;
    builder.named(&name).map_or_else(|| builder.op(&name, "Add", &[&value, &offset], &[]), Ok)
}

/// `x + bias`, where there is a bias.
pub fn biased(builder: &mut GraphBuilder, x: Value, bias: Option<&Vector>) -> Result<Value> {
    let Some(bias) = bias else { return Ok(x) };
    let bias = builder.vector(bias)?;
    builder.op(&format!("{}.biased", x.name()), "Add", &[&x, &bias], &[])
}

/// The residual stream, (B, L, H).
pub struct Stream {
    residual: Value,
    /// What was added last, and its bias.
    added: Option<(Value, Option<Vector>)>,
    size: usize,
}

impl Stream {
    /// A stream of vectors of this many numbers.
    pub fn new(start: Value, size: usize) -> Self {
        Stream { residual: start, added: None, size }
    }

    fn add(&mut self, builder: &mut GraphBuilder, value: Value, bias: Option<&Vector>) -> Result<()> {
        self.sum(builder)?;
        self.added = Some((value, bias.cloned()));
        Ok(())
    }

    /// The stream as it is.
    pub fn sum(&mut self, builder: &mut GraphBuilder) -> Result<Value> {
        if let Some((value, bias)) = self.added.take() {
            let value = biased(builder, value, bias.as_ref())?;
            self.residual = builder.op(&format!("{}.sum", value.name()), "Add", &[&value, &self.residual], &[])?;
        }
        Ok(self.residual.clone())
    }

    /// A norm of the stream. For LayerNorm three nodes: onnxruntime's SkipLayerNormalization does the same in one, and took
    /// three to four times as long for 1,024 tokens of 384 (`benches/choices.py`). A Gemm that adds the bias itself, on
    /// states of rank 2, changed nothing.
    pub fn normed(&mut self, builder: &mut GraphBuilder, name: &str, how: &Norm) -> Result<Value> {
        match how.kind {
            NormKind::RootMeanSquare if how.bias.is_none() => {
                let Some((value, bias)) = self.added.take() else {
                    return norm(builder, name, &self.residual, how, self.size);
                };
                let scale = scale(builder, how, self.size)?;
                let bias = bias.map(|bias| builder.vector(&bias)).transpose()?;
                let inputs: Vec<&Value> = [&value, &self.residual, &scale].into_iter().chain(&bias).collect();
                let normed = builder.contrib(name, "SkipSimplifiedLayerNormalization", &inputs, &[epsilon(how)])?;
                builder.skip_output(&normed)?; // mean
                builder.skip_output(&normed)?; // inverse of the standard deviation
                self.residual = builder.further_output(&normed, "sum")?;
                Ok(normed)
            }
            NormKind::RootMeanSquare | NormKind::Layer => {
                let sum = self.sum(builder)?;
                norm(builder, name, &sum, how, self.size)
            }
        }
    }

    /// Replaces the stream by its norm, where there is one.
    fn renormed(&mut self, builder: &mut GraphBuilder, name: &str, how: Option<&Norm>) -> Result<()> {
        if let Some(how) = how {
            self.residual = self.normed(builder, name, how)?;
        }
        Ok(())
    }

    /// What a block reads.
    pub fn enter(&mut self, builder: &mut GraphBuilder, name: &str, norms: &BlockNorms) -> Result<Value> {
        match &norms.input {
            Some(how) => self.normed(builder, name, how),
            None => self.sum(builder),
        }
    }

    /// Adds what a block puts out, without its last bias, and norms it and the sum where there are norms: their names.
    pub fn leave(
        &mut self,
        builder: &mut GraphBuilder,
        [normed, sum]: [&str; 2],
        mut value: Value,
        mut bias: Option<&Vector>,
        norms: &BlockNorms,
    ) -> Result<()> {
        if let Some(how) = &norms.output {
            value = biased(builder, value, bias.take())?;
            value = norm(builder, normed, &value, how, self.size)?;
        }
        self.add(builder, value, bias)?;
        self.renormed(builder, sum, norms.sum.as_ref())
    }

    /// Multiplies the stream by a number, where there is one.
    pub fn scale(&mut self, builder: &mut GraphBuilder, name: &str, by: Option<&Vector>) -> Result<()> {
        if let Some(by) = by {
            let (sum, factor) = (self.sum(builder)?, builder.vector(by)?);
            self.residual = builder.op(name, "Mul", &[&sum, &factor], &[])?;
        }
        Ok(())
    }

    /// Goes on with one token of each row, those that `index`, (B, 1, 1), names.
    pub fn pick(&mut self, builder: &mut GraphBuilder, index: &Value) -> Result<()> {
        let sum = self.sum(builder)?;
        self.residual = picked(builder, "last.residual", &sum, index)?;
        Ok(())
    }
}

/// One token of each row. (B, L, H) -> (B, 1, H).
pub fn picked(builder: &mut GraphBuilder, name: &str, states: &Value, index: &Value) -> Result<Value> {
    builder.op(name, "GatherND", &[states, index], &[AttributeProto::int("batch_dims", 1)])
}

/// (B, L, heads · D) -> norm over each head -> the same.
pub fn norm_of_heads(builder: &mut GraphBuilder, x: Value, how: &Norm, heads: usize, size: usize) -> Result<Value> {
    let name = x.name().to_owned();
    let split = builder.sizes(&[0, 0, heads as i64, size as i64])?;
    let split = builder.op(&format!("{name}.heads"), "Reshape", &[&x, &split], &[])?;
    let normed = norm(builder, &format!("{name}.heads.normed"), &split, how, size)?;
    let joined = builder.sizes(&[0, 0, (heads * size) as i64])?;
    builder.op(&format!("{name}.normed"), "Reshape", &[&normed, &joined], &[])
}

/// The last axis, as an attribute.
pub fn last_axis() -> AttributeProto {
    AttributeProto::int("axis", LAST_AXIS)
}
