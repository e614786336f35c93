//! Attention in the provider's operators. N query heads in groups of G that share one of K key/value heads, of size D each.
//! The scale of the scores is in the weights of the queries, or of their norm.

use super::parts::{HIDDEN, StaticGraph};
use crate::error::{Error, Result};
use crate::lowering::inputs::MASK_BIAS;
use crate::lowering::onnx::builder::Value;
use crate::lowering::onnx::folding::Part;
use crate::transformer::{Attention, Linear, Norm, Reach, RelativeBias, Rotation, Transformer};

/// What all layers read beside their weights.
pub struct Tables {
    /// (1, L, 1, D) each: cosines, and sines whose first half is negated, so that no value needs to be.
    rotations: Vec<[Value; 2]>,
    /// What is added to the scores, of a shape that broadcasts to (B, K, G·L, L).
    biases: Vec<((Reach, usize), Value)>,
}

impl Tables {
    /// Writes the constants that the description asks for.
    pub fn declare(graph: &mut StaticGraph<'_>, network: &Transformer) -> Result<Self> {
        let mut rotations = Vec::new();
        for (index, rotation) in network.rotations.iter().enumerate() {
            rotations.push(rotation_tables(graph, index, rotation)?);
        }
        let (rows, length) = (graph.rows(), graph.length());
        let mut everywhere = None;
        if !network.is_causal() {
            everywhere = Some(graph.input(MASK_BIAS, &[rows, 1, 1, length])?);
        }
        if let Some(relative) = &network.relative_bias {
            let relative = relative_bias(graph, relative)?;
            everywhere = Some(match everywhere {
                Some(mask) => graph.op("relative_bias.masked", "Add", &[&relative, &mask])?,
                None => relative,
            });
        }
        let mut biases = Vec::new();
        for (index, (reach, group)) in network.visibilities().into_iter().enumerate() {
            let bias = match (reach == Reach::ALL, &everywhere) {
                (true, Some(bias)) => bias.clone(),
                (_, bias) => {
                    let seen =
                        |query: usize| (0..length).map(move |key| if reach.sees(query, key) { 0.0 } else { HIDDEN });
                    let table: Vec<f32> = (0..length).flat_map(seen).collect();
                    let (name, shape) = (format!("visibility_bias.{index}"), [1, 1, group * length, length]);
                    let limit = graph.constant(&name, &shape, &table.repeat(group))?;
                    match bias {
                        Some(bias) => graph.op(&format!("{name}.everywhere"), "Add", &[bias, &limit])?,
                        None => limit,
                    }
                }
            };
            biases.push(((reach, group), bias));
        }
        Ok(Tables { rotations, biases })
    }

    fn bias(&self, attention: &Attention) -> Result<&Value> {
        let wanted = (attention.reach, attention.group());
        let found = self.biases.iter().find(|(known, _)| *known == wanted);
        found.map(|(_, bias)| bias).ok_or_else(|| Error::Graph { problem: "no bias for a layer".to_owned() })
    }
}

fn rotation_tables(graph: &mut StaticGraph<'_>, index: usize, rotation: &Rotation) -> Result<[Value; 2]> {
    let length = graph.length();
    let frequencies = &rotation.inverse_frequencies;
    // transformers rounds position times frequency to float32 before it takes the cosine; so does this.
    let angles = |position: usize| frequencies.iter().map(move |frequency| position as f32 * frequency);
    let factor = rotation.attention_factor;
    let cos: Vec<f32> =
        (0..length).flat_map(|at| angles(at).chain(angles(at)).map(|angle| angle.cos() * factor)).collect();
    let turned = |at: usize| angles(at).map(|x| -x.sin()).chain(angles(at).map(f32::sin)).map(|sin| sin * factor);
    let sin: Vec<f32> = (0..length).flat_map(turned).collect();
    let shape = [1, length, 1, 2 * frequencies.len()];
    Ok([graph.constant(&format!("cos.{index}"), &shape, &cos)?, graph.constant(&format!("sin.{index}"), &shape, &sin)?])
}

/// (1, N, L, L): the table's rows at each pair's bucket.
fn relative_bias(graph: &mut StaticGraph<'_>, bias: &RelativeBias) -> Result<Value> {
    let (length, heads) = (graph.length(), bias.table.inputs);
    let shape = [bias.table.outputs(), heads];
    let table = graph.folded(&bias.table.name(), &shape, vec![Part::matrix(&bias.table)])?;
    let pairs = (0..length).flat_map(|query| (0..length).map(move |key| (query, key)));
    let buckets: Vec<i64> = pairs.map(|(query, key)| RelativeBias::bucket(query, key) as i64).collect();
    let buckets = graph.indices("relative_buckets", &[length, length], &buckets)?;
    let found = graph.op("relative_bias.pairs", "Gather", &[&table, &buckets])?;
    let turned = graph.transpose("relative_bias.heads", &found, &[2, 0, 1])?;
    graph.reshape("relative_bias", &turned, &[1, heads, length, length])
}

/// Self-attention and output projection. `owed` is the norm whose weight the projections have yet to apply.
/// (B·L, H) -> (B·L, H).
pub fn attention(
    graph: &mut StaticGraph<'_>,
    tables: &Tables,
    layer: &str,
    attention: &Attention,
    states: &Value,
    owed: Option<&Norm>,
) -> Result<Value> {
    let (rows, length) = (graph.rows(), graph.length());
    let Attention { heads, key_value_heads, head_size: size, .. } = *attention;
    let rotating = heads + key_value_heads;
    let name = |part: &str| format!("{layer}.{part}");

    let projected = projections(graph, &name, attention, states, owed)?;
    let widths = [rotating * size, key_value_heads * size];
    let [queries_keys, value] = graph.split(&name("qk"), &projected, 1, widths)?;
    // Queries and keys go through their norms and the rotation together: (B, L, N + K, D).
    let mut together = graph.reshape(&name("qk.heads"), &queries_keys, &[rows, length, rotating, size])?;
    if let (Some(query_norm), Some(key_norm)) = (&attention.query_norm, &attention.key_norm) {
        let bare = graph.rms_norm(&name("qk.normed"), &together, 3, head_epsilon(query_norm, key_norm)?)?;
        let gamma = head_gamma(graph, &name("qk.gamma"), attention, [query_norm, key_norm])?;
        together = graph.op(&name("qk.scaled"), "Mul", &[&bare, &gamma])?;
    }
    if let Some(index) = attention.rotation {
        let missing = || Error::Graph { problem: format!("no rotation {index}") };
        let rotation = tables.rotations.get(index).ok_or_else(missing)?;
        together = rotate(graph, &name("qk"), &together, rotation, size)?;
    }
    let [query, key] = graph.split(&name("q"), &together, 2, [heads, key_value_heads])?;

    // (B, L, N, D) -> (B, K, G·L, D): the query heads of a group lie side by side, so keys and values serve them all.
    let mut query = graph.transpose(&name("q.swapped"), &query, &[0, 2, 1, 3])?;
    let group = attention.group();
    if group > 1 {
        query = graph.reshape(&name("q.grouped"), &query, &[rows, key_value_heads, group * length, size])?;
    }
    let key = graph.transpose(&name("k.swapped"), &key, &[0, 2, 3, 1])?;
    let mut value = graph.reshape(&name("v.split"), &value, &[rows, length, key_value_heads, size])?;
    if let Some(norm) = &attention.value_norm {
        if norm.weight.is_some() || !norm.only_scales() {
            return Err(Error::Graph { problem: format!("{}: a norm that scales or shifts", name("v")) });
        }
        value = graph.rms_norm(&name("v.normed"), &value, 3, norm.epsilon)?;
    }
    let value = graph.transpose(&name("v.swapped"), &value, &[0, 2, 1, 3])?;
    let mut context = graph.attend(&name("heads"), [&query, &key, &value], tables.bias(attention)?)?;
    if group > 1 {
        context = graph.reshape(&name("context.ungrouped"), &context, &[rows, heads, length, size])?;
    }
    let swapped = graph.transpose(&name("context.swapped"), &context, &[0, 2, 1, 3])?;
    let joined = graph.reshape(&name("context.joined"), &swapped, &[rows * length, heads * size])?;
    graph.linear(&name("output"), &joined, &attention.output, None)
}

/// Queries, keys and values in one product: (B·L, H) -> (B·L, (N + 2·K)·D).
fn projections(
    graph: &mut StaticGraph<'_>,
    name: &impl Fn(&str) -> String,
    attention: &Attention,
    states: &Value,
    owed: Option<&Norm>,
) -> Result<Value> {
    let parts = [&attention.query, &attention.key, &attention.value];
    let scale = if attention.query_norm.is_some() { 1.0 } else { attention.scale };
    let scale_of = |index: usize| if index == 0 { scale } else { 1.0 };
    let column_scale = owed.and_then(|norm| norm.weight.clone().map(|weight| (weight, norm.weight_offset)));
    let outputs: usize = parts.iter().map(|part| part.weight.outputs()).sum();
    let folded = |(index, part): (usize, &&Linear)| Part {
        scale: scale_of(index),
        column_scale: column_scale.clone(),
        ..Part::matrix(&part.weight)
    };
    let weights = parts.iter().enumerate().map(folded).collect();
    let weight = graph.folded(&name("qkv.weight"), &[outputs, attention.query.weight.inputs], weights)?;
    let biases: Vec<Part> = parts
        .iter()
        .enumerate()
        .filter_map(|(index, part)| Some(Part { scale: scale_of(index), ..Part::vector(part.bias.as_ref()?) }))
        .collect();
    let bias = match biases.len() {
        0 => None,
        3 => Some(graph.folded(&name("qkv.bias"), &[outputs], biases)?),
        _ => return Err(Error::Graph { problem: format!("{}: some projections have a bias", name("qkv")) }),
    };
    graph.gemm(&name("qkv"), states, &weight, bias.as_ref())
}

/// ε of the norms of queries and keys, which are RMSNorms alike.
fn head_epsilon(query: &Norm, key: &Norm) -> Result<f32> {
    if query.only_scales() && key.only_scales() && query.epsilon == key.epsilon {
        return Ok(query.epsilon);
    }
    Err(Error::Graph { problem: "norms of heads that differ".to_owned() })
}

/// (1, 1, N + K, D): what multiplies each normed head.
fn head_gamma(graph: &mut StaticGraph<'_>, name: &str, attention: &Attention, norms: [&Norm; 2]) -> Result<Value> {
    let counts = [(attention.heads, attention.scale), (attention.key_value_heads, 1.0)];
    let mut parts = Vec::new();
    for (norm, (copies, scale)) in norms.into_iter().zip(counts) {
        let Some(weight) = &norm.weight else {
            return Err(Error::Graph { problem: format!("{name}: a norm without a weight") });
        };
        parts.push(Part { scale, copies, offset: norm.weight_offset, ..Part::vector(weight) });
    }
    let rotating = attention.heads + attention.key_value_heads;
    graph.folded(name, &[1, 1, rotating, attention.head_size], parts)
}

/// The rotary embedding: x · cos + [x₂, x₁] · [-sin, sin]. (B, L, heads, D) -> the same.
fn rotate(graph: &mut StaticGraph<'_>, name: &str, x: &Value, [cos, sin]: &[Value; 2], size: usize) -> Result<Value> {
    let half = size / 2;
    let [first, second] = graph.split(&format!("{name}.halves"), x, 3, [half, half])?;
    let turned = graph.concat(&format!("{name}.turned"), &[&second, &first], 3)?;
    let across = graph.op(&format!("{name}.across"), "Mul", &[&turned, sin])?;
    let along = graph.op(&format!("{name}.along"), "Mul", &[x, cos])?;
    graph.op(&format!("{name}.rotated"), "Add", &[&along, &across])
}
