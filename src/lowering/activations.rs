//! What graphs call the operator of ours that applies activations, and its functions.

/// The operator.
pub const OPERATOR: &str = "Activation";

/// x·Φ(x).
pub const GELU: i64 = 0;
/// Its approximation by tanh.
pub const GELU_TANH: i64 = 1;
/// x·σ(x).
pub const SILU: i64 = 2;
