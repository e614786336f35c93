//! Token ids to the first hidden states: (B, L) -> (B, L, H).

use super::norms::norm;
use crate::error::Result;
use crate::lowering::inputs::POSITION_IDS;
use crate::lowering::onnx::builder::{GraphBuilder, Size, Value};
use crate::lowering::onnx::proto::{AttributeProto, ElementType, TensorProto};
use crate::transformer::{Embeddings, Matrix, Norm, NormKind, Positions, Replaced, Vector};

/// Looks the tokens up, adds and norms.
pub fn embed(builder: &mut GraphBuilder, embeddings: &Embeddings, input_ids: &Value) -> Result<Value> {
    let size = embeddings.words.inputs;
    let Embeddings { replaced, words, positions, token_type, scale, norm: how } = embeddings;
    let input_ids = &looked_up(builder, replaced.as_ref(), input_ids)?;
    if let (Some(positions), Some(norm)) = (positions, how)
        && let Norm { kind: NormKind::Layer, weight: Some(gamma), bias: Some(beta), .. } = norm
        && *scale == 1.0
    {
        return in_one(builder, (words, positions), token_type.as_ref(), [gamma, beta], norm.epsilon, input_ids);
    }
    let table = builder.table(words)?;
    let found = builder.op("embedded.words", "Gather", &[&table, input_ids], &[])?;
    let to_float32 = AttributeProto::int("to", ElementType::Float32 as i64);
    let mut sum = builder.op("embedded", "Cast", &[&found], &[to_float32])?;
    if let Some(token_type) = token_type {
        let row = builder.matrix(token_type)?;
        sum = builder.op("embedded.typed", "Add", &[&sum, &row], &[])?;
    }
    if let Some(positions) = positions {
        let table = builder.matrix(&positions.table)?;
        let rows = match position_ids(builder, positions)? {
            Some(rows) => builder.op("embedded.positions", "Gather", &[&table, &rows], &[])?,
            None => {
                let start = AttributeProto::int("start", 1);
                let (length, zero) =
                    (builder.op("embedded.length", "Shape", &[input_ids], &[start])?, builder.sizes(&[0])?);
                builder.op("embedded.positions", "Slice", &[&table, &zero, &length, &zero], &[])?
            }
        };
        sum = builder.op("embedded.placed", "Add", &[&sum, &rows], &[])?;
    }
    if *scale != 1.0 {
        let factor = builder.filled("embedded.scale", 1, *scale)?;
        sum = builder.op("embedded.scaled", "Mul", &[&sum, &factor], &[])?;
    }
    match how {
        Some(how) => norm(builder, "embedded.normed", &sum, how, size),
        None => Ok(sum),
    }
}

/// The ids whose rows are taken: (B, L) -> (B, L).
fn looked_up(builder: &mut GraphBuilder, replaced: Option<&Replaced>, input_ids: &Value) -> Result<Value> {
    let mut ids = input_ids.clone();
    let Some(Replaced { ids: placeholders, by }) = replaced else { return Ok(ids) };
    let by = builder.scalar("replaced.by", ElementType::Int32, &by.to_le_bytes())?;
    for id in placeholders {
        let placeholder = builder.scalar(&format!("replaced.{id}"), ElementType::Int32, &id.to_le_bytes())?;
        let found = builder.op(&format!("replaced.{id}.found"), "Equal", &[input_ids, &placeholder], &[])?;
        ids = builder.op(&format!("replaced.{id}.ids"), "Where", &[&found, &by, &ids], &[])?;
    }
    Ok(ids)
}

/// Word + position + token type, then LayerNorm, in one operator.
fn in_one(
    builder: &mut GraphBuilder,
    (words, positions): (&Matrix, &Positions),
    token_type: Option<&Matrix>,
    [gamma, beta]: [&Vector; 2],
    epsilon: f32,
    input_ids: &Value,
) -> Result<Value> {
    let (words, table) = (builder.matrix(words)?, builder.matrix(&positions.table)?);
    let (gamma, beta) = (builder.vector(gamma)?, builder.vector(beta)?);
    let (ids, types) = match token_type {
        Some(table) => (zeros_like(builder, input_ids)?, builder.matrix(table)?),
        None => (Value::absent(), Value::absent()),
    };
    let mut inputs = vec![input_ids, &ids, &words, &table, &types, &gamma, &beta];
    let absent = Value::absent();
    let rows = position_ids(builder, positions)?;
    if let Some(rows) = &rows {
        inputs.extend([&absent, rows]);
    }
    let epsilon = AttributeProto::float("epsilon", epsilon);
    let embedded = builder.contrib("embedded", "EmbedLayerNormalization", &inputs, &[epsilon])?;
    builder.further_output(&embedded, "mask_index")?; // the operator insists on it
    Ok(embedded)
}

/// The input that says each token's row, where the index of the token does not.
fn position_ids(builder: &mut GraphBuilder, positions: &Positions) -> Result<Option<Value>> {
    if positions.skipped.is_none() {
        return Ok(None);
    }
    builder.input(POSITION_IDS, ElementType::Int32, &[Size::Symbol("B"), Size::Symbol("L")]).map(Some)
}

fn zeros_like(builder: &mut GraphBuilder, input_ids: &Value) -> Result<Value> {
    let zero = TensorProto {
        dims: vec![1],
        data_type: ElementType::Int32 as i32,
        raw_data: Some(0_i32.to_le_bytes().to_vec()),
        ..Default::default()
    };
    let shape = builder.op("token_type_shape", "Shape", &[input_ids], &[])?;
    builder.op("token_type_ids", "ConstantOfShape", &[&shape], &[AttributeProto::tensor("value", zero)])
}
