//! Lengths in, a plan of batches out; then the rows of one batch as padded arrays. Padding is on the right.

use crate::tokenize::TokenRow;

/// Padded tokens of a batch at most, unless one row alone is longer: enough rows to keep the matrix products busy, few
/// enough for the activations to stay in cache. Not tuned yet: no benchmark here has compared other budgets.
pub const TOKEN_BUDGET: usize = 1024;

/// Rows that are run together, as indices into the lengths planned, longest first.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// Indices of the rows.
    pub rows: Vec<usize>,
    /// L: tokens of the longest row, at least 1.
    pub length: usize,
}

/// Groups rows of similar length, longest first. `max_rows` caps the rows of a batch; the budget caps rows × length.
pub fn plan(lengths: &[usize], token_budget: usize, max_rows: Option<usize>) -> Vec<Batch> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row])); // stable: equal lengths keep the caller's order
    let mut batches = Vec::new();
    let mut rest = order.as_slice();
    while let Some(&longest) = rest.first() {
        let length = lengths[longest].max(1);
        let fitting = (token_budget / length).max(1).min(max_rows.unwrap_or(usize::MAX)).min(rest.len());
        let (rows, later) = rest.split_at(fitting);
        batches.push(Batch { rows: rows.to_vec(), length });
        rest = later;
    }
    batches
}

/// A batch as the graph takes it.
#[derive(Debug, PartialEq, Eq)]
pub struct PaddedBatch {
    /// B.
    pub rows: usize,
    /// L.
    pub length: usize,
    /// Tokens of each row.
    pub lengths: Vec<usize>,
    /// (B, L): ids, 0 in the padding.
    pub input_ids: Vec<i32>,
    /// (B, L): 1 for a token, 0 for padding.
    pub attention_mask: Vec<i32>,
}

impl PaddedBatch {
    /// One row, not padded.
    pub fn single(ids: &[i32]) -> Self {
        PaddedBatch {
            rows: 1,
            length: ids.len(),
            lengths: vec![ids.len()],
            input_ids: ids.to_vec(),
            attention_mask: vec![1; ids.len()],
        }
    }

    /// Lays the rows of a batch side by side, without the first `skipped` tokens of each.
    pub fn gather(batch: &Batch, rows: &[TokenRow], skipped: usize) -> Self {
        let size = batch.rows.len() * batch.length;
        let mut padded = PaddedBatch {
            rows: batch.rows.len(),
            length: batch.length,
            lengths: Vec::with_capacity(batch.rows.len()),
            input_ids: Vec::with_capacity(size),
            attention_mask: Vec::with_capacity(size),
        };
        for (position, &row) in batch.rows.iter().enumerate() {
            let ids = rows[row].ids.get(skipped..).unwrap_or_default();
            let end = (position + 1) * batch.length;
            padded.lengths.push(ids.len());
            padded.input_ids.extend_from_slice(ids);
            padded.attention_mask.resize(padded.input_ids.len(), 1);
            padded.input_ids.resize(end, 0);
            padded.attention_mask.resize(end, 0);
        }
        padded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_once_within_the_budget() {
        let lengths: Vec<usize> = (0..500).map(|row| (row * 7919) % 257).collect();
        let batches = plan(&lengths, 1024, None);
        let mut seen = vec![0; lengths.len()];
        for batch in &batches {
            assert!(batch.rows.len() * batch.length <= 1024 || batch.rows.len() == 1);
            assert_eq!(batch.length, batch.rows.iter().map(|&row| lengths[row]).max().unwrap().max(1));
            batch.rows.iter().for_each(|&row| seen[row] += 1);
        }
        assert!(seen.iter().all(|&count| count == 1));
        assert!(batches.windows(2).all(|pair| pair[0].length >= pair[1].length));
    }

    #[test]
    fn a_row_beyond_the_budget_runs_alone_and_rows_are_capped() {
        assert_eq!(plan(&[5, 3000], 1024, None)[0], Batch { rows: vec![1], length: 3000 });
        assert_eq!(
            plan(&[4; 10], 1024, Some(3)).iter().map(|batch| batch.rows.len()).collect::<Vec<_>>(),
            [3, 3, 3, 1]
        );
        assert_eq!(plan(&[], 1024, None), []);
        assert_eq!(plan(&[0, 0], 1024, None), [Batch { rows: vec![0, 1], length: 1 }]);
    }

    #[test]
    fn rows_are_padded_on_the_right() {
        let row = |ids: &[i32]| TokenRow { ids: ids.to_vec(), full_length: ids.len() };
        let rows = [row(&[7, 8]), row(&[]), row(&[1, 2, 3])];
        let padded = PaddedBatch::gather(&Batch { rows: vec![2, 0, 1], length: 3 }, &rows, 0);
        assert_eq!(padded.input_ids, [1, 2, 3, 7, 8, 0, 0, 0, 0]);
        assert_eq!(padded.attention_mask, [1, 1, 1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(padded.lengths, [3, 2, 0]);
        let rest = PaddedBatch::gather(&Batch { rows: vec![2, 0, 1], length: 2 }, &rows, 1);
        assert_eq!((rest.input_ids, rest.lengths), (vec![2, 3, 8, 0, 0, 0], vec![2, 1, 0]));
    }
}
