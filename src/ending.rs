//! The end of the process, while threads that nobody waits for may still compute. ONNX Runtime's own statics are torn
//! down at `exit`, and a run that goes on then prints errors or crashes. So whoever calls into ONNX Runtime takes a
//! [`Turn`] for that long, and [`end`], called once Python has ended and before the statics go, lets no further turn
//! begin and waits for those under way.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the end of the process waits for turns, and how often it looks. A batch takes seconds at most; a text of
/// tens of thousands of tokens, run whole by an export, can take longer.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(1);

static BEGUN: AtomicBool = AtomicBool::new(false);

/// The process's id in the upper half, its turns under way in the lower: a forked child inherits the number, but none of
/// the threads that it counts.
static TURNS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Turns of this thread: those within another are a part of it, for an inner one that waited would hold up the outer.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Work that the end of the process waits for.
pub struct Turn {
    process: u32,
}

impl Turn {
    /// Begins, or keeps the thread for good where the end has begun: there is nothing left that it could return to.
    pub fn take() -> Self {
        let process = std::process::id();
        if DEPTH.replace(DEPTH.get() + 1) > 0 {
            return Turn { process };
        }
        let counted = |turns| Some(count(turns, process).map_or(pack(process, 1), |_| turns + 1));
        // Infallible: the closure never says None.
        let _ = TURNS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted);
        if begun() {
            give_back(process);
        }
        Turn { process }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let outer = DEPTH.get().saturating_sub(1);
        DEPTH.set(outer);
        if outer == 0 {
            give_back(self.process);
        }
    }
}

fn give_back(process: u32) {
    let ended = |turns| count(turns, process).filter(|running| *running > 0).map(|_| turns - 1);
    // Not counted is a turn that began before a fork.
    let _ = TURNS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, ended);
    stay_if_begun();
}

/// Whether the process is ending.
pub fn begun() -> bool {
    BEGUN.load(Ordering::SeqCst)
}

/// Keeps the thread for good where the process is ending.
pub fn stay_if_begun() {
    while begun() {
        thread::sleep(PATIENCE);
    }
}

/// Lets no turn begin any more and waits for those under way.
pub fn end() {
    BEGUN.store(true, Ordering::SeqCst);
    let (process, start) = (std::process::id(), Instant::now());
    let running = || count(TURNS.load(Ordering::SeqCst), process).unwrap_or(0);
    while running() > 0 && start.elapsed() < PATIENCE {
        thread::sleep(GLANCE);
    }
}

fn pack(process: u32, running: u32) -> u64 {
    u64::from(process) << 32 | u64::from(running)
}

/// The turns under way, if it is this process that was counted.
fn count(turns: u64, process: u32) -> Option<u32> {
    (turns >> 32 == u64::from(process)).then_some(turns as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_processs_turns_do_not_count() {
        assert_eq!(count(pack(7, 3), 7), Some(3));
        assert_eq!(count(pack(7, 3), 8), None);
        assert_eq!(count(0, 7), None);
        assert_eq!(pack(7, 3) + 1, pack(7, 4));
    }
}
