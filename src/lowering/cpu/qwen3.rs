//! The Qwen3 decoder (transformers' `Qwen3Model`), without key/value outputs beyond the few tokens that the host asks to
//! keep, and with a shared prefix's keys and values as an input. Rows are padded on the right: causality hides the
//! padding, so there is no attention mask. N query heads in G groups of one key/value head each; S tokens of a row in
//! this run, P of the prefix before them, T = P + S.

use super::layers::linear;
use super::pooling;
use crate::architectures::qwen3::Qwen3Config;
use crate::checkpoint::pooling::PoolingMode;
use crate::error::Result;
use crate::lowering::onnx::builder::{GraphBuilder, Size, Value};
use crate::lowering::onnx::proto::{AttributeProto, ElementType};
use crate::lowering::{OUTPUT, inputs};

/// What every layer reads beside its weights.
struct Shared {
    config: Qwen3Config,
    prefix: String,
    cos: Value,
    sin: Value,
    first_position: Value,
    score_sizes: Value,
    capture: Value,
    split_heads: Value,
    group_queries: Value,
    ungroup_queries: Value,
    join_heads: Value,
    axis_batch_length: Value,
    slice_starts: Value,
}

/// The queries of a layer: of every token, or of the pooled one alone.
struct Queries<'a> {
    /// (B, S or 1, H), normalised.
    states: &'a Value,
    /// What is added to the scores: 0 or -inf, (G·S, T) or (B, 1, G, T).
    bias: &'a Value,
    /// Row of `cos` and `sin` of each token: [0] for "from the first on", or (B, 1).
    positions: &'a Value,
}

/// Token ids to pooled vectors, (B, S) -> (B, P', H), made the graph's output.
pub fn decoder(builder: &mut GraphBuilder, config: &Qwen3Config, modes: &[PoolingMode]) -> Result<()> {
    let (rows, length) = (Size::Symbol("B"), Size::Symbol("S"));
    let input_ids = builder.input(inputs::INPUT_IDS, ElementType::Int32, &[rows, length])?;
    let bias_shape = [Size::Symbol("GS"), Size::Symbol("T")];
    let causal_bias = builder.input(inputs::CAUSAL_BIAS, ElementType::Float32, &bias_shape)?;
    let shared = shared(builder, config)?;
    let last_token_alone = modes == [PoolingMode::LastToken];

    let table = builder.table(&shared.tensor("embed_tokens"), &[config.vocab_size, config.hidden_size])?;
    let embedded = builder.op("embedded", "Gather", &[&table, &input_ids], &[])?;
    let mut residual =
        builder.op("hidden_states", "Cast", &[&embedded], &[AttributeProto::int("to", ElementType::Float32 as i64)])?;
    let first_norm = builder.weight(&shared.layer(0, "input_layernorm"), &[config.hidden_size])?;
    let mut normed =
        builder.op("layers.0.normed", "SimplifiedLayerNormalization", &[&residual, &first_norm], &[epsilon(config)])?;
    for layer in 0..config.num_hidden_layers {
        let is_last = layer + 1 == config.num_hidden_layers;
        let every = Queries { states: &normed, bias: &causal_bias, positions: &shared.first_position };
        let attended = if is_last && last_token_alone {
            // From here on only the pooled token matters: its query, its residual, its feed-forward.
            let (last_index, last_bias) = last_inputs(builder, config)?;
            let axes = builder.integers("last_index.axes", &[2])?;
            let index = builder.op("last_index.column", "Unsqueeze", &[&last_index, &axes], &[])?;
            let states = builder.op("last.states", "GatherND", &[&normed, &index], &[per_row()])?;
            residual = builder.op("last.residual", "GatherND", &[&residual, &index], &[per_row()])?;
            let last = Queries { states: &states, bias: &last_bias, positions: &last_index };
            attention(builder, &shared, layer, &normed, &last)?
        } else {
            attention(builder, &shared, layer, &normed, &every)?
        };
        let name = format!("layers.{layer}.attended");
        let norm = shared.layer(layer, "post_attention_layernorm");
        let (for_mlp, sum) = skip_norm(builder, &name, [&attended, &residual], &norm, config)?;
        let expanded = feed_forward(builder, &shared, layer, &for_mlp)?;
        let next = if is_last { shared.tensor("norm") } else { shared.layer(layer + 1, "input_layernorm") };
        let name = if is_last && last_token_alone { OUTPUT.to_owned() } else { format!("layers.{}.normed", layer + 1) };
        (normed, residual) = skip_norm(builder, &name, [&expanded, &sum], &next, config)?;
    }
    if last_token_alone {
        builder.output(&normed, ElementType::Float32, &[rows, Size::Fixed(1), Size::Fixed(config.hidden_size)]);
        Ok(())
    } else {
        pooling::pool(builder, &normed, modes, config.hidden_size)
    }
}

fn last_inputs(builder: &mut GraphBuilder, config: &Qwen3Config) -> Result<(Value, Value)> {
    let group = config.num_attention_heads / config.num_key_value_heads;
    let rows = Size::Symbol("B");
    let index = builder.input(inputs::LAST_INDEX, ElementType::Int64, &[rows, Size::Fixed(1)])?;
    let shape = [rows, Size::Fixed(1), Size::Fixed(group), Size::Symbol("T")];
    Ok((index, builder.input(inputs::LAST_BIAS, ElementType::Float32, &shape)?))
}

fn shared(builder: &mut GraphBuilder, config: &Qwen3Config) -> Result<Shared> {
    let (heads, groups, width) =
        (config.num_attention_heads as i64, config.num_key_value_heads as i64, config.head_dim as i64);
    let rotation = [Size::Symbol("S"), Size::Fixed(config.head_dim / 2)];
    let prefix = if builder.has_weight("model.embed_tokens.weight") { "model." } else { "" };
    Ok(Shared {
        config: config.clone(),
        prefix: prefix.to_owned(),
        cos: builder.input(inputs::COS, ElementType::Float32, &rotation)?,
        sin: builder.input(inputs::SIN, ElementType::Float32, &rotation)?,
        score_sizes: builder.input(inputs::SCORE_SIZES, ElementType::Int64, &[Size::Fixed(2)])?,
        capture: builder.input(inputs::CAPTURE, ElementType::Int64, &[Size::Fixed(2)])?,
        first_position: builder.integers("first_position", &[0])?,
        split_heads: builder.integers("split_heads", &[0, 0, -1, width])?,
        group_queries: builder.integers("group_queries", &[0, groups, -1, width])?,
        ungroup_queries: builder.integers("ungroup_queries", &[0, heads, -1, width])?,
        join_heads: builder.integers("join_heads", &[0, 0, heads * width])?,
        axis_batch_length: builder.integers("axis_batch_length", &[0, 2])?,
        slice_starts: builder.integers("slice_starts", &[0, 0])?,
    })
}

impl Shared {
    fn tensor(&self, module: &str) -> String {
        format!("{}{module}.weight", self.prefix)
    }

    fn layer(&self, layer: usize, module: &str) -> String {
        format!("{}layers.{layer}.{module}.weight", self.prefix)
    }
}

/// Self-attention of the queries over the prefix and the row's own tokens. -> (B, S or 1, H).
fn attention(
    builder: &mut GraphBuilder,
    shared: &Shared,
    layer: usize,
    normed: &Value,
    queries: &Queries<'_>,
) -> Result<Value> {
    let config = &shared.config;
    let name = |part: &str| format!("layers.{layer}.{part}");
    let (query_width, key_width) =
        (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
    let query = heads(builder, shared, layer, "q", queries.states, query_width, Some(queries.positions))?;
    let key = heads(builder, shared, layer, "k", normed, key_width, Some(&shared.first_position))?;
    let value = heads(builder, shared, layer, "v", normed, key_width, None)?;
    let past_key = past(builder, config, &inputs::past_key(layer))?;
    let past_value = past(builder, config, &inputs::past_value(layer))?;
    for (states, output) in [(&key, inputs::present_key(layer)), (&value, inputs::present_value(layer))] {
        capture(builder, shared, states, &output)?;
    }

    // (B, N, S, D) -> (B, N/G, G·S, D): the query heads of a group lie side by side, so keys and values serve them all.
    let grouped = builder.op(&name("q.grouped"), "Reshape", &[&query, &shared.group_queries], &[])?;
    let scaled =
        [AttributeProto::int("transB", 1), AttributeProto::float("alpha", 1.0 / (config.head_dim as f32).sqrt())];
    let past_scores = builder.contrib(&name("scores.past"), "FusedMatMul", &[&grouped, &past_key], &scaled)?;
    let own_scores = builder.contrib(&name("scores.own"), "FusedMatMul", &[&grouped, &key], &scaled)?;
    let scores = builder.op(&name("scores"), "Concat", &[&past_scores, &own_scores], &[last_axis()])?;
    let visible = builder.op(&name("scores.visible"), "Add", &[&scores, queries.bias], &[])?;
    let weights = builder.op(&name("attention"), "Softmax", &[&visible], &[last_axis()])?;
    let past_weights =
        builder.op(&name("attention.past"), "Split", &[&weights, &shared.score_sizes], &[last_axis()])?;
    let own_weights = builder.further_output(&past_weights, "own")?;
    let from_past = builder.op(&name("context.past"), "MatMul", &[&past_weights, &past_value], &[])?;
    let from_own = builder.op(&name("context.own"), "MatMul", &[&own_weights, &value], &[])?;
    let context = builder.op(&name("context"), "Add", &[&from_past, &from_own], &[])?;

    let ungrouped = builder.op(&name("context.ungrouped"), "Reshape", &[&context, &shared.ungroup_queries], &[])?;
    let swapped = builder.op(&name("context.swapped"), "Transpose", &[&ungrouped], &[swap_heads()])?;
    let joined = builder.op(&name("context.joined"), "Reshape", &[&swapped, &shared.join_heads], &[])?;
    project(builder, shared, layer, "o", &joined, [config.hidden_size, query_width])
}

/// A projection split into heads, with the head's norm and rotation where it is rotated. (B, S, H) -> (B, heads, S, D).
fn heads(
    builder: &mut GraphBuilder,
    shared: &Shared,
    layer: usize,
    part: &str,
    states: &Value,
    width: usize,
    positions: Option<&Value>,
) -> Result<Value> {
    let config = &shared.config;
    let name = |step: &str| format!("layers.{layer}.{part}.{step}");
    let projected = project(builder, shared, layer, part, states, [width, config.hidden_size])?;
    let mut split = builder.op(&name("split"), "Reshape", &[&projected, &shared.split_heads], &[])?;
    if positions.is_some() {
        let norm = builder.weight(&shared.layer(layer, &format!("self_attn.{part}_norm")), &[config.head_dim])?;
        split = builder.op(&name("normed"), "SimplifiedLayerNormalization", &[&split, &norm], &[epsilon(config)])?;
    }
    let swapped = builder.op(&name("swapped"), "Transpose", &[&split], &[swap_heads()])?;
    match positions {
        None => Ok(swapped),
        Some(positions) => {
            builder.contrib(&name("rotated"), "RotaryEmbedding", &[&swapped, positions, &shared.cos, &shared.sin], &[])
        }
    }
}

fn epsilon(config: &Qwen3Config) -> AttributeProto {
    AttributeProto::float("epsilon", config.rms_norm_eps)
}

fn last_axis() -> AttributeProto {
    AttributeProto::int("axis", -1)
}

fn per_row() -> AttributeProto {
    AttributeProto::int("batch_dims", 1)
}

/// (B, S, heads, D) <-> (B, heads, S, D).
fn swap_heads() -> AttributeProto {
    AttributeProto::ints("perm", &[0, 2, 1, 3])
}

fn project(
    builder: &mut GraphBuilder,
    shared: &Shared,
    layer: usize,
    part: &str,
    states: &Value,
    shape: [usize; 2],
) -> Result<Value> {
    let weight = shared.layer(layer, &format!("self_attn.{part}_proj"));
    let name = format!("layers.{layer}.{part}.projection");
    let projected = linear(builder, &name, states, &weight, shape)?;
    if !shared.config.attention_bias {
        return Ok(projected);
    }
    let bias = builder.weight(&format!("{}layers.{layer}.self_attn.{part}_proj.bias", shared.prefix), &[shape[0]])?;
    builder.op(&format!("{name}.biased"), "Add", &[&projected, &bias], &[])
}

/// A prefix's keys or values: one row for the whole batch.
fn past(builder: &mut GraphBuilder, config: &Qwen3Config, name: &str) -> Result<Value> {
    let (heads, width) = (Size::Fixed(config.num_key_value_heads), Size::Fixed(config.head_dim));
    builder.input(name, ElementType::Float32, &[Size::Fixed(1), heads, Size::Symbol("P"), width])
}

/// Makes the first row's first tokens an output: as many as `capture` says, none in most runs.
fn capture(builder: &mut GraphBuilder, shared: &Shared, states: &Value, name: &str) -> Result<()> {
    let slice = [states, &shared.slice_starts, &shared.capture, &shared.axis_batch_length];
    let kept = builder.op(name, "Slice", &slice, &[])?;
    let (heads, width) = (Size::Fixed(shared.config.num_key_value_heads), Size::Fixed(shared.config.head_dim));
    builder.output(&kept, ElementType::Float32, &[Size::Symbol("one"), heads, Size::Symbol("captured"), width]);
    Ok(())
}

/// `down(silu(gate(x)) * up(x))`. (B, S, H) -> (B, S, H).
fn feed_forward(builder: &mut GraphBuilder, shared: &Shared, layer: usize, states: &Value) -> Result<Value> {
    let (hidden, wide) = (shared.config.hidden_size, shared.config.intermediate_size);
    let name = |part: &str| format!("layers.{layer}.mlp.{part}");
    let tensor = |part: &str| shared.layer(layer, &format!("mlp.{part}_proj"));
    let gate = linear(builder, &name("gate"), states, &tensor("gate"), [wide, hidden])?;
    let up = linear(builder, &name("up"), states, &tensor("up"), [wide, hidden])?;
    // QuickGelu with alpha 1 is x * sigmoid(x): SiLU in one pass.
    let activated = builder.contrib(&name("silu"), "QuickGelu", &[&gate], &[AttributeProto::float("alpha", 1.0)])?;
    let product = builder.op(&name("product"), "Mul", &[&activated, &up], &[])?;
    linear(builder, &name("down"), &product, &tensor("down"), [hidden, wide])
}

/// `RMSNorm(x + residual)` and the sum itself.
fn skip_norm(
    builder: &mut GraphBuilder,
    name: &str,
    [x, residual]: [&Value; 2],
    norm: &str,
    config: &Qwen3Config,
) -> Result<(Value, Value)> {
    let gamma = builder.weight(norm, &[config.hidden_size])?;
    let normed =
        builder.contrib(name, "SkipSimplifiedLayerNormalization", &[x, residual, &gamma], &[epsilon(config)])?;
    builder.skip_output(&normed)?; // mean
    builder.skip_output(&normed)?; // inverse of the standard deviation
    let sum = builder.further_output(&normed, "sum")?;
    Ok((normed, sum))
}
