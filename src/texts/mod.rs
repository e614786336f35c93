//! Texts to rows of token ids.

mod bounds;
pub mod column;
mod cuts;
mod file;
mod known;
pub mod tokenize;
pub mod window;
