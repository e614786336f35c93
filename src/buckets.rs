//! Lengths that graphs of fixed shape are made for: a row runs in the shortest bucket that holds it. And the few of
//! them that are kept open, for any number of threads: opening one takes minutes at worst, and nobody waits for that but
//! who needs that very bucket, or another one that is not open.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::graph::coreml;
use crate::model::Architecture;

/// The shortest bucket of an encoder, and its longest unless the model's positions end before.
const ENCODER: (usize, usize) = (64, 2048);
/// A decoder's buckets: each may cost gigabytes of the provider's cache, so there are few.
const DECODER: [usize; 3] = [128, 512, 2048];
/// Buckets kept open, of an encoder and of a decoder.
const KEPT: (usize, usize) = (4, 2);

/// The buckets of an architecture, ascending, and how many are kept open.
pub fn of(architecture: &Architecture) -> (Vec<usize>, usize) {
    let longest = coreml::longest(architecture);
    match architecture {
        Architecture::Qwen3(_) => (up_to(longest, DECODER.into_iter()), KEPT.1),
        Architecture::Bert(_) | Architecture::Export(_) => {
            let doubling = std::iter::successors(Some(ENCODER.0), |length| Some(2 * length));
            (up_to(longest, doubling.take_while(|length| *length <= ENCODER.1)), KEPT.0)
        }
    }
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
    state: Mutex<State<T>>,
    /// Told when an opening has ended, well or not.
    ended: Condvar,
}

struct State<T> {
    /// Most recent first.
    entries: VecDeque<(usize, Arc<T>)>,
    /// One at a time: opening takes more memory than what is open does.
    is_opening: bool,
}

/// While it lives, no other thread opens anything.
struct Opening<'a, T>(&'a Kept<T>);

impl<T> Drop for Opening<'_, T> {
    fn drop(&mut self) {
        self.0.state().is_opening = false;
        self.0.ended.notify_all();
    }
}

impl<T> Kept<T> {
    /// Room for `most` of them, one at least.
    pub fn new(most: usize) -> Self {
        let state = State { entries: VecDeque::new(), is_opening: false };
        Kept { most: most.max(1), state: Mutex::new(state), ended: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept for a length, made where it is not. The oldest is let go before: two of them may not fit beside
    /// each other. Several threads that need the same length make it once, unless that fails: then each tries itself.
    pub fn get<E>(&self, length: usize, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut state = self.state();
        loop {
            if let Some(at) = state.entries.iter().position(|(known, _)| *known == length)
                && let Some(entry) = state.entries.remove(at)
            {
                let value = entry.1.clone();
                state.entries.push_front(entry);
                return Ok(value);
            }
            if !state.is_opening {
                break;
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_opening = true;
        let keeps = state.entries.len().min(self.most - 1);
        let let_go = state.entries.split_off(keeps);
        drop(state);
        let opening = Opening(self);
        drop(let_go);
        let value = Arc::new(make()?);
        self.state().entries.push_front((length, value.clone()));
        drop(opening);
        Ok(value)
    }

    /// The lengths that are open, ascending.
    pub fn lengths(&self) -> Vec<usize> {
        let mut lengths: Vec<usize> = self.state().entries.iter().map(|(length, _)| *length).collect();
        lengths.sort_unstable();
        lengths
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

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
        let kept = Kept::new(2);
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
        assert!(kept.get(512, || Ok::<_, ()>(512)).is_ok(), "the next one tries again");
    }

    #[test]
    fn nobody_waits_for_an_opening_but_who_needs_it() {
        let kept = Kept::new(2);
        kept.get(64, || Ok::<_, ()>(0)).unwrap();
        let made = AtomicUsize::new(0);
        let (begun, begins) = channel();
        let (end, ends) = channel::<()>();
        thread::scope(|scope| {
            let made = &made;
            let kept = &kept;
            let opener = scope.spawn(move || {
                kept.get(128, || {
                    begun.send(()).unwrap();
                    ends.recv_timeout(Duration::from_secs(60)).unwrap();
                    Ok::<_, ()>(made.fetch_add(1, Ordering::SeqCst))
                })
            });
            begins.recv().unwrap();
            // This thread itself goes on: were it to wait, nobody would end the opening.
            assert_eq!(*kept.get(64, || Err(())).unwrap(), 0);
            assert_eq!(kept.lengths(), [64]);
            let waiting = scope.spawn(|| kept.get(128, || Ok::<_, ()>(made.fetch_add(1, Ordering::SeqCst))));
            end.send(()).unwrap();
            assert_eq!(*opener.join().unwrap().unwrap(), 0);
            assert_eq!(*waiting.join().unwrap().unwrap(), 0);
        });
        assert_eq!((made.load(Ordering::SeqCst), kept.lengths()), (1, vec![64, 128]));
    }

    #[test]
    fn an_opening_that_panics_leaves_the_next_one_its_turn() {
        let kept = Kept::<usize>::new(2);
        let panicked =
            thread::scope(|scope| scope.spawn(|| kept.get(64, || -> Result<_, ()> { panic!("here") })).join());
        assert!(panicked.is_err());
        assert_eq!(*kept.get(64, || Ok::<_, ()>(64)).unwrap(), 64);
    }
}
