//! Tensors in, how much they are by type out: numbers and bytes, as their headers give them. Sizes that overflow, which
//! only a hostile file has, count as the most that there is.

use std::collections::BTreeMap;

use serde::Serialize;

/// Type, in NumPy's spelling, to what is of it.
pub type ByType = BTreeMap<String, Amount>;

/// How much is of one type.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Tensors.
    pub tensors: usize,
    /// Their elements.
    pub numbers: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    /// Counts a tensor.
    pub fn add(&mut self, numbers: u64, bytes: u64) {
        self.tensors += 1;
        self.numbers = self.numbers.saturating_add(numbers);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
