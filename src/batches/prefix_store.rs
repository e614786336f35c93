//! A prefix's tokens in, its keys and values out: kept or computed, so that a prompt is computed once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::batches::prefix::{Prefix, STORE_BYTES};
use crate::error::Result;

/// The prefixes used last.
#[derive(Default)]
pub struct PrefixStore {
    /// Most recent first, those that are being computed among them.
    kept: Mutex<VecDeque<Arc<Kept>>>,
}

/// The place of a prefix.
struct Kept {
    tokens: Vec<i32>,
    /// Locked while it is computed, so that whoever wants the same prefix waits for it, and nobody else.
    prefix: Mutex<Option<Arc<Prefix>>>,
    /// 0 until it is computed.
    bytes: AtomicUsize,
}

impl PrefixStore {
    /// The prefix of these tokens, computed where it is not kept: once, however many threads ask. If that fails, each of
    /// them tries for itself.
    pub fn get(&self, tokens: &[i32], compute: impl FnOnce() -> Result<Prefix>) -> Result<Arc<Prefix>> {
        let place = self.place(tokens);
        let mut prefix = place.prefix.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prefix) = &*prefix {
            return Ok(Arc::clone(prefix));
        }
        let computed = Arc::new(compute().inspect_err(|_| self.forget(&place))?);
        place.bytes.store(computed.bytes(), Ordering::Relaxed);
        *prefix = Some(Arc::clone(&computed));
        drop(prefix);
        self.forget_the_oldest();
        Ok(computed)
    }

    /// The place of a prefix, now the most recent.
    fn place(&self, tokens: &[i32]) -> Arc<Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().position(|place| place.tokens == tokens).and_then(|position| kept.remove(position));
        let place = known.unwrap_or_else(|| {
            Arc::new(Kept { tokens: tokens.to_vec(), prefix: Mutex::default(), bytes: AtomicUsize::new(0) })
        });
        kept.push_front(Arc::clone(&place));
        place
    }

    fn forget_the_oldest(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        kept.retain(|place| {
            let own = place.bytes.load(Ordering::Relaxed);
            bytes += own;
            own == 0 || bytes <= STORE_BYTES
        });
    }

    fn forget(&self, failed: &Arc<Kept>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|place| !Arc::ptr_eq(place, failed));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::error::Error;

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

    fn named(tokens: &[i32]) -> Prefix {
        Prefix { tokens: tokens.to_vec(), states: vec![vec![0.0; 4]] }
    }

    #[test]
    fn threads_that_ask_for_one_prefix_share_one_computation() {
        let (store, computed, together) = (PrefixStore::default(), AtomicUsize::new(0), Barrier::new(8));
        let get = || {
            together.wait();
            let slowly = || {
                computed.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(100));
                Ok(named(&[1]))
            };
            store.get(&[1], slowly).unwrap()
        };
        let found: Vec<Arc<Prefix>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(computed.into_inner(), 1);
        assert!(found.iter().all(|prefix| Arc::ptr_eq(prefix, &found[0])));
    }

    #[test]
    fn who_wants_another_prefix_does_not_wait() {
        let (store, (begin, begun), (end, ended)) = (&PrefixStore::default(), channel(), channel::<()>());
        thread::scope(|scope| {
            let slow = scope.spawn(move || {
                store.get(&[1], || {
                    begin.send(()).unwrap();
                    ended.recv_timeout(Duration::from_secs(30)).unwrap();
                    Ok(named(&[1]))
                })
            });
            begun.recv().unwrap();
            assert_eq!(store.get(&[2], || Ok(named(&[2]))).unwrap().tokens, [2]);
            assert!(!slow.is_finished());
            end.send(()).unwrap();
            assert_eq!(slow.join().unwrap().unwrap().tokens, [1]);
        });
    }

    #[test]
    fn a_failure_is_not_kept() {
        let store = PrefixStore::default();
        assert!(store.get(&[1], || Err(Error::Interrupted)).is_err());
        assert!(store.kept.lock().unwrap().is_empty());
        let panicked = thread::scope(|scope| scope.spawn(|| store.get(&[1], || panic!("a test's"))).join().is_err());
        assert!(panicked);
        assert_eq!(store.get(&[1], || Ok(named(&[1]))).unwrap().tokens, [1]);
        assert!(store.get(&[1], || Err(Error::Interrupted)).is_ok(), "kept, once it is there");
    }
}
