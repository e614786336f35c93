//! The names of graphs' inputs and outputs, the same in every flavour. B rows of L tokens; P tokens of a shared prefix
//! before them, T = P + L; N query heads in K groups of G, of size D each.

/// (B, L) int32: token ids, padded on the right with 0.
pub const INPUT_IDS: &str = "input_ids";
/// (B, L, H): the embedded tokens, zeros in the padding, before their norm; where the host looks them up.
pub const INPUTS_EMBEDS: &str = "inputs_embeds";
/// (B, L) int32: the row of the position table of each token. Where a text's own tokens may move it.
pub const POSITION_IDS: &str = "position_ids";
/// (B, L) int32: 1 for a token, 0 for padding. Unless the model is causal, which hides the padding.
pub const ATTENTION_MASK: &str = "attention_mask";
/// (B, 1, 1, L) float: 0 for a token, a large negative number for padding; in graphs of fixed shape.
pub const MASK_BIAS: &str = "mask_bias";
/// (B, P', L) float: what each token weighs in each pooled vector but the maximum. Absent where P' is 0.
pub const POOL_WEIGHTS: &str = "pool_weights";
/// (B, L, 1) float: 0 for a token that the maximum sees, -inf or a large negative number else. With `max` pooling.
pub const POOL_BIAS: &str = "pool_bias";
/// (L, L) int32: the bucket of the distance from each query to each key; for our own operators (2·L - 1), of the distances
/// from the last token's to the first to the reverse. With a relative bias.
pub const RELATIVE_BUCKETS: &str = "relative_buckets";
/// (2) int64: P and L. Causal models alone, as all below.
pub const SCORE_SIZES: &str = "score_sizes";
/// (2) int64: 1, and how many of the first row's tokens' keys and values to put out.
pub const CAPTURE: &str = "capture";
/// (B, 1) int64: each row's last token. Where only that one is pooled.
pub const LAST_INDEX: &str = "last_index";

/// What a score that must not be seen gets added in graphs of any shape: exp of it is exactly 0, and two of them still are
/// a number, so that a token which sees nothing is no NaN.
pub const UNSEEN: f32 = f32::MIN / 4.0;

/// Output, (B, P, H) float: pooled, not normalised.
pub const OUTPUT: &str = "pooled";

/// (L, D/2) float: cosines of a rotation at each of the run's positions.
pub fn cos(rotation: usize) -> String {
    numbered("cos", rotation)
}

/// (L, D/2) float: sines.
pub fn sin(rotation: usize) -> String {
    numbered("sin", rotation)
}

/// (G·L, T) float: 0 where a query sees a key, [`UNSEEN`] where it does not, the same for each of G heads.
pub fn visibility_bias(visibility: usize) -> String {
    numbered("visibility_bias", visibility)
}

/// (B, 1, G, T) float: what each row's last token sees. Where only that one is pooled.
pub const LAST_BIAS: &str = "last_bias";

/// (1, K, P, D) float: the prefix's keys in a layer.
pub fn past_key(layer: usize) -> String {
    format!("past_key.{layer}")
}

/// (1, K, P, D) float: the prefix's values in a layer.
pub fn past_value(layer: usize) -> String {
    format!("past_value.{layer}")
}

/// Output, (1, K, captured, D) float: keys of the first row's first tokens.
pub fn present_key(layer: usize) -> String {
    format!("present_key.{layer}")
}

/// Output, (1, K, captured, D) float: values of the first row's first tokens.
pub fn present_value(layer: usize) -> String {
    format!("present_value.{layer}")
}

fn numbered(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}.{index}") }
}
