//! Attention: its heads, what they see, what turns them.

use super::{Linear, Matrix, Norm};

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
}
