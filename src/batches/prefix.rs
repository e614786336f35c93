//! Token rows in, the prefix that they share out, and the keys and values that stand for it. Token-exact: a row shares a
//! prefix only where its own tokens begin with it. Refused: keys and values that find no memory.

use crate::batches::plan::TokenRow;
use crate::error::{Error, Result};

/// A prefix shorter than this is not worth a run of its own.
const LEAST_TOKENS: usize = 8;
/// Without a prompt, tokens that sharing must save. A run costs a pass over all weights however few its tokens are.
const LEAST_SAVED: usize = 64;
/// Keys and values kept, in bytes, over all prefixes: about 290 tokens of Qwen3-Embedding-0.6B.
pub const STORE_BYTES: usize = 64 << 20;

/// A run of tokens and what each layer remembers of it.
#[derive(Debug, Default)]
pub struct Prefix {
    /// The tokens, in order.
    pub tokens: Vec<i32>,
    /// Keys and values, layer by layer: (1, N/G, P, D) each.
    pub states: Vec<Vec<f32>>,
}

impl Prefix {
    /// A copy with room for `more` tokens, in states of so many numbers a token each: taken before the first of them
    /// is computed, and once, for a long document's are gigabytes.
    pub fn with_room(&self, more: usize, widths: impl Iterator<Item = usize>) -> Result<Self> {
        let total = self.tokens.len() + more;
        let mut copy = Prefix { tokens: self.tokens.clone(), states: Vec::new() };
        for (list, width) in widths.enumerate() {
            let mut states = Vec::new();
            states.try_reserve_exact(total.saturating_mul(width)).map_err(|source| Error::Memory {
                purpose: format!(
                    "for the keys and values of {total} tokens, {} bytes of a layer's keys alone; a smaller max_length takes \
                     less",
                    total.saturating_mul(width * size_of::<f32>())
                ),
                source: source.into(),
            })?;
            states.extend_from_slice(self.states.get(list).map_or(&[][..], Vec::as_slice));
            copy.states.push(states);
        }
        Ok(copy)
    }

    /// Adds tokens behind the others, within the room that was made. `states` are theirs, each of so many heads.
    pub fn append(&mut self, tokens: &[i32], states: &[Vec<f32>], heads: impl Iterator<Item = usize>) {
        for ((kept, new), heads) in self.states.iter_mut().zip(states).zip(heads) {
            append_heads(kept, new, heads);
        }
        self.tokens.extend_from_slice(tokens);
    }

    /// Bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        self.states.iter().map(|states| states.len() * size_of::<f32>()).sum()
    }
}

/// (heads, P, D) grows to (heads, P + S, D) by (heads, S, D), in its own memory: the last head moves first, so that none
/// is overwritten before it has moved.
fn append_heads(kept: &mut Vec<f32>, new: &[f32], heads: usize) {
    let (old_share, new_share) = (kept.len() / heads, new.len() / heads);
    let share = old_share + new_share;
    kept.resize(heads * share, 0.0);
    for head in (0..heads).rev() {
        kept.copy_within(head * old_share..(head + 1) * old_share, head * share);
        kept[head * share + old_share..][..new_share].copy_from_slice(&new[head * new_share..][..new_share]);
    }
}

/// Rows that are run together after the same prefix.
#[derive(Debug, PartialEq, Eq)]
pub struct Shared {
    /// Tokens of the prefix.
    pub length: usize,
    /// Indices of the rows that begin with it.
    pub rows: Vec<usize>,
}

/// The prefix worth sharing: of the prompt's tokens, as far as rows begin with them (a tokenizer may join the prompt's
/// last characters with the text's first); without a prompt, of the first row's. At least one token is left to every row. `bytes_per_token` bounds the length by what the store holds.
pub fn find(rows: &[TokenRow], prompt: &[i32], bytes_per_token: usize) -> Option<Shared> {
    let model = if prompt.is_empty() { rows.first()?.ids.as_slice() } else { prompt };
    let longest = STORE_BYTES / bytes_per_token.max(1);
    let common: Vec<usize> = rows
        .iter()
        .map(|row| {
            let same = row.ids.iter().zip(model).take_while(|(own, other)| own == other).count();
            same.min(row.ids.len().saturating_sub(1)).min(longest)
        })
        .collect();
    // Of all lengths that some row has in common with the model, the one that saves the most tokens in sum.
    let mut lengths: Vec<usize> = common.iter().copied().filter(|length| *length >= LEAST_TOKENS).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let (_, length) = lengths.iter().enumerate().map(|(longer, &length)| (length * (longer + 1), length)).max()?;
    let members: Vec<usize> = (0..rows.len()).filter(|row| common[*row] >= length).collect();
    let saved = (members.len() - 1) * length;
    let worth = !prompt.is_empty() || saved >= LEAST_SAVED;
    worth.then_some(Shared { length, rows: members })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(prefix: usize, own: &[i32]) -> TokenRow {
        let ids: Vec<i32> = (0..prefix as i32).chain(own.iter().copied()).collect();
        TokenRow { full_length: ids.len(), ids }
    }

    #[test]
    fn a_prompt_is_shared_as_far_as_rows_begin_with_it() {
        let prompt: Vec<i32> = (0..20).chain([99]).collect();
        let rows = [row(20, &[50, 51]), row(19, &[60]), row(3, &[70; 30])];
        assert_eq!(find(&rows, &prompt, 1), Some(Shared { length: 19, rows: vec![0, 1] }));
        assert_eq!(find(&rows[..1], &prompt, 1), Some(Shared { length: 20, rows: vec![0] }));
        assert_eq!(find(&rows[2..], &prompt, 1), None);
        let one_that_shares_little = [row(20, &[1]), row(20, &[2]), row(9, &[70; 30])];
        assert_eq!(find(&one_that_shares_little, &prompt, 1).unwrap().length, 20);
    }

    #[test]
    fn every_row_keeps_a_token_of_its_own() {
        let rows = vec![row(20, &[]); 9];
        assert_eq!(find(&rows, &[], 1).unwrap().length, 19);
    }

    #[test]
    fn without_a_prompt_sharing_must_pay() {
        let many: Vec<TokenRow> = (0..9).map(|own| row(10, &[100 + own])).collect();
        assert_eq!(find(&many, &[], 1).unwrap().length, 10);
        assert_eq!(find(&many[..2], &[], 1), None, "10 tokens saved do not pay for a run");
        assert_eq!(find(&many, &[], STORE_BYTES / 9).unwrap().length, 9, "no more than the store holds");
        assert_eq!(find(&[], &[], 1), None);
    }

    #[test]
    fn states_grow_head_by_head_in_their_own_memory() {
        let first = Prefix::default().with_room(5, [2; 2].into_iter()).unwrap();
        let memory: Vec<*const f32> = first.states.iter().map(|states| states.as_ptr()).collect();
        let mut grown = first;
        // Two heads of width 1; token t of head h is 10·h + t, and values are negative keys.
        for tokens in [0..2, 2..3, 3..5] {
            let keys: Vec<f32> =
                (0..2).flat_map(|head| tokens.clone().map(move |at| (10 * head + at) as f32)).collect();
            let values = keys.iter().map(|key| -key).collect();
            grown.append(&tokens.collect::<Vec<i32>>(), &[keys, values], [2; 2].into_iter());
        }
        let whole = [0.0, 1.0, 2.0, 3.0, 4.0, 10.0, 11.0, 12.0, 13.0, 14.0];
        assert_eq!((&grown.tokens[..], &grown.states[0][..]), (&[0, 1, 2, 3, 4][..], &whole[..]));
        assert_eq!(grown.states[1], whole.map(|key| -key));
        assert_eq!(grown.states.iter().map(|states| states.as_ptr()).collect::<Vec<_>>(), memory);
        let copy = grown.with_room(3, [2; 2].into_iter()).unwrap();
        assert_eq!((&copy.tokens, &copy.states), (&grown.tokens, &grown.states));
        assert!(copy.states.iter().all(|states| states.capacity() >= 16));
    }

    #[test]
    fn states_that_find_no_memory_are_an_error() {
        let message = Prefix::default().with_room(usize::MAX / 64, [2; 2].into_iter()).unwrap_err().to_string();
        assert!(message.contains("not enough memory for the keys and values of"), "{message}");
    }
}

#[cfg(test)]
mod properties {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Rows that begin with some of the same tokens, so that there is something to share.
    fn rows() -> impl Strategy<Value = Vec<TokenRow>> {
        let row = (0_usize..40, vec(0..3_i32, 0..6)).prop_map(|(common, own)| {
            let ids: Vec<i32> = (100..100 + common as i32).chain(own).collect();
            TokenRow { full_length: ids.len(), ids }
        });
        vec(row, 0..12)
    }

    /// Rows that share `length` tokens with the model and keep one of their own.
    fn sharing(rows: &[TokenRow], model: &[i32], length: usize) -> Vec<usize> {
        let shares = |row: &TokenRow| row.ids.len() > length && row.ids.starts_with(&model[..length]);
        (0..rows.len()).filter(|index| shares(&rows[*index])).collect()
    }

    proptest! {
        #[test]
        fn the_prefix_that_saves_most_is_found(rows in rows(), prompt_tokens in 0_usize..40, kept in 0_usize..64) {
            let prompt: Vec<i32> = (100..100 + prompt_tokens as i32).collect();
            let model = if prompt.is_empty() { rows.first().map_or(&[][..], |row| row.ids.as_slice()) } else { &prompt };
            // `kept` tokens fit into the store; 0 stands for tokens that take no room.
            let found = find(&rows, &prompt, STORE_BYTES.checked_div(kept).unwrap_or(0));
            let bytes_per_token = STORE_BYTES.checked_div(kept);
            let most = bytes_per_token.map_or(model.len(), |bytes| model.len().min(STORE_BYTES / bytes));
            let lengths = (LEAST_TOKENS..=most).map(|length| (length * sharing(&rows, model, length).len(), length));
            let best = lengths.max().filter(|(shared, length)| {
                *shared > 0 && (!prompt.is_empty() || shared - length >= LEAST_SAVED)
            });
            let expected = best.map(|(_, length)| Shared { length, rows: sharing(&rows, model, length) });
            prop_assert_eq!(found, expected);
        }
    }
}
