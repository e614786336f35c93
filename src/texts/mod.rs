//! Texts to rows of token ids.

mod bounds;
mod cuts;
mod known;
pub mod tokenize;
pub mod window;
