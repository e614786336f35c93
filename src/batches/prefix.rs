//! Token rows in, the prefix that they share out; and a small store of prefixes' keys and values, so that a prompt is
//! computed once. Token-exact: a row shares a prefix only where its own tokens begin with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batches::plan::TokenRow;
use crate::error::Result;

/// A prefix shorter than this is not worth a run of its own.
const LEAST_TOKENS: usize = 8;
/// Without a prompt, tokens that sharing must save. A run costs a pass over all weights however few its tokens are.
const LEAST_SAVED: usize = 64;
/// Keys and values kept, in bytes, over all prefixes: about 290 tokens of Qwen3-Embedding-0.6B.
const STORE_BYTES: usize = 64 << 20;

/// A run of tokens and what each layer remembers of it.
#[derive(Debug, Default)]
pub struct Prefix {
    /// The tokens, in order.
    pub tokens: Vec<i32>,
    /// Keys and values, layer by layer: (1, N/G, P, D) each.
    pub states: Vec<Vec<f32>>,
}

impl Prefix {
    fn bytes(&self) -> usize {
        self.states.iter().map(|states| states.len() * size_of::<f32>()).sum()
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

/// The prefixes used last.
#[derive(Default)]
pub struct PrefixStore {
    /// Most recent first.
    kept: Mutex<VecDeque<Arc<Prefix>>>,
}

impl PrefixStore {
    /// The prefix of these tokens, computed where it is not kept. Two threads may both compute it; both are right.
    pub fn get(&self, tokens: &[i32], compute: impl FnOnce() -> Result<Prefix>) -> Result<Arc<Prefix>> {
        let locked = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = {
            let mut kept = locked();
            let position = kept.iter().position(|prefix| prefix.tokens == tokens);
            position.and_then(|position| kept.remove(position))
        };
        let prefix = match known {
            Some(prefix) => prefix,
            None => Arc::new(compute()?),
        };
        let mut kept = locked();
        kept.push_front(Arc::clone(&prefix));
        let mut bytes = 0;
        kept.retain(|prefix| {
            bytes += prefix.bytes();
            bytes <= STORE_BYTES
        });
        Ok(prefix)
    }
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
    fn the_store_forgets_the_oldest() {
        let store = PrefixStore::default();
        let half = |tokens: &[i32]| Prefix { tokens: tokens.to_vec(), states: vec![vec![0.0; STORE_BYTES / 8]] };
        for token in 0..3 {
            store.get(&[token], || Ok(half(&[token]))).unwrap();
        }
        let mut computed = Vec::new();
        for token in [2, 1, 0] {
            store
                .get(&[token], || {
                    computed.push(token);
                    Ok(half(&[token]))
                })
                .unwrap();
        }
        assert_eq!(computed, [0]);
    }
}
