//! A number of elements in, room for them out: for what is sized by a file or by a call, and too large to take for
//! granted. Refused: what the process cannot have. Small allocations are Rust's own, which ends the process where there
//! is no memory for them.

use std::error;

use crate::error::{Error, Result};

/// What ONNX Runtime, the C++ library and the system say where there is no memory.
const PHRASES: [&str; 4] = ["bad_alloc", "bad allocation", "Failed to allocate memory", "Cannot allocate memory"];

/// An empty list with room for `count` elements; `purpose` says "for …".
pub fn room_for<T>(count: usize, purpose: impl FnOnce() -> String) -> Result<Vec<T>> {
    let mut list = Vec::new();
    match list.try_reserve_exact(count) {
        Ok(()) => Ok(list),
        Err(error) => Err(Error::Memory { purpose: purpose(), source: error.into() }),
    }
}

/// Whether a library's error is about memory: its kind does not tell, its text does.
pub fn is_missing(error: &impl error::Error) -> bool {
    is_said_in(&error.to_string())
}

/// The same of an error's text.
pub fn is_said_in(text: &str) -> bool {
    PHRASES.iter().any(|phrase| text.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_an_error() {
        assert!(room_for::<u64>(1000, || "for little".to_owned()).unwrap().capacity() >= 1000);
        for count in [usize::MAX, usize::MAX / 16] {
            let message = room_for::<u64>(count, || "for much".to_owned()).unwrap_err().to_string();
            assert!(message.starts_with("not enough memory for much: "), "{message}");
        }
    }

    #[test]
    fn errors_of_libraries_are_told_apart() {
        let is = |text: &str| is_missing(&std::io::Error::other(text.to_owned()));
        assert!(is("Exception during initialization: std::bad_alloc"));
        assert!(is("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 123"));
        assert!(is("mmap: Cannot allocate memory"));
        assert!(!is("Load model failed: Protobuf parsing failed."));
        assert!(!is("cannot allocate memory in static TLS block"));
    }
}
