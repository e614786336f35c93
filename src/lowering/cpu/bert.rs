//! The BERT encoder (transformers' `BertModel` without its pooler), in ONNX Runtime's fused operators.

use super::layers::{add_and_norm, layer_norm_weights, linear};
use crate::architectures::bert::{Activation, BertConfig};
use crate::error::Result;
use crate::lowering::inputs;
use crate::lowering::onnx::builder::{GraphBuilder, Size, Value};
use crate::lowering::onnx::model::Arithmetic;
use crate::lowering::onnx::proto::{AttributeProto, ElementType, TensorProto};

/// What transformers adds to the scores of padding: exp of it is exactly 0, so padding cannot reach a token.
const MASK_FILTER_VALUE: f32 = f32::MIN;

/// In the order in which the attention operators take them.
const PROJECTIONS: [&str; 3] = ["query", "key", "value"];

/// Token ids to hidden states: (B, L) -> (B, L, H).
pub fn encoder(builder: &mut GraphBuilder, config: &BertConfig) -> Result<Value> {
    let token_shape = [Size::Symbol("B"), Size::Symbol("L")];
    let input_ids = builder.input(inputs::INPUT_IDS, ElementType::Int32, &token_shape)?;
    let attention_mask = builder.input(inputs::ATTENTION_MASK, ElementType::Int32, &token_shape)?;
    let prefix = if builder.has_weight("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
    let mut hidden_states = embeddings(builder, config, prefix, &input_ids)?;
    for layer in 0..config.num_hidden_layers {
        let path = format!("{prefix}encoder.layer.{layer}");
        let attended = attention(builder, config, &path, &hidden_states, &attention_mask)?;
        hidden_states = feed_forward(builder, config, &path, &attended)?;
    }
    Ok(hidden_states)
}

/// Word + position + token type (all 0), then LayerNorm. (B, L) -> (B, L, H).
fn embeddings(builder: &mut GraphBuilder, config: &BertConfig, prefix: &str, input_ids: &Value) -> Result<Value> {
    let path = format!("{prefix}embeddings");
    let hidden = config.hidden_size;
    let word = builder.weight(&format!("{path}.word_embeddings.weight"), &[config.vocab_size, hidden])?;
    let position =
        builder.weight(&format!("{path}.position_embeddings.weight"), &[config.max_position_embeddings, hidden])?;
    let token_type =
        builder.weight(&format!("{path}.token_type_embeddings.weight"), &[config.type_vocab_size, hidden])?;
    let [gamma, beta] = layer_norm_weights(builder, &format!("{path}.LayerNorm"), hidden)?;
    let zero = TensorProto {
        dims: vec![1],
        data_type: ElementType::Int32 as i32,
        raw_data: Some(0_i32.to_le_bytes().to_vec()),
        ..Default::default()
    };
    let shape = builder.op("token_type_shape", "Shape", &[input_ids], &[])?;
    let token_type_ids =
        builder.op("token_type_ids", "ConstantOfShape", &[&shape], &[AttributeProto::tensor("value", zero)])?;
    let embedded = builder.contrib(
        &path,
        "EmbedLayerNormalization",
        &[input_ids, &token_type_ids, &word, &position, &token_type, &gamma, &beta],
        &[AttributeProto::float("epsilon", config.layer_norm_eps)],
    )?;
    builder.further_output(&embedded, "mask_index")?; // the operator insists on it
    Ok(embedded)
}

/// Self-attention, output projection, residual, LayerNorm. (B, L, H) -> (B, L, H).
fn attention(
    builder: &mut GraphBuilder,
    config: &BertConfig,
    path: &str,
    hidden_states: &Value,
    attention_mask: &Value,
) -> Result<Value> {
    let hidden = config.hidden_size;
    let context = match builder.arithmetic() {
        Arithmetic::Float32 | Arithmetic::Float16 => {
            attention_over_weights(builder, config, path, [hidden_states, attention_mask])?
        }
        Arithmetic::Int8 => attention_over_products(builder, config, path, [hidden_states, attention_mask])?,
    };
    let output = format!("{path}.attention.output");
    let name = format!("{output}.projection");
    let dense = linear(builder, &name, &context, &format!("{output}.dense.weight"), [hidden, hidden])?;
    add_and_norm(
        builder,
        &output,
        [&dense, hidden_states],
        &format!("{output}.dense.bias"),
        &format!("{output}.LayerNorm"),
        hidden,
        config.layer_norm_eps,
    )
}

/// Projections and attention in one operator. (B, L, H), (B, L) -> (B, L, H).
fn attention_over_weights(
    builder: &mut GraphBuilder,
    config: &BertConfig,
    path: &str,
    [hidden_states, attention_mask]: [&Value; 2],
) -> Result<Value> {
    let (name, hidden) = (format!("{path}.attention"), config.hidden_size);
    let weight = stacked(builder, path, "weight", &[hidden, hidden])?;
    let bias = stacked(builder, path, "bias", &[hidden])?;
    // The operator wants (inputs, outputs); the runtime folds both steps at load.
    let permutation = AttributeProto::ints("perm", &[1, 0]);
    let weight = builder.op(&format!("{name}.weight.transposed"), "Transpose", &[&weight], &[permutation])?;
    let inputs = [hidden_states, &weight, &bias, attention_mask];
    builder.contrib(&name, "Attention", &inputs, &attention_attributes(config))
}

/// Attention over projections that have been made: the operator above takes float weights alone.
fn attention_over_products(
    builder: &mut GraphBuilder,
    config: &BertConfig,
    path: &str,
    [hidden_states, attention_mask]: [&Value; 2],
) -> Result<Value> {
    let (name, hidden) = (format!("{path}.attention"), config.hidden_size);
    let mut inputs = Vec::with_capacity(5);
    for part in PROJECTIONS {
        let tensor = format!("{path}.attention.self.{part}");
        let (product, weight) = (format!("{tensor}.projection"), format!("{tensor}.weight"));
        inputs.push(linear(builder, &product, hidden_states, &weight, [hidden, hidden])?);
    }
    inputs.push(stacked(builder, path, "bias", &[hidden])?);
    inputs.push(attention_mask.clone());
    let inputs: Vec<&Value> = inputs.iter().collect();
    builder.contrib(&name, "MultiHeadAttention", &inputs, &attention_attributes(config))
}

fn attention_attributes(config: &BertConfig) -> [AttributeProto; 2] {
    [
        AttributeProto::int("num_heads", config.num_attention_heads as i64),
        AttributeProto::float("mask_filter_value", MASK_FILTER_VALUE),
    ]
}

/// Query's, key's and value's tensors, one below the other: (H, …) each -> (3·H, …).
fn stacked(builder: &mut GraphBuilder, path: &str, kind: &str, shape: &[usize]) -> Result<Value> {
    let mut parts = Vec::with_capacity(PROJECTIONS.len());
    for part in PROJECTIONS {
        parts.push(builder.weight(&format!("{path}.attention.self.{part}.{kind}"), shape)?);
    }
    let parts: Vec<&Value> = parts.iter().collect();
    builder.op(&format!("{path}.attention.{kind}"), "Concat", &parts, &[AttributeProto::int("axis", 0)])
}

/// H -> intermediate -> activation -> H, residual, LayerNorm. (B, L, H) -> (B, L, H).
fn feed_forward(builder: &mut GraphBuilder, config: &BertConfig, path: &str, attended: &Value) -> Result<Value> {
    let (hidden, width) = (config.hidden_size, config.intermediate_size);
    let (inner, output) = (format!("{path}.intermediate"), format!("{path}.output"));
    let name = format!("{inner}.projection");
    let wide = linear(builder, &name, attended, &format!("{inner}.dense.weight"), [width, hidden])?;
    let bias = builder.weight(&format!("{inner}.dense.bias"), &[width])?;
    let activated = match config.hidden_act {
        Activation::Gelu => builder.contrib(&inner, "BiasGelu", &[&wide, &bias], &[])?,
        Activation::GeluTanh => builder.contrib(&inner, "FastGelu", &[&wide, &bias], &[])?,
        Activation::Relu => {
            let biased = builder.op(&format!("{inner}.biased"), "Add", &[&wide, &bias], &[])?;
            builder.op(&inner, "Relu", &[&biased], &[])?
        }
    };
    let name = format!("{output}.projection");
    let narrow = linear(builder, &name, &activated, &format!("{output}.dense.weight"), [hidden, width])?;
    add_and_norm(
        builder,
        &output,
        [&narrow, attended],
        &format!("{output}.dense.bias"),
        &format!("{output}.LayerNorm"),
        hidden,
        config.layer_norm_eps,
    )
}
