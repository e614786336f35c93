//! What a transformer computes, and with which tensors of its checkpoint; nothing of how. Families are values of this
//! one type: `architectures/` makes them of a config.json, `lowering/` makes graphs of them, and whoever needs to know a
//! model (prefixes, buckets, reports) asks the description, never a family's name.

mod places;

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

/// Token ids to (tokens, H): `norm((word + position + type) · scale)`, projected.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// One row for each token id.
    pub words: Matrix,
    /// Learned positions.
    pub positions: Option<Positions>,
    /// The row of token type 0, of a table.
    pub token_type: Option<Matrix>,
    /// Multiplies the sum.
    pub scale: f32,
    /// Of the sum.
    pub norm: Option<Norm>,
}

/// A table of positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    /// One row for each position.
    pub table: Matrix,
    /// A token that is no token of the text even where the text spells it, as RoBERTa's padding: it takes the row of its
    /// own id and moves no other, and counting starts after that row. Nothing: the first token takes the first row.
    pub skipped: Option<i32>,
}

impl Positions {
    /// Tokens of a row at most.
    pub fn reach(&self) -> usize {
        self.table.outputs().saturating_sub(self.first())
    }

    /// The first token's row.
    fn first(&self) -> usize {
        self.skipped.map_or(0, |id| usize::try_from(id).unwrap_or(0) + 1)
    }

    /// The rows of a text's tokens.
    pub fn of<'i>(&self, ids: &'i [i32]) -> impl Iterator<Item = usize> + 'i {
        let (mut next, skipped) = (self.first(), self.skipped);
        ids.iter().map(move |id| {
            if Some(*id) == skipped {
                return usize::try_from(*id).unwrap_or(0);
            }
            next += 1;
            next - 1
        })
    }
}

/// A norm over the last axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// What is subtracted and divided by.
    pub kind: NormKind,
    /// Multiplies; nothing: 1.
    pub weight: Option<Vector>,
    /// Added to the weight.
    pub weight_offset: f32,
    /// Added.
    pub bias: Option<Vector>,
    /// ε.
    pub epsilon: f32,
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// LayerNorm: mean and standard deviation.
    Layer,
    /// RMSNorm: the root of the mean square.
    RootMeanSquare,
}

/// Attention, then feed-forward, each around the residual stream.
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
}

/// `sum(x + output(block(input(x))))`, each norm where there is one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlockNorms {
    /// Before the block.
    pub input: Option<Norm>,
    /// Of what the block puts out.
    pub output: Option<Norm>,
    /// Of the sum with the residual.
    pub sum: Option<Norm>,
}

/// Self-attention with N query heads, which share K key/value heads in equal groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// N.
    pub heads: usize,
    /// K, a divisor of N.
    pub key_value_heads: usize,
    /// D.
    pub head_size: usize,
    /// H -> N·D.
    pub query: Linear,
    /// H -> K·D.
    pub key: Linear,
    /// H -> K·D.
    pub value: Linear,
    /// N·D -> H.
    pub output: Linear,
    /// Over each head of the queries, before rotation.
    pub query_norm: Option<Norm>,
    /// Over each head of the keys, before rotation.
    pub key_norm: Option<Norm>,
    /// Over each head of the values.
    pub value_norm: Option<Norm>,
    /// Multiplies the scores.
    pub scale: f32,
    /// Index into [`Transformer::rotations`].
    pub rotation: Option<usize>,
    /// Which keys a query sees.
    pub reach: Reach,
}

impl Attention {
    /// Query heads of a key/value head, G.
    pub fn group(&self) -> usize {
        self.heads / self.key_value_heads
    }
}

/// The keys that the query at position i sees: from i - back to i + ahead; nothing: to the row's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Tokens before the query.
    pub back: Option<usize>,
    /// Tokens after it; 0: causal.
    pub ahead: Option<usize>,
}

impl Reach {
    /// Every token of the row.
    pub const ALL: Reach = Reach { back: None, ahead: None };

    /// Every token before the query, and its own; of `window` tokens in all where that is said.
    pub fn causal(window: Option<usize>) -> Self {
        Reach { back: window.map(|tokens| tokens.saturating_sub(1)), ahead: Some(0) }
    }

    /// As many tokens before the query as after it.
    pub fn around(radius: usize) -> Self {
        Reach { back: Some(radius), ahead: Some(radius) }
    }

    /// Whether the query sees the key.
    pub fn sees(self, query: usize, key: usize) -> bool {
        self.back.is_none_or(|back| query <= key.saturating_add(back))
            && self.ahead.is_none_or(|ahead| key <= query.saturating_add(ahead))
    }
}

/// A rotary embedding: the pair (i, i + D/2) of a head turns by position times its frequency.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotation {
    /// One for each of the D/2 pairs, in float32 as transformers has them, scaling included.
    pub inverse_frequencies: Vec<f32>,
    /// Multiplies cosines and sines.
    pub attention_factor: f32,
}

/// A number for each head and bucket of distances, added to the scores: T5's scheme over both directions, with the numbers
/// that MPNet has fixed: 32 buckets, two for each doubling of a distance beyond 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelativeBias {
    /// ([`RelativeBias::BUCKETS`], N).
    pub table: Matrix,
}

impl RelativeBias {
    /// Rows of the table.
    pub const BUCKETS: usize = 32;

    /// The row of the table for a query that looks at a key: the second half is for keys after it.
    pub fn bucket(query: usize, key: usize) -> usize {
        let side = Self::BUCKETS / 2;
        let exact = side / 2;
        let (start, distance) = if key > query { (side, key - query) } else { (0, query - key) };
        if distance < exact {
            return start + distance;
        }
        // Twice the logarithm to base 2, in integers: where a bucket begins, torch's float32 rounds as this does.
        let doublings = (distance.saturating_mul(distance) / (exact * exact)).ilog2() as usize;
        start + (exact + doublings).min(side - 1)
    }
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

/// The feed-forward activation.
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

impl Norm {
    /// A LayerNorm with weight and bias of these names.
    pub fn layer(weight: impl Into<String>, bias: Option<String>, size: usize, epsilon: f32) -> Self {
        Norm {
            kind: NormKind::Layer,
            weight: Some(Vector::whole(weight, size)),
            weight_offset: 0.0,
            bias: bias.map(|bias| Vector::whole(bias, size)),
            epsilon,
        }
    }

    /// Whether it does nothing but divide and scale, so that what follows may do the scaling.
    pub fn only_scales(&self) -> bool {
        match self.kind {
            NormKind::RootMeanSquare => self.bias.is_none(),
            NormKind::Layer => false,
        }
    }

    /// An RMSNorm with a weight of this name.
    pub fn root_mean_square(weight: impl Into<String>, size: usize, epsilon: f32) -> Self {
        Norm { kind: NormKind::RootMeanSquare, ..Norm::layer(weight, None, size, epsilon) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_begin_where_torch_has_them() {
        let begins = [(8, 8), (12, 9), (16, 10), (23, 11), (32, 12), (46, 13), (64, 14), (91, 15), (500, 15)];
        for (distance, bucket) in begins {
            assert_eq!(RelativeBias::bucket(distance, 0), bucket, "{distance}");
            assert_eq!(RelativeBias::bucket(0, distance), 16 + bucket, "{distance}");
            let before = RelativeBias::bucket(distance - 1, 0);
            assert!(before == bucket || before == bucket - 1, "{distance}");
        }
        assert_eq!(RelativeBias::bucket(3, 3), 0);
    }

    #[test]
    fn a_reach_is_counted_from_the_query() {
        let seen = |reach: Reach| (0..6).filter(|key| reach.sees(3, *key)).collect::<Vec<_>>();
        assert_eq!(seen(Reach::ALL), [0, 1, 2, 3, 4, 5]);
        assert_eq!(seen(Reach::causal(None)), [0, 1, 2, 3]);
        assert_eq!(seen(Reach::causal(Some(2))), [2, 3]);
        assert_eq!(seen(Reach::around(1)), [2, 3, 4]);
    }

    #[test]
    fn a_skipped_token_moves_no_other() {
        let table = Matrix::whole("positions", [10, 4]);
        let roberta = Positions { table: table.clone(), skipped: Some(1) };
        assert_eq!(roberta.of(&[0, 5, 1, 7]).collect::<Vec<_>>(), [2, 3, 1, 4]);
        assert_eq!((roberta.reach(), Positions { table, skipped: None }.reach()), (8, 10));
    }
}
