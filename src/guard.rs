//! A call into a library that may panic on a broken file, in; its result out, the panic as an error. The panic's text is
//! in that error and nowhere else: other panics, which are defects, go to stderr as ever.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::error::Source;

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic inside it becomes an error.
pub fn guarded<R>(work: impl FnOnce() -> Result<R, Source>) -> Result<R, Source> {
    static HOOK: Once = Once::new();
    // The hook is this library's own: every Rust extension of a process has a standard library of its own.
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                usual(panic);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    result.unwrap_or_else(|payload| {
        let said =
            payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", said.unwrap_or("no message")).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        let result: Result<(), Source> = guarded(|| panic!("of no use: {}", 3));
        assert_eq!(result.unwrap_err().to_string(), "panicked: of no use: 3");
        assert!(!GUARDED.get());
        assert_eq!(guarded(|| guarded(|| Ok(5))).unwrap(), 5);
    }
}
