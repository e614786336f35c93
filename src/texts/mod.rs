//! Texts to rows of token ids.

pub mod tokenize;
pub mod window;
