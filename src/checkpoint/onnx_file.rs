//! An ONNX file that somebody else exported: which one, and what the files beside it say of its limits. What the graph
//! takes and gives is read from the graph itself (`export.rs`), not from its name.

use std::path::{Component, Path, PathBuf};

use super::json::JsonFile;
use super::json::{MAX_ROWS, MAX_WIDTH};
use crate::error::{Error, Result};

/// An export and its limits.
#[derive(Debug, Clone)]
pub struct OnnxFile {
    /// The ONNX file.
    pub path: PathBuf,
    /// Rows of the embedding table, as far as config.json tells.
    pub vocab_size: usize,
    /// The longest row, as far as config.json tells.
    pub max_positions: usize,
    /// H, as far as config.json tells.
    pub hidden_size: Option<usize>,
    /// Whether config.json tells of a decoder.
    pub is_decoder: bool,
}

/// Where exporters put the file, in the order of preference.
const USUAL_PLACES: [&str; 2] = ["model.onnx", "onnx/model.onnx"];
/// Families that attend to the left alone, so that the last token is the one that has seen all.
const DECODERS: [&str; 6] = ["qwen2", "qwen3", "llama", "mistral", "gemma", "gemma2"];

impl OnnxFile {
    /// The export of a folder, if there is one.
    pub fn beside(folder: &Path) -> Result<Option<Self>> {
        match USUAL_PLACES.iter().find(|place| folder.join(place).is_file()) {
            Some(place) => Self::named(folder, place).map(Some),
            None => Ok(None),
        }
    }

    /// A named file of a folder.
    pub fn named(folder: &Path, name: &str) -> Result<Self> {
        let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let path = folder.join(name);
        if !plain || !name.ends_with(".onnx") {
            return Err(Error::Argument {
                argument: "file_name",
                found: format!("{name:?}"),
                expected: "a .onnx file inside the model's folder".to_owned(),
            });
        }
        if !path.is_file() {
            return Err(Error::FileMissing { path, needed_for: "file_name asks for it".to_owned() });
        }
        let config = JsonFile::read_optional(&folder.join("config.json"))?;
        let number = |field: &str, most: usize| -> Result<Option<usize>> {
            let Some(config) = config.as_ref().filter(|config| config.get(field).is_some()) else { return Ok(None) };
            config.integer(field, 1..=most).map(Some)
        };
        let family = config.as_ref().map_or(Ok(""), |config| config.text_or("model_type", ""))?;
        Ok(OnnxFile {
            path,
            vocab_size: number("vocab_size", MAX_ROWS)?.unwrap_or(MAX_ROWS),
            max_positions: number("max_position_embeddings", MAX_ROWS)?.unwrap_or(MAX_ROWS),
            hidden_size: number("hidden_size", MAX_WIDTH)?,
            is_decoder: DECODERS.contains(&family),
        })
    }
}
