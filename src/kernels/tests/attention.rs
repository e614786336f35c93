//! Attention against float64, and what its results must not depend on.

use super::numbers;
use crate::kernels::attention::{Attention, Sight};
use crate::kernels::heads::{Extent, Heads, Layout};
use crate::kernels::processor::Path;

/// Rows, positions, heads of queries and of keys, size of a head, positions of the prefix.
pub(super) type Shape = [usize; 6];

/// Queries, keys and values packed side by side, keys and values of a prefix, and a table of relative biases.
pub(super) struct Case {
    shape: Shape,
    pub(super) packed: Vec<f32>,
    prefix: [Vec<f32>; 2],
    pub(super) table: Vec<f32>,
}

impl Case {
    pub(super) fn new(shape: Shape, seed: u64) -> Self {
        let [rows, positions, heads, shared, size, before] = shape;
        let packed = numbers(rows * positions * (heads + 2 * shared) * size, seed);
        let prefix = [1, 2].map(|part| numbers(before * shared * size, seed + part));
        Case { shape, packed, prefix, table: numbers(heads * (2 * positions - 1), seed + 3) }
    }

    pub(super) fn run(&self, path: Path, sight: Sight<'_>) -> Vec<f32> {
        let [rows, positions, heads, shared, size, before] = self.shape;
        let position = (heads + 2 * shared) * size;
        let layout = Layout { row: positions * position, position, head: size };
        let part = |start: usize, heads| {
            Heads::new(&self.packed[start * size..], layout, Extent { rows, positions, heads, size }).unwrap()
        };
        // Shared by all rows; a head's positions lie together.
        let layout = Layout { row: 0, position: size, head: before * size };
        let extent = Extent { rows, positions: before, heads: shared, size };
        let prefix = [0, 1].map(|part| Heads::new(&self.prefix[part], layout, extent).unwrap());
        let prefix = (before > 0).then_some((prefix[0], prefix[1]));
        let mut context = vec![f32::NAN; rows * positions * heads * size];
        let layout = Layout { row: positions * heads * size, position: heads * size, head: size };
        let own = (part(heads, shared), part(heads + shared, shared));
        let run = Attention::new(part(0, heads), prefix, own, sight, (&mut context, layout), path).unwrap();
        for item in (0..=run.items()).rev() {
            // SAFETY: one thread.
            unsafe { run.run(item) };
        }
        context
    }

    /// One value of the context in float64; keys that are not seen have no part in it.
    fn exact(&self, sight: Sight<'_>, [row, query, head, column]: [usize; 4]) -> f64 {
        let [_, positions, heads, shared, size, before] = self.shape;
        let group = head / (heads / shared);
        let value = |part: usize, key: usize, column: usize| -> f64 {
            if key < before {
                return self.prefix[part][(group * before + key) * size + column].into();
            }
            let head = heads + part * shared + group;
            self.packed[((row * positions + key - before) * (heads + 2 * shared) + head) * size + column].into()
        };
        let at = before + query;
        let (mut total, mut sum) = (0.0, 0.0);
        for key in 0..before + sight.lengths[row] {
            let is_hidden =
                sight.ahead.is_some_and(|ahead| key > at + ahead) || sight.back.is_some_and(|back| key + back < at);
            if is_hidden {
                continue;
            }
            let from = ((row * positions + query) * (heads + 2 * shared) + head) * size;
            let score: f64 =
                (0..size).map(|column| f64::from(self.packed[from + column]) * value(0, key, column)).sum();
            let bias =
                sight.relative.map_or(0.0, |table| table[head * (2 * positions - 1) + positions - 1 + key - query]);
            let weight = (score * f64::from(sight.scale) + f64::from(bias)).exp();
            total += weight;
            sum += weight * value(1, key, column);
        }
        if total == 0.0 || query >= sight.lengths[row] { 0.0 } else { sum / total }
    }
}

#[test]
fn attention_is_that_of_float64() {
    const SHAPES: [Shape; 6] = [
        [1, 1, 1, 1, 8, 0],
        [2, 70, 2, 2, 20, 0],
        [2, 9, 4, 2, 33, 70],
        [1, 131, 2, 1, 16, 5],
        [1, 50, 1, 1, 64, 0],
        [1, 3, 2, 2, 5, 1],
    ];
    for path in Path::possible() {
        for shape in SHAPES {
            let case = Case::new(shape, 20);
            let [rows, positions, heads, _, size, before] = shape;
            let lengths: Vec<usize> = (0..rows).map(|row| positions - positions * row / 3).collect();
            for (is_causal, window, is_relative) in [
                (false, None, before == 0),
                (true, None, false),
                (false, Some(6), false),
                (true, Some(66), before == 0),
            ] {
                let relative = is_relative.then_some(case.table.as_slice());
                // A score's error is float32's relative to |q||k|, so scores are kept to the size that models give them.
                let scale = 2.0 / (size as f32).sqrt();
                let ahead = if is_causal { Some(0) } else { window };
                let sight = Sight { scale, lengths: &lengths, back: window, ahead, relative };
                let context = case.run(path, sight);
                for (index, &found) in context.iter().enumerate() {
                    let (query, head) = (index / size / heads % positions, index / size % heads);
                    let place = [index / size / heads / positions, query, head, index % size];
                    let expected = case.exact(sight, place);
                    let error = (f64::from(found) - expected).abs();
                    assert!(error < 1e-6, "{} {shape:?} {place:?}: {found} is not {expected}", path.name());
                }
            }
        }
    }
}

#[test]
fn a_row_depends_on_neither_other_rows_nor_padding() {
    let (positions, heads, shared, size) = (101, 2, 1, 40);
    let case = Case::new([3, positions, heads, shared, size, 70], 30);
    let lengths = [53, 101, 7];
    for path in Path::possible() {
        for (is_causal, window) in [(true, None), (false, None), (true, Some(20)), (false, Some(3))] {
            let ahead = if is_causal { Some(0) } else { window };
            let sight = Sight { scale: 2.0, lengths: &lengths, back: window, ahead, relative: None };
            let all = case.run(path, sight);
            for (row, &length) in lengths.iter().enumerate() {
                let width = (heads + 2 * shared) * size;
                let packed = case.packed[row * positions * width..][..length * width].to_owned();
                let shape = [1, length, heads, shared, size, 70];
                let alone = Case { shape, packed, prefix: case.prefix.clone(), table: vec![] };
                let alone = alone.run(path, Sight { lengths: &[length], ..sight });
                let (real, padding) =
                    all[row * positions * heads * size..][..positions * heads * size].split_at(alone.len());
                assert_eq!(alone, real, "{} row {row}", path.name());
                assert!(padding.iter().all(|&value| value == 0.0));
            }
        }
    }
}

#[test]
fn padding_may_hold_anything_and_what_is_seen_shows() {
    let mut case = Case::new([1, 20, 1, 1, 8, 0], 40);
    for path in Path::possible() {
        let sight = Sight { scale: 1.0, lengths: &[13], back: None, ahead: None, relative: None };
        let clean = case.run(path, sight);
        let kept = case.packed.clone();
        case.packed[13 * 24..].fill(f32::NAN);
        assert_eq!(case.run(path, sight), clean);
        // A key: every query sees it.
        case.packed[5 * 24 + 8] = f32::NAN;
        assert!(case.run(path, sight)[..13 * 8].iter().all(|value| value.is_nan()));
        case.packed = kept;
        // Scores of the largest size: the softmax is one key's.
        let sight = Sight { scale: 1e30, ..sight };
        assert!(case.run(path, sight).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn shapes_that_do_not_match_are_refused() {
    let values = [0.0; 64];
    let extent = |rows, positions, heads| Extent { rows, positions, heads, size: 4 };
    let layout = Layout { row: 16, position: 4, head: 8 };
    assert!(Heads::new(&values, layout, extent(5, 2, 2)).is_none());
    assert!(Heads::new(&values, Layout { position: 3, ..layout }, extent(1, 2, 2)).is_none());
    assert!(Heads::new(&values, Layout { row: usize::MAX, ..layout }, extent(3, 2, 2)).is_none());
    let heads = |rows, positions, heads| Heads::new(&values, layout, extent(rows, positions, heads)).unwrap();
    let is_taken = |keys, lengths: &[usize], relative, room| {
        let sight = Sight { scale: 1.0, lengths, back: None, ahead: None, relative };
        let mut context = vec![0.0; room];
        let path = Path::portable();
        Attention::new(heads(2, 2, 2), None, (keys, keys), sight, (&mut context, layout), path).is_some()
    };
    assert!(is_taken(heads(2, 2, 2), &[2, 1], Some(&values[..6]), 32));
    assert!(!is_taken(heads(2, 2, 2), &[2, 3], None, 32));
    assert!(!is_taken(heads(2, 2, 2), &[2], None, 32));
    assert!(!is_taken(heads(2, 2, 2), &[2, 1], Some(&values[..5]), 32));
    assert!(!is_taken(heads(2, 2, 2), &[2, 1], None, 31));
    assert!(!is_taken(heads(1, 2, 2), &[2, 1], None, 32));
    assert!(!is_taken(heads(2, 1, 2), &[2, 1], None, 32));
}

#[test]
fn the_last_query_alone_has_the_bits_that_it_has_among_all() {
    let (rows, positions, heads, shared, size, before) = (3, 101, 2, 1, 40, 70);
    let case = Case::new([rows, positions, heads, shared, size, before], 40);
    let (lengths, position) = ([53, 101, 7], (heads + 2 * shared) * size);
    for path in Path::possible() {
        for back in [None, Some(20)] {
            let sight = Sight { scale: 2.0, lengths: &lengths, back, ahead: Some(0), relative: None };
            let all = case.run(path, sight);
            let last = |row: usize| (row * positions + lengths[row] - 1) * position;
            let queries: Vec<f32> =
                (0..rows).flat_map(|row| &case.packed[last(row)..][..heads * size]).copied().collect();
            let layout = Layout { row: heads * size, position: heads * size, head: size };
            let picked = Heads::new(&queries, layout, Extent { rows, positions: 1, heads, size }).unwrap();
            let packed = Layout { row: positions * position, position, head: size };
            let part = |start: usize| {
                let extent = Extent { rows, positions, heads: shared, size };
                Heads::new(&case.packed[start * size..], packed, extent).unwrap()
            };
            let prefix = [0, 1].map(|part| {
                let layout = Layout { row: 0, position: size, head: before * size };
                Heads::new(&case.prefix[part], layout, Extent { rows, positions: before, heads: shared, size }).unwrap()
            });
            let mut context = vec![f32::NAN; rows * heads * size];
            let own = (part(heads), part(heads + shared));
            let prefix = Some((prefix[0], prefix[1]));
            let run = Attention::new(picked, prefix, own, sight, (&mut context, layout), path).unwrap();
            for item in 0..run.items() {
                // SAFETY: one thread.
                unsafe { run.run(item) };
            }
            for row in 0..rows {
                let among = &all[(row * positions + lengths[row] - 1) * heads * size..][..heads * size];
                assert_eq!(&context[row * heads * size..][..heads * size], among, "{} row {row}", path.name());
            }
        }
    }
}
