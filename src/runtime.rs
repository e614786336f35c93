//! Folders in, ONNX Runtime out: finds libonnxruntime in the installed wheel, loads it once per process, and opens
//! sessions on it. Refused: a library that is missing, broken or too old, with every place looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::error::{Error, Result};

/// Names a library file instead of the wheel's, as the `ort` crate's own users know it.
const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// The loaded library, at most one per process: ONNX Runtime allows one environment, and `ort` one library.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// ONNX Runtime, loaded.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

impl Runtime {
    /// The process's ONNX Runtime, loaded from the first of `folders` that has it.
    pub fn load(folders: &[PathBuf]) -> Result<Self> {
        let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            return Ok(runtime.clone());
        }
        let library = find_library(folders)?;
        let refusal = |problem: String| Error::Runtime { problem, looked_in: library.display().to_string() };
        let environment = ort::init_from(&library)
            .map_err(|error| refusal(error.to_string()))?
            .with_name("ironvec")
            .with_telemetry(false)
            .build()
            .map_err(|error| refusal(error.to_string()))?;
        environment.set_log_level(LogLevel::Error);
        let runtime = Runtime { environment, library };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The library file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Opens a session on a model in memory whose external data lies in `data_folder`.
    pub fn open(&self, model: &[u8], data_folder: &Path, threads: usize) -> Result<Session, ort::Error> {
        let folder = data_folder.to_string_lossy();
        self.builder(threads)?
            .with_config_entry("session.model_external_initializers_file_folder_path", folder)?
            .commit_from_memory(model)
    }

    /// Opens a session on an ONNX file; its external data lies beside it.
    pub fn open_file(&self, path: &Path, threads: usize) -> Result<Session, ort::Error> {
        self.builder(threads)?.commit_from_file(path)
    }

    /// Opens a session that is not to be run but to tell the shapes of its outputs. External data is in `data_folder`.
    pub fn open_for_shapes(&self, model: &[u8], data_folder: &Path) -> Result<Session, ort::Error> {
        let folder = data_folder.to_string_lossy();
        self.builder(1)?
            // Folding constants makes more shapes known; in 1.21, inference alone does not look through `Shape`.
            .with_optimization_level(GraphOptimizationLevel::Level1)?
            .with_config_entry("session.model_external_initializers_file_folder_path", folder)?
            .commit_from_memory(model)
    }

    fn builder(&self, threads: usize) -> Result<SessionBuilder, ort::Error> {
        Ok(Session::builder(&self.environment)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            // Shapes differ from batch to batch: plans kept per shape would only grow.
            .with_memory_pattern(false)?
            // Threads may spin within a run, not between runs: an idle Embedder costs nothing.
            .with_config_entry("session.force_spinning_stop", "1")?
            .with_log_level(LogLevel::Error)?)
    }
}

/// libonnxruntime.so.1.24.1, libonnxruntime.1.24.1.dylib, onnxruntime.dll; not libonnxruntime_providers_shared.so.
fn is_library(name: &str) -> bool {
    let stem = name.strip_prefix("lib").unwrap_or(name);
    stem.strip_prefix("onnxruntime.")
        .is_some_and(|rest| ["so", "dylib", "dll"].iter().any(|end| rest.split('.').any(|part| part == *end)))
}

fn find_library(folders: &[PathBuf]) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(LIBRARY_VARIABLE).filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        return match path.is_file() {
            true => fs::canonicalize(&path).or(Ok(path)),
            false => Err(Error::Runtime {
                problem: format!("{LIBRARY_VARIABLE} names a file that is not there"),
                looked_in: path.display().to_string(),
            }),
        };
    }
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_library))
            .collect();
        found.sort();
        if let Some(path) = found.pop() {
            return Ok(path);
        }
    }
    let looked_in = match folders {
        [] => "the Python path (no onnxruntime package there)".to_owned(),
        _ => folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    Err(Error::Runtime { problem: "its shared library was not found".to_owned(), looked_in })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_names() {
        for name in ["libonnxruntime.so.1.32.0", "libonnxruntime.so", "libonnxruntime.1.24.1.dylib", "onnxruntime.dll"]
        {
            assert!(is_library(name), "{name}");
        }
        for name in ["libonnxruntime_providers_shared.so", "onnxruntime_pybind11_state.so", "onnxruntime.py", "so"] {
            assert!(!is_library(name), "{name}");
        }
    }

    #[test]
    fn a_missing_library_says_where_it_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let message = find_library(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(message.contains(&folder.path().display().to_string()), "{message}");
        assert!(message.contains("pip install onnxruntime"), "{message}");
    }
}
