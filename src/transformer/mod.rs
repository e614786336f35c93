//! What a transformer computes, and with which tensors of its checkpoint; nothing of how. Families are values of this
//! one type: `architectures/` makes them of a config.json, `lowering/` makes graphs of them, and whoever needs to know a
//! model (prefixes, buckets, reports) asks the description, never a family's name.

mod attention;
mod embeddings;
mod norm;
mod places;

pub use attention::{Attention, Reach, RelativeBias, Rotation};
pub use embeddings::{Embeddings, Positions, Replaced};
pub use norm::{BlockNorms, Norm, NormKind};
pub use places::{Linear, Matrix, Vector};

/// The whole network, from token ids to hidden states.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformer {
    /// H.
    pub hidden_size: usize,
    /// Tokens of a row at most.
    pub max_positions: usize,
    /// Token ids to the first hidden states.
    pub embeddings: Embeddings,
    /// The rotations that layers name.
    pub rotations: Vec<Rotation>,
    /// Added to the scores of every layer.
    pub relative_bias: Option<RelativeBias>,
    /// In order; never empty.
    pub layers: Vec<Layer>,
    /// After the last layer.
    pub last_norm: Option<Norm>,
    /// After that: H -> the numbers of a vector.
    pub projection: Option<Linear>,
}

/// Attention, then feed-forward, then what some inject, each around the residual stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Self-attention.
    pub attention: Attention,
    /// The norms around it.
    pub attention_norms: BlockNorms,
    /// The feed-forward network.
    pub feed_forward: FeedForward,
    /// The norms around it.
    pub feed_forward_norms: BlockNorms,
    /// The embedded tokens once more.
    pub injection: Option<Injection>,
    /// One number that multiplies the stream at the layer's end.
    pub scale: Option<Vector>,
}

/// H -> width -> H.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedForward {
    /// `activation(gate(x)) · up(x)`; nothing: `activation(up(x))`.
    pub gate: Option<Linear>,
    /// H -> width.
    pub up: Linear,
    /// width -> H.
    pub down: Linear,
    /// What it is.
    pub activation: Activation,
}

/// What a layer's third block takes from the embedded tokens e, (tokens, H), as the first layer got them:
/// `output(activation(gate(x)) · norm(signal(e)))`, P numbers wide.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// H -> P, of the embedded tokens.
    pub signal: Linear,
    /// Of what that gives.
    pub signal_norm: Option<Norm>,
    /// H -> P, of the stream: how much of the signal passes.
    pub gate: Linear,
    /// Of the gate.
    pub activation: Activation,
    /// P -> H.
    pub output: Linear,
    /// The norms around it.
    pub norms: BlockNorms,
}

/// What gates and feed-forward networks apply to each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x), with erf.
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x·σ(x).
    Silu,
}

impl Transformer {
    /// Numbers of a token's last hidden state.
    pub fn output_size(&self) -> usize {
        self.projection.as_ref().map_or(self.hidden_size, |projection| projection.weight.outputs())
    }

    /// Whether no token sees a later one, so that a row's beginning does not depend on its end.
    pub fn is_causal(&self) -> bool {
        self.layers.iter().all(|layer| layer.attention.reach.ahead == Some(0))
    }

    /// The different tables of visibility that layers need: a reach, and the query heads of a key/value head.
    pub fn visibilities(&self) -> Vec<(Reach, usize)> {
        let mut found = Vec::new();
        for layer in &self.layers {
            let wanted = (layer.attention.reach, layer.attention.group());
            if !found.contains(&wanted) {
                found.push(wanted);
            }
        }
        found
    }

    /// The most query heads of a key/value head.
    pub fn largest_group(&self) -> usize {
        self.layers.iter().map(|layer| layer.attention.group()).max().unwrap_or(1)
    }

    /// Numbers that the layers remember of a token: its keys and values.
    pub fn remembered_per_token(&self) -> usize {
        let of = |layer: &Layer| 2 * layer.attention.key_value_heads * layer.attention.head_size;
        self.layers.iter().map(of).sum()
    }
}
