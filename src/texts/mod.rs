//! Texts to rows of token ids.

mod bounds;
mod cuts;
pub mod tokenize;
pub mod window;
