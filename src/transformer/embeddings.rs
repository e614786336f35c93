//! Token ids to the first hidden states.

use super::{Matrix, Norm};

/// Token ids to (tokens, H): `norm((word + position + type) · scale)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// Token ids that are looked up as another.
    pub replaced: Option<Replaced>,
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

/// Placeholders of images and sound: where a text spells one, it is looked up as padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Which ids; never empty.
    pub ids: Vec<i32>,
    /// The id that they are looked up as.
    pub by: i32,
}

impl Replaced {
    /// The id whose row an id takes.
    pub fn of(&self, id: i32) -> i32 {
        if self.ids.contains(&id) { self.by } else { id }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_token_moves_no_other() {
        let table = Matrix::whole("positions", [10, 4]);
        let roberta = Positions { table: table.clone(), skipped: Some(1) };
        assert_eq!(roberta.of(&[0, 5, 1, 7]).collect::<Vec<_>>(), [2, 3, 1, 4]);
        assert_eq!((roberta.reach(), Positions { table, skipped: None }.reach()), (8, 10));
    }
}
