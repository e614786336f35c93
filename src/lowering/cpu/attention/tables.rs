//! What all layers' attention reads beside its weights: rotations, who sees whom, relative distances, the prefix.

use crate::error::{Error, Result};
use crate::lowering::inputs::{self, UNSEEN};
use crate::lowering::onnx::builder::{GraphBuilder, Operators, Size, Value};
use crate::lowering::onnx::proto::{AttributeProto, ElementType};
use crate::transformer::{Attention, Reach, RelativeBias, Transformer};

/// Inputs of the graph and what is made of them once.
pub struct Tables {
    /// Cosines and sines of each rotation.
    rotations: Vec<[Value; 2]>,
    visibilities: Vec<Visibility>,
    /// (B, L) int32, unless causality hides the padding.
    mask: Option<Value>,
    /// (1, N, L, L).
    relative: Option<Value>,
    prefix: Option<PrefixInputs>,
}

struct Visibility {
    reach: Reach,
    group: usize,
    /// (G·L, T); nothing where every query sees every key.
    bias: Option<Value>,
}

/// What a causal graph knows of the tokens before it.
pub struct PrefixInputs {
    /// P and L; our own operator sees them.
    pub score_sizes: Option<Value>,
    /// How many of the first row's tokens to put out.
    pub capture: Value,
}

impl Tables {
    /// Declares the inputs that the description asks for.
    pub fn declare(builder: &mut GraphBuilder, network: &Transformer) -> Result<Self> {
        let float = ElementType::Float32;
        let length = Size::Symbol("L");
        let mut rotations = Vec::new();
        for (index, rotation) in network.rotations.iter().enumerate() {
            let shape = [length, Size::Fixed(rotation.inverse_frequencies.len())];
            let cos = builder.input(&inputs::cos(index), float, &shape)?;
            rotations.push([cos, builder.input(&inputs::sin(index), float, &shape)?]);
        }
        let causal = network.is_causal();
        let mut visibilities = Vec::new();
        for (index, (reach, group)) in network.visibilities().into_iter().enumerate() {
            let shape = [Size::Symbol("GL"), Size::Symbol("T")];
            let limited = (causal || reach != Reach::ALL) && !builder.operators().attend();
            let name = inputs::visibility_bias(index);
            let bias = if limited { Some(builder.input(&name, float, &shape)?) } else { None };
            visibilities.push(Visibility { reach, group, bias });
        }
        let (mut mask, mut prefix) = (None, None);
        if causal {
            let two = [Size::Fixed(2)];
            prefix = Some(PrefixInputs {
                score_sizes: match builder.operators() {
                    Operators::Usual => Some(builder.input(inputs::SCORE_SIZES, ElementType::Int64, &two)?),
                    Operators::OwnAttention | Operators::Own => None,
                },
                capture: builder.input(inputs::CAPTURE, ElementType::Int64, &two)?,
            });
        }
        if !causal || builder.operators().attend() {
            mask = Some(builder.input(inputs::ATTENTION_MASK, ElementType::Int32, &[Size::Symbol("B"), length])?);
        }
        let relative = match &network.relative_bias {
            Some(bias) => Some(relative_bias(builder, bias)?),
            None => None,
        };
        Ok(Tables { rotations, visibilities, mask, relative, prefix })
    }

    /// Whether causality hides the padding.
    pub fn is_causal(&self) -> bool {
        self.prefix.is_some()
    }

    /// The prefix's inputs, of a causal graph.
    pub fn prefix(&self) -> Option<&PrefixInputs> {
        self.prefix.as_ref()
    }

    /// How many of the first row's tokens to put out, of a causal graph.
    pub fn capture(&self) -> Option<&Value> {
        self.prefix.as_ref().map(|prefix| &prefix.capture)
    }

    /// What is added to scores by distance: for our own operator (N, 2·L - 1).
    pub fn relative(&self) -> Option<&Value> {
        self.relative.as_ref()
    }

    /// Cosines and sines of a layer.
    pub fn rotation(&self, attention: &Attention) -> Result<Option<&[Value; 2]>> {
        let Some(index) = attention.rotation else { return Ok(None) };
        let found = self.rotations.get(index);
        found.map(Some).ok_or_else(|| Error::Graph { problem: format!("no rotation {index}") })
    }

    /// (B, L) int32: 1 for a token.
    pub fn mask(&self) -> Result<&Value> {
        self.mask.as_ref().ok_or_else(|| Error::Graph { problem: "a causal graph has no mask".to_owned() })
    }

    /// What is added to the scores of a layer, the same for every row: (1, 1 or N, L, T), for operators that take each
    /// head by itself. Nothing where nothing is.
    pub fn bias_of_heads(&self, builder: &mut GraphBuilder, attention: &Attention) -> Result<Option<Value>> {
        let limit = match self.limit(attention) {
            Some(limit) => Some(unsqueezed(builder, limit, &[0, 1])?),
            None => None,
        };
        match (&self.relative, limit) {
            (Some(relative), Some(limit)) => {
                let name = format!("{}.relative", limit.name());
                let known = builder.named(&name);
                known.map_or_else(|| builder.op(&name, "Add", &[relative, &limit], &[]), Ok).map(Some)
            }
            (Some(relative), None) => Ok(Some(relative.clone())),
            (None, limit) => Ok(limit),
        }
    }

    /// What is added to the scores of a layer whose heads lie in groups, (B, K, G·L, T): of a shape that broadcasts.
    pub fn bias_of_groups(&self, builder: &mut GraphBuilder, attention: &Attention) -> Result<Value> {
        let limit = self.limit(attention).cloned();
        let mut sum = match &self.mask {
            None => limit,
            Some(mask) => {
                let unseen = padding_bias(builder, mask)?;
                match limit {
                    None => Some(unseen),
                    Some(limit) => {
                        let name = format!("{}.padded", limit.name());
                        let known = builder.named(&name);
                        Some(known.map_or_else(|| builder.op(&name, "Add", &[&unseen, &limit], &[]), Ok)?)
                    }
                }
            }
        };
        if let (Some(relative), Some(bias)) = (&self.relative, &sum) {
            let shape = builder.sizes(&[1, attention.key_value_heads as i64, -1, 0])?;
            let name = format!("{}.relative", bias.name());
            let grouped = match builder.named("relative_bias.grouped") {
                Some(known) => known,
                None => {
                    // (1, N, L, L) to (1, K, G·L, L): the last size is that of the axis in the same place.
                    builder.op("relative_bias.grouped", "Reshape", &[relative, &shape], &[])?
                }
            };
            sum = Some(builder.named(&name).map_or_else(|| builder.op(&name, "Add", &[bias, &grouped], &[]), Ok)?);
        }
        sum.ok_or_else(|| Error::Graph { problem: "grouped attention without a bias".to_owned() })
    }

    fn limit(&self, attention: &Attention) -> Option<&Value> {
        let wanted = (attention.reach, attention.group());
        self.visibilities
            .iter()
            .find(|known| (known.reach, known.group) == wanted)
            .and_then(|known| known.bias.as_ref())
    }
}

fn unsqueezed(builder: &mut GraphBuilder, x: &Value, axes: &[i64]) -> Result<Value> {
    let name = format!("{}.unsqueezed", x.name());
    if let Some(known) = builder.named(&name) {
        return Ok(known);
    }
    let axes = builder.sizes(axes)?;
    builder.op(&name, "Unsqueeze", &[x, &axes], &[])
}

/// (B, L) of ones and zeros -> (B, 1, 1, L): 0 for a token, [`UNSEEN`] for padding.
fn padding_bias(builder: &mut GraphBuilder, mask: &Value) -> Result<Value> {
    if let Some(known) = builder.named("padding_bias") {
        return Ok(known);
    }
    let to_float = AttributeProto::int("to", ElementType::Float32 as i64);
    let ones = builder.op("padding_bias.mask", "Cast", &[mask], &[to_float])?;
    let one = builder.filled("padding_bias.one", 1, 1.0)?;
    let missing = builder.op("padding_bias.missing", "Sub", &[&one, &ones], &[])?;
    let unseen = builder.filled("padding_bias.unseen", 1, UNSEEN)?;
    let flat = builder.op("padding_bias.flat", "Mul", &[&missing, &unseen], &[])?;
    let axes = builder.sizes(&[1, 2])?;
    builder.op("padding_bias", "Unsqueeze", &[&flat, &axes], &[])
}

/// The table's rows at each pair's bucket: (1, N, L, L).
fn relative_bias(builder: &mut GraphBuilder, bias: &RelativeBias) -> Result<Value> {
    let length = Size::Symbol("L");
    let table = builder.matrix(&bias.table)?;
    if builder.operators().attend() {
        let buckets = builder.input(inputs::RELATIVE_BUCKETS, ElementType::Int32, &[Size::Symbol("2L-1")])?;
        let found = builder.op("relative_bias.distances", "Gather", &[&table, &buckets], &[])?;
        return builder.op("relative_bias", "Transpose", &[&found], &[AttributeProto::ints("perm", &[1, 0])]);
    }
    let buckets = builder.input(inputs::RELATIVE_BUCKETS, ElementType::Int32, &[length, length])?;
    let found = builder.op("relative_bias.pairs", "Gather", &[&table, &buckets], &[])?;
    let turned =
        builder.op("relative_bias.heads", "Transpose", &[&found], &[AttributeProto::ints("perm", &[2, 0, 1])])?;
    let axes = builder.sizes(&[0])?;
    builder.op("relative_bias", "Unsqueeze", &[&turned, &axes], &[])
}
