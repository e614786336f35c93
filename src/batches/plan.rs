//! Lengths in, a plan of batches out; then the rows of one batch as padded arrays. Padding is on the right.

/// Padded tokens of a batch at most, unless one row alone is longer. MiniLM on two threads takes the same time per token
/// from 256 to 2,048 tokens a run (within 5 %, `benches/choices.py`); what lies above this would be memory for nothing.
pub const TOKEN_BUDGET: usize = 1024;

/// What a run costs beside its tokens, in tokens, for each thread: with two threads, 32 tokens take 29 % longer each than
/// 512 do, which is 9 tokens a run (`benches/choices.py`). More threads shorten a token but not that share; how much was
/// not measured beyond two.
const RUN_TOKENS_PER_THREAD: usize = 5;

/// One text as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Token ids, special tokens included.
    pub ids: Vec<i32>,
    /// Tokens before the cut.
    pub full_length: usize,
}

/// Rows that are run together, as indices into the lengths planned, longest first.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// Indices of the rows.
    pub rows: Vec<usize>,
    /// L: tokens of the longest row, at least 1.
    pub length: usize,
}

/// How batches may be cut.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows × length at most, unless one row alone is longer.
    pub token_budget: usize,
    /// Rows at most.
    pub max_rows: Option<usize>,
    /// Whether rows of different lengths stay apart, so that nothing is padded.
    pub equal_lengths: bool,
    /// Threads that share a run.
    pub threads: usize,
}

/// Groups rows of similar length, longest first, so that padding and the number of runs together cost least.
pub fn plan(lengths: &[usize], limits: Limits) -> Vec<Batch> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row])); // stable: equal lengths keep the caller's order
    let length_at = |position: usize| lengths[order[position]].max(1);
    let run = RUN_TOKENS_PER_THREAD * limits.threads;
    // From the shortest row up: what the rows from a position on cost, and how many of them the first batch takes.
    let mut best: Vec<(usize, usize)> = vec![(0, 0); order.len() + 1];
    let mut end = order.len(); // of the rows that one may run with
    for position in (0..order.len()).rev() {
        if limits.equal_lengths
            && order.get(position + 1).is_some_and(|&next| lengths[next] != lengths[order[position]])
        {
            end = position + 1;
        }
        let length = length_at(position);
        let fitting = (limits.token_budget / length).max(1).min(limits.max_rows.unwrap_or(usize::MAX));
        let choices = 1..=fitting.min(end - position);
        let cost = |rows: usize| rows.saturating_mul(length).saturating_add(run + best[position + rows].0);
        best[position] = choices.map(|rows| (cost(rows), rows)).min().unwrap_or_default();
    }
    let mut batches = Vec::new();
    let mut position = 0;
    while position < order.len() {
        let end = position + best[position].1.max(1);
        batches.push(Batch { rows: order[position..end].to_vec(), length: length_at(position) });
        position = end;
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
    /// Whether the memory that the run's intermediate values took goes back to the system.
    pub frees_memory: bool,
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
            frees_memory: false,
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
            frees_memory: false,
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

    fn limits(token_budget: usize, max_rows: Option<usize>) -> Limits {
        Limits { token_budget, max_rows, equal_lengths: false, threads: 2 }
    }

    #[test]
    fn padding_is_weighed_against_runs() {
        let rows = |lengths: &[usize]| -> Vec<usize> {
            plan(lengths, limits(1024, None)).iter().map(|batch| batch.rows.len()).collect()
        };
        assert_eq!(rows(&[20, 18]), [2], "two tokens of padding cost less than a run");
        assert_eq!(rows(&[40, 20]), [1, 1], "twenty cost more");
        assert_eq!(
            rows(&[&[30; 8][..], &[28; 8]].concat()),
            [8, 8],
            "one length at a time where there are rows enough"
        );
    }

    #[test]
    fn every_row_once_within_the_budget() {
        let lengths: Vec<usize> = (0..500).map(|row| (row * 7919) % 257).collect();
        let batches = plan(&lengths, limits(1024, None));
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
        assert_eq!(plan(&[5, 3000], limits(1024, None))[0], Batch { rows: vec![1], length: 3000 });
        assert_eq!(
            plan(&[4; 10], limits(1024, Some(3))).iter().map(|batch| batch.rows.len()).collect::<Vec<_>>(),
            [1, 3, 3, 3]
        );
        assert_eq!(plan(&[], limits(1024, None)), []);
        assert_eq!(plan(&[0, 0], limits(1024, None)), [Batch { rows: vec![0, 1], length: 1 }]);
    }

    #[test]
    fn equal_lengths_stay_together_and_others_apart() {
        let lengths = [20, 18, 20, 0, 1, 18, 20];
        let planned = plan(&lengths, Limits { equal_lengths: true, ..limits(40, None) });
        let rows: Vec<&[usize]> = planned.iter().map(|batch| batch.rows.as_slice()).collect();
        let expected: [&[usize]; 5] = [&[0], &[2, 6], &[1, 5], &[4], &[3]];
        assert_eq!(rows, expected);
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

#[cfg(test)]
mod properties {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn limits() -> impl Strategy<Value = Limits> {
        let max_rows = prop_oneof![Just(None), (1_usize..6).prop_map(Some)];
        (1_usize..2000, max_rows, any::<bool>(), 1_usize..9).prop_map(
            |(token_budget, max_rows, equal_lengths, threads)| Limits {
                token_budget,
                max_rows,
                equal_lengths,
                threads,
            },
        )
    }

    /// Whether rows of these lengths, longest first, may run together.
    fn allowed(rows: &[usize], limits: Limits) -> bool {
        let (longest, shortest) = (rows[0].max(1), rows[rows.len() - 1]);
        let fits = rows.len() == 1 || rows.len() * longest <= limits.token_budget;
        fits && limits.max_rows.is_none_or(|most| rows.len() <= most) && (!limits.equal_lengths || shortest == rows[0])
    }

    /// What the cheapest way to cut rows, longest first, costs: every way is tried.
    fn cheapest(rows: &[usize], limits: Limits) -> usize {
        let firsts = (1..=rows.len()).filter(|count| allowed(&rows[..*count], limits));
        firsts.map(|count| cost(&rows[..count], limits) + cheapest(&rows[count..], limits)).min().unwrap_or(0)
    }

    fn cost(rows: &[usize], limits: Limits) -> usize {
        rows.len() * rows[0].max(1) + RUN_TOKENS_PER_THREAD * limits.threads
    }

    proptest! {
        #[test]
        fn every_row_once_and_every_limit_kept(lengths in vec(0_usize..600, 0..80), limits in limits()) {
            let batches = plan(&lengths, limits);
            let mut rows: Vec<usize> = batches.iter().flat_map(|batch| batch.rows.iter().copied()).collect();
            let order: Vec<usize> = rows.iter().map(|&row| lengths[row]).collect();
            prop_assert!(order.is_sorted_by(|a, b| a >= b), "longest first: {:?}", order);
            for batch in &batches {
                let own: Vec<usize> = batch.rows.iter().map(|&row| lengths[row]).collect();
                prop_assert_eq!(batch.length, own[0].max(1));
                prop_assert!(allowed(&own, limits), "{:?} in {:?}", own, limits);
            }
            rows.sort_unstable();
            prop_assert!(rows.into_iter().eq(0..lengths.len()));
        }

        #[test]
        fn no_other_cut_costs_less(mut lengths in vec(0_usize..60, 0..10), limits in limits()) {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            let batches = plan(&lengths, limits);
            let planned: usize = batches.iter().map(|batch| cost(&vec![batch.length; batch.rows.len()], limits)).sum();
            prop_assert_eq!(planned, cheapest(&lengths, limits));
        }

        #[test]
        fn a_padded_batch_holds_its_rows(lengths in vec(0_usize..20, 1..12), skipped in 0_usize..6) {
            let row = |&length: &usize| TokenRow { ids: (1..=length as i32).collect(), full_length: length };
            let rows: Vec<TokenRow> = lengths.iter().map(row).collect();
            let kept: Vec<usize> = lengths.iter().map(|length| length.saturating_sub(skipped)).collect();
            for batch in plan(&kept, Limits { token_budget: 64, max_rows: None, equal_lengths: false, threads: 1 }) {
                let padded = PaddedBatch::gather(&batch, &rows, skipped);
                let lines = padded.input_ids.chunks(batch.length).zip(padded.attention_mask.chunks(batch.length));
                prop_assert_eq!(lines.len(), batch.rows.len());
                for ((&row, &length), (ids, mask)) in batch.rows.iter().zip(&padded.lengths).zip(lines) {
                    prop_assert_eq!(length, kept[row]);
                    prop_assert_eq!(&ids[..length], rows[row].ids.get(skipped..).unwrap_or_default());
                    prop_assert!(ids[length..].iter().all(|id| *id == 0));
                    prop_assert!(mask.iter().enumerate().all(|(at, &seen)| seen == i32::from(at < length)));
                }
            }
        }
    }
}
