//! Rows of token ids to batches, and pooled rows to the caller's vectors.

pub mod head;
pub mod pieces;
pub mod plan;
pub mod pool;
pub mod precision;
pub mod prefix;
pub mod prefix_store;
