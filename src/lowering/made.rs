//! Matrices of a checkpoint in, what is made of each out, several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::checkpoint::tensors::TensorReader;
use crate::checkpoint::weights::Weights;
use crate::error::Result;
use crate::transformer::Matrix;

/// What `make` makes of each matrix, in their order; the first error where there is one.
pub fn made<T: Send>(
    weights: &Weights,
    matrices: &[Matrix],
    threads: usize,
    make: impl Fn(&mut TensorReader<'_>, &Matrix) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, T)>> {
        let (mut tensors, mut done) = (TensorReader::new(weights), Vec::new());
        while let Some((index, matrix)) = matrices.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((index, make(&mut tensors, matrix)?));
        }
        Ok(done)
    };
    let parts: Vec<Result<Vec<(usize, T)>>> = thread::scope(|scope| {
        let workers: Vec<_> =
            (1..threads).filter_map(|_| thread::Builder::new().spawn_scoped(scope, worker).ok()).collect();
        let mine = worker();
        let theirs = workers.into_iter();
        let theirs = theirs.map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(mine).chain(theirs.collect::<Vec<_>>()).collect()
    });
    let mut all = Vec::with_capacity(matrices.len());
    for part in parts {
        all.extend(part?);
    }
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, made)| made).collect())
}
