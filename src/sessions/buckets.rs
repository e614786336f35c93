//! Lengths that graphs of fixed shape are made for: a row runs in the shortest bucket that holds it. And the few of
//! them that are kept open.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::lowering::coreml;
use crate::transformer::Transformer;

/// The shortest bucket of an encoder, and its longest unless the model's positions end before.
const ENCODER: (usize, usize) = (64, 2048);
/// A decoder's buckets: each may cost gigabytes of the provider's cache, so there are few.
const DECODER: [usize; 3] = [128, 512, 2048];
/// Buckets kept open, of an encoder and of a decoder.
const KEPT: (usize, usize) = (4, 2);

/// The buckets of an architecture, ascending, and how many are kept open.
pub fn of(network: &Transformer) -> (Vec<usize>, usize) {
    let longest = coreml::longest(network);
    if network.is_causal() {
        return (up_to(longest, DECODER.into_iter()), KEPT.1);
    }
    let doubling = std::iter::successors(Some(ENCODER.0), |length| Some(2 * length));
    (up_to(longest, doubling.take_while(|length| *length <= ENCODER.1)), KEPT.0)
}

/// Those below `longest`, and `longest` itself where it is not beyond them all.
fn up_to(longest: usize, lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let all: Vec<usize> = lengths.collect();
    let mut fitting: Vec<usize> = all.iter().copied().filter(|length| *length <= longest).collect();
    if fitting.len() < all.len() && fitting.last() != Some(&longest) {
        fitting.push(longest);
    }
    fitting
}

/// What is open for some lengths: the least recently used goes first.
pub struct Kept<T> {
    most: usize,
    entries: VecDeque<(usize, Arc<T>)>,
}

impl<T> Kept<T> {
    /// Room for `most` of them.
    pub fn new(most: usize) -> Self {
        Kept { most, entries: VecDeque::new() }
    }

    /// What is kept for a length, made where it is not. The oldest is let go before: two of them may not fit beside
    /// each other.
    pub fn get<E>(&mut self, length: usize, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let entry = match self.entries.iter().position(|(known, _)| *known == length) {
            Some(at) => self.entries.remove(at),
            None => None,
        };
        let entry = match entry {
            Some(entry) => entry,
            None => {
                self.entries.truncate(self.most - 1);
                (length, Arc::new(make()?))
            }
        };
        let value = entry.1.clone();
        self.entries.push_front(entry);
        Ok(value)
    }

    /// The lengths that are open, ascending.
    pub fn lengths(&self) -> Vec<usize> {
        let mut lengths: Vec<usize> = self.entries.iter().map(|(length, _)| *length).collect();
        lengths.sort_unstable();
        lengths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bucket_is_the_models_own_limit() {
        assert_eq!(up_to(512, [64, 128, 256, 512, 1024].into_iter()), [64, 128, 256, 512]);
        assert_eq!(up_to(300, [64, 128, 256, 512].into_iter()), [64, 128, 256, 300]);
        assert_eq!(up_to(40, [64, 128].into_iter()), [40]);
        assert_eq!(up_to(32768, DECODER.into_iter()), DECODER);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut kept = Kept::new(2);
        let mut made = Vec::new();
        for length in [64, 128, 64, 256, 64, 128] {
            let value = kept.get(length, || {
                made.push(length);
                Ok::<_, ()>(length)
            });
            assert_eq!(*value.unwrap(), length);
        }
        assert_eq!(made, [64, 128, 256, 128]);
        assert_eq!(kept.lengths(), [64, 128]);
        assert!(kept.get(512, || Err("refused")).is_err());
        assert_eq!(kept.lengths(), [128], "room was made for what then failed");
    }
}
