//! `1_Pooling/config.json`: which pooled vectors make the embedding, in sentence-transformers' order.

use serde_json::Value;

use super::json::JsonFile;
use crate::error::Result;

/// How the token vectors of a row become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolingMode {
    /// The first token.
    Cls,
    /// The largest value of each component.
    Max,
    /// The mean over the tokens.
    Mean,
    /// The sum over the tokens, divided by the square root of their number.
    MeanSqrtLen,
    /// The mean, token i (from 1) weighted by i.
    WeightedMean,
    /// The last token.
    LastToken,
}

/// Field of the booleans' form, mode; in the order in which several are concatenated (sentence-transformers'
/// `Pooling.forward`).
const MODES: [(&str, PoolingMode); 6] = [
    ("pooling_mode_cls_token", PoolingMode::Cls),
    ("pooling_mode_max_tokens", PoolingMode::Max),
    ("pooling_mode_mean_tokens", PoolingMode::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", PoolingMode::MeanSqrtLen),
    ("pooling_mode_weightedmean_tokens", PoolingMode::WeightedMean),
    ("pooling_mode_lasttoken", PoolingMode::LastToken),
];

impl PoolingMode {
    /// sentence-transformers' name.
    pub fn name(self) -> &'static str {
        match self {
            PoolingMode::Cls => "cls",
            PoolingMode::Max => "max",
            PoolingMode::Mean => "mean",
            PoolingMode::MeanSqrtLen => "mean_sqrt_len_tokens",
            PoolingMode::WeightedMean => "weightedmean",
            PoolingMode::LastToken => "lasttoken",
        }
    }

    /// Whether it is a weighted sum over the tokens; the largest values are not.
    pub fn is_sum(self) -> bool {
        match self {
            PoolingMode::Max => false,
            PoolingMode::Cls
            | PoolingMode::Mean
            | PoolingMode::MeanSqrtLen
            | PoolingMode::WeightedMean
            | PoolingMode::LastToken => true,
        }
    }
}

/// The modes of a pooling config, never empty: the `pooling_mode` of newer checkpoints, in its own order, else the
/// booleans of older ones, in the order of [`MODES`]; mean where none is set, as in sentence-transformers.
pub fn read_modes(config: &JsonFile) -> Result<Vec<PoolingMode>> {
    let Some(value) = config.get("pooling_mode") else {
        let mut modes = Vec::new();
        for (field, mode) in MODES {
            if config.flag_or(field, false)? {
                modes.push(mode);
            }
        }
        for field in config.fields().filter(|field| field.starts_with("pooling_mode_")) {
            if !MODES.iter().any(|(known, _)| *known == field) {
                config.refuse_flag(field)?;
            }
        }
        return Ok(if modes.is_empty() { vec![PoolingMode::Mean] } else { modes });
    };
    let names = match value {
        Value::String(name) => vec![Some(name.as_str())],
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut modes = Vec::new();
    for name in &names {
        match MODES.iter().find(|(_, mode)| Some(mode.name()) == *name) {
            Some((_, mode)) if !modes.contains(mode) => modes.push(*mode),
            _ => modes.clear(),
        }
    }
    if modes.is_empty() || modes.len() != names.len() {
        let known = MODES.map(|(_, mode)| mode.name()).join(", ");
        return Err(config.unsupported("pooling_mode", format!("one of {known}, or a list of them, each once")));
    }
    Ok(modes)
}
