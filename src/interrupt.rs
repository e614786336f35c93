//! Work on a thread beside the caller's, who meanwhile hears Ctrl-C: a signal reaches only the thread that Python started
//! with, so what may take seconds must not happen on it.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::error::{Error, Result};

/// How long the caller waits before it looks up.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// Asks whether to go on; called on the caller's own thread only.
pub type Heed<'h> = dyn FnMut() -> ControlFlow<()> + 'h;

/// What the answer means for the call.
pub fn proceed(flow: ControlFlow<()>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Interrupted),
    }
}

/// A thread at work.
pub struct Worker<'scope, T> {
    handle: ScopedJoinHandle<'scope, T>,
    /// Nothing is ever sent: it is closed when the thread ends, in a panic too.
    ended: Receiver<()>,
}

impl<'scope, T: Send + 'scope> Worker<'scope, T> {
    /// Starts it; an error where there is no thread to be had.
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> io::Result<Self> {
        let (end, ended) = mpsc::channel::<()>();
        let handle = thread::Builder::new().spawn_scoped(scope, move || {
            let _end = end;
            work()
        })?;
        Ok(Worker { handle, ended })
    }

    /// Waits for it. Once `heed` says so, `stop` is told to end the work early, and the result is an error.
    pub fn join(self, heed: &mut Heed<'_>, stop: &dyn Fn()) -> Result<T> {
        let mut stopped = false;
        while !stopped && matches!(self.ended.recv_timeout(INTERVAL), Err(RecvTimeoutError::Timeout)) {
            stopped = heed().is_break();
        }
        if stopped {
            stop();
        }
        let result = self.handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if stopped { Err(Error::Interrupted) } else { Ok(result) }
    }
}

/// Does the work on a thread and waits for it as [`Worker::join`] does; here and now where there is no thread to be had.
pub fn attentively<T: Send>(work: &(dyn Fn() -> T + Sync), heed: &mut Heed<'_>, stop: &dyn Fn()) -> Result<T> {
    thread::scope(|scope| match Worker::start(scope, work) {
        Ok(worker) => worker.join(heed, stop),
        Err(_) => Ok(work()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn work_that_would_not_end_is_stopped() {
        let stopped = AtomicBool::new(false);
        let work = || {
            while !stopped.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        };
        let mut looks = 0;
        let mut heed = || {
            looks += 1;
            if looks == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let result = attentively(&work, &mut heed, &|| stopped.store(true, Ordering::Relaxed));
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(looks, 3);
    }

    #[test]
    fn what_ends_by_itself_gives_its_result() {
        let heed: &mut Heed<'_> = &mut || ControlFlow::Continue(());
        assert_eq!(attentively(&|| 7, heed, &|| panic!("nothing to stop")).unwrap(), 7);
    }
}
