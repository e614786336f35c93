//! Folders in, the file of libonnxruntime out, and what the loaded library says of itself.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::windows_path::usual_form;
use crate::error::{Error, Result};

/// Names a library file instead of the wheel's, as the `ort` crate's own users know it.
const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// Why the system does not load the library, if it does not: `ort` says only that it failed.
pub fn loader_message(library: &Path) -> Option<String> {
    // SAFETY: `ort` has tried the same before, with the same initialisers; a library that loads now is closed again.
    let error = unsafe { libloading::Library::new(library) }.err()?;
    std::error::Error::source(&error).map(|reason| format!(" ({reason})"))
}

/// What `OrtGetApiBase()->GetVersionString()` says; the library is loaded already, so this only counts one more user.
pub fn library_version(library: &Path) -> Option<String> {
    // SAFETY: the library was loaded before, so its initialisers do not run again; the two functions have been part of
    // its stable interface since version 1.0, and the version is a string that lives as long as the library, which
    // `ort` never unloads.
    unsafe {
        let library = libloading::Library::new(library).ok()?;
        let base = library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase").ok()?;
        let base = base().as_ref()?;
        let version = std::ffi::CStr::from_ptr((base.GetVersionString)());
        version.to_str().ok().map(str::to_owned)
    }
}

/// libonnxruntime.so.1.24.1, libonnxruntime.1.24.1.dylib, onnxruntime.dll; not libonnxruntime_providers_shared.so.
fn is_library(name: &str) -> bool {
    let stem = name.strip_prefix("lib").unwrap_or(name);
    stem.strip_prefix("onnxruntime.")
        .is_some_and(|rest| ["so", "dylib", "dll"].iter().any(|end| rest.split('.').any(|part| part == *end)))
}

/// The library that a variable names, or the first of `folders` has.
pub fn find_library(folders: &[PathBuf]) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(LIBRARY_VARIABLE).filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        return match path.is_file() {
            true => fs::canonicalize(&path).map(usual_form).or(Ok(path)),
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
