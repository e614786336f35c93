//! sentence-transformers' own files: `modules.json`, `sentence_bert_config.json`, `config_sentence_transformers.json`.
//! A module that ironvec does not run is refused by name: leaving it out would change every vector.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::head;
use super::json::{JsonFile, describe, is_absent, read_json};
use super::json::{Limit, MAX_ROWS};
use super::pooling::{PoolingMode, read_modes};
use crate::batches::head::Head;
use crate::error::{Error, Result};

/// What follows the transformer, and where its files are.
#[derive(Debug)]
pub struct Modules {
    /// The folder of `config.json` and the weights.
    pub transformer: PathBuf,
    /// Whether the first module is a StaticEmbedding: a table of vectors and their mean, in place of a transformer.
    pub is_static: bool,
    /// The pooled vectors that are concatenated; nothing where no `modules.json` says.
    pub pooling: Option<Vec<PoolingMode>>,
    /// Whether the prompt's tokens take part in the pooling.
    pub include_prompt: bool,
    /// What follows the pooling, but for a last Normalize.
    pub head: Head,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
}

const SUPPORTED: &str = "Transformer, Pooling (or StaticEmbedding alone), then any of Dense, LayerNorm and Normalize";

/// Reads `modules.json`; without one, vectors are normalised and the architecture chooses the pooling.
pub fn read_modules(folder: &Path) -> Result<Modules> {
    let path = folder.join("modules.json");
    let mut modules = Modules {
        transformer: folder.to_owned(),
        is_static: false,
        pooling: None,
        include_prompt: true,
        head: Head::default(),
        normalize: true,
    };
    if is_absent(&path) {
        return Ok(modules);
    }
    let Value::Array(entries) = read_json(&path, "the link leads nowhere")? else {
        return Err(Error::malformed(&path, "expected an array of modules"));
    };
    modules.normalize = false;
    for (position, entry) in entries.iter().enumerate() {
        let field = |name: &str| entry.get(name).and_then(Value::as_str);
        let kind = field("type").ok_or_else(|| {
            Error::malformed(&path, format!("module {position} has no \"type\": {}", describe(entry)))
        })?;
        let relative = match entry.get("path") {
            Some(Value::String(relative)) => relative,
            other => {
                let found = other.map_or_else(|| "missing".to_owned(), describe);
                return Err(Error::unsupported(&path, path_field(position), found, "a string: the module's folder"));
            }
        };
        let module_folder = inside(folder, &path, relative)?;
        // Releases moved the classes about ("sentence_transformers.models.Pooling", "….base.modules.transformer.Transformer"),
        // so the last word counts; a class of another package is somebody's own code.
        let class = kind.strip_prefix("sentence_transformers.").and_then(|rest| rest.rsplit('.').next());
        let refusal = || Error::unsupported(&path, format!("module {position}"), format!("`{kind}`"), SUPPORTED);
        match (position, class.unwrap_or("")) {
            (0, "Transformer") => modules.transformer = module_folder,
            (0, "StaticEmbedding") => {
                modules.transformer = module_folder;
                modules.is_static = true;
            }
            (1, "Pooling") if !modules.is_static => {
                // The model's own config.json would be read as one of a pooling that says nothing: the mean.
                if module_folder == modules.transformer {
                    let supported = "a folder with a config.json of its own, which is not the Transformer's";
                    return Err(Error::unsupported(&path, path_field(1), format!("{relative:?}"), supported));
                }
                let config = JsonFile::read(&module_folder.join("config.json"), "modules.json names a Pooling module")?;
                if config.has("model_type") {
                    return Err(config.unsupported("model_type", "absent from the config of a Pooling module"));
                }
                modules.pooling = Some(read_modes(&config)?);
                modules.include_prompt = config.flag_or("include_prompt", true)?;
            }
            (at, class) if at >= first_of_head(&modules) => match head::reader(class) {
                // The last one is the caller's choice, after any cut.
                Some(_) if class == "Normalize" && position + 1 == entries.len() => {
                    head::check_normalize(&module_folder)?;
                    modules.normalize = true;
                }
                Some(read) => modules.head.push(module_folder.join("config.json"), read(&module_folder)?),
                None => return Err(refusal()),
            },
            _ => return Err(refusal()),
        }
    }
    if entries.len() < first_of_head(&modules) {
        return Err(Error::unsupported(&path, "the list", format!("{} modules long", entries.len()), SUPPORTED));
    }
    Ok(modules)
}

/// Where the modules begin that change pooled vectors.
fn first_of_head(modules: &Modules) -> usize {
    if modules.is_static { 1 } else { 2 }
}

fn path_field(position: usize) -> String {
    format!("module {position}: path")
}

/// A module's folder, refused where it would leave the model's.
fn inside(folder: &Path, file: &Path, relative: &str) -> Result<PathBuf> {
    let stays = Path::new(relative).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if stays {
        Ok(folder.join(relative))
    } else {
        Err(Error::unsupported(file, "path", format!("{relative:?}"), "a folder inside the model's"))
    }
}

/// `config_sentence_transformers.json`, or its defaults.
#[derive(Debug, Default)]
pub struct SentenceConfig {
    /// Prompt name to text.
    pub prompts: BTreeMap<String, String>,
    /// The prompt used where the caller names none.
    pub default_prompt_name: Option<String>,
    /// `cosine`, `dot`, `euclidean`, `manhattan`.
    pub similarity: Option<String>,
    /// Components that are kept of each vector.
    pub truncate_dim: Option<Limit>,
}

/// Reads `config_sentence_transformers.json`.
pub fn read_sentence_config(folder: &Path) -> Result<SentenceConfig> {
    let Some(file) = JsonFile::read_optional(&folder.join("config_sentence_transformers.json"))? else {
        return Ok(SentenceConfig::default());
    };
    if file.text_or("model_type", "SentenceTransformer")? != "SentenceTransformer" {
        return Err(file.unsupported("model_type", "\"SentenceTransformer\""));
    }
    let mut config = SentenceConfig::default();
    if file.get("truncate_dim").is_some() {
        config.truncate_dim = Some(Limit::read(&file, "truncate_dim", MAX_ROWS)?);
    }
    match file.get("prompts") {
        None => {}
        Some(Value::Object(prompts)) => {
            for (name, text) in prompts {
                let text = text.as_str().ok_or_else(|| file.unsupported("prompts", "an object of strings"))?;
                config.prompts.insert(name.clone(), text.to_owned());
            }
        }
        Some(_) => return Err(file.unsupported("prompts", "an object of strings")),
    }
    let name = file.text_or("default_prompt_name", "")?;
    if !name.is_empty() {
        // sentence-transformers always has these two, empty where the file has none.
        if !config.prompts.contains_key(name) && !["query", "document"].contains(&name) {
            return Err(file.unsupported("default_prompt_name", "the name of one of its prompts"));
        }
        config.default_prompt_name = Some(name.to_owned());
    }
    let similarity = file.text_or("similarity_fn_name", "cosine")?;
    if !["cosine", "dot", "euclidean", "manhattan"].contains(&similarity) {
        return Err(file.unsupported("similarity_fn_name", "cosine, dot, euclidean, manhattan"));
    }
    config.similarity = Some(similarity.to_owned());
    Ok(config)
}
