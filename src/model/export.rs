//! An ONNX file that somebody else exported: which one, and what the files beside it say of its limits. What the graph
//! takes and gives is read from the graph itself (`export.rs`), not from its name.

use std::path::{Component, Path, PathBuf};

use super::json::JsonFile;
use super::{MAX_ROWS, MAX_WIDTH};
use crate::error::{Error, Result};

/// An export and its limits.
#[derive(Debug, Clone)]
pub struct ExportFile {
    /// The ONNX file.
    pub path: PathBuf,
    /// Rows of the embedding table, as far as config.json tells.
    pub vocab_size: usize,
    /// The longest row that its positions reach, as far as config.json tells.
    pub max_positions: usize,
    /// H, as far as config.json tells.
    pub hidden_size: Option<usize>,
    /// Whether config.json tells of a decoder.
    pub is_decoder: bool,
    /// The position of a row's tokens, where config.json tells the family.
    pub positions: Option<Positions>,
}

/// What a family's position embeddings take for a row's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// This number, and one more for each token after it.
    From(usize),
    /// The padding's token id for padding; one more for the first token of another id, and so on.
    AfterPadding(usize),
}

/// Where exporters put the file, in the order of preference.
const USUAL_PLACES: [&str; 2] = ["model.onnx", "onnx/model.onnx"];
/// Families that attend to the left alone, so that the last token is the one that has seen all.
const DECODERS: [&str; 6] = ["qwen2", "qwen3", "llama", "mistral", "gemma", "gemma2"];

/// RoBERTa and its kin, whose positions begin after `pad_token_id`: the places up to it are in the table and never used.
const AFTER_PADDING: [&str; 11] = [
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "longformer",
    "luke",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
];
/// Families whose positions begin at 2, in a table of two rows more than `max_position_embeddings`.
const FROM_TWO: [&str; 3] = ["mra", "nystromformer", "yoso"];

impl Positions {
    /// What transformers 5 computes for a family.
    fn read(family: &str, config: &JsonFile) -> Result<Self> {
        Ok(match family {
            "mpnet" => Positions::AfterPadding(1), // whatever its config says
            _ if AFTER_PADDING.contains(&family) => {
                Positions::AfterPadding(config.integer_or("pad_token_id", 0..=MAX_ROWS, Some(1))?)
            }
            _ if FROM_TWO.contains(&family) => Positions::From(2),
            _ => Positions::From(0),
        })
    }

    /// The longest row that a table of so many rows serves.
    fn longest(self, config: &JsonFile) -> Result<usize> {
        let field = "max_position_embeddings";
        let unused = match self {
            Positions::From(_) => 0,
            Positions::AfterPadding(padding) => padding + 1,
        };
        match config.get(field) {
            None => Ok(MAX_ROWS),
            Some(_) => Ok(config.integer(field, unused + 1..=MAX_ROWS)? - unused),
        }
    }
}

impl ExportFile {
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
        let of_family = config.as_ref().filter(|_| !family.is_empty());
        let positions = of_family.map(|config| Positions::read(family, config)).transpose()?;
        let counted = positions.unwrap_or(Positions::From(0));
        let longest = config.as_ref().map(|config| counted.longest(config)).transpose()?;
        Ok(ExportFile {
            path,
            vocab_size: number("vocab_size", MAX_ROWS)?.unwrap_or(MAX_ROWS),
            max_positions: longest.unwrap_or(MAX_ROWS),
            hidden_size: number("hidden_size", MAX_WIDTH)?,
            is_decoder: DECODERS.contains(&family),
            positions,
        })
    }
}
