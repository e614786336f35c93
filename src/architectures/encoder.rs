//! What encoders have in common: heads that each have keys of their own and see the whole row.

use crate::transformer::{Attention, BlockNorms, Linear, Norm, Reach};

/// The sizes of an encoder's attention.
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    /// H.
    pub hidden: usize,
    /// N.
    pub heads: usize,
    /// D.
    pub size: usize,
}

impl Encoder {
    /// Attention without norms of heads or rotation.
    pub fn attention(self, query: Linear, key: Linear, value: Linear, output: Linear) -> Attention {
        Attention {
            heads: self.heads,
            key_value_heads: self.heads,
            head_size: self.size,
            query,
            key,
            value,
            output,
            query_norm: None,
            key_norm: None,
            value_norm: None,
            scale: 1.0 / (self.size as f32).sqrt(),
            rotation: None,
            reach: Reach::ALL,
        }
    }

    /// The same, where queries, keys and values lie below each other in one tensor.
    pub fn packed(self, packed: &Linear, output: Linear) -> Attention {
        let third = |index: usize| packed.part(index * self.hidden..(index + 1) * self.hidden);
        self.attention(third(0), third(1), third(2), output)
    }
}

/// A norm of the sum after a block.
pub fn post_norm(norm: Norm) -> BlockNorms {
    BlockNorms { sum: Some(norm), ..Default::default() }
}

/// A norm before a block.
pub fn pre_norm(norm: Option<Norm>) -> BlockNorms {
    BlockNorms { input: norm, ..Default::default() }
}
