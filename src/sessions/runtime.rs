//! Folders in, ONNX Runtime out: finds libonnxruntime in the installed wheel, loads it once per process, and opens
//! sessions on it. Refused: a library that is missing, broken or too old, with every place looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ort::environment::Environment;
use ort::ep::coreml::{ComputeUnits, ModelFormat};
use ort::ep::{self, ExecutionProvider};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};

use crate::checkpoint::held::Copy;
use crate::checkpoint::windows_path::usual_form;
use crate::ending::Turn;
use crate::error::{Error, Result};
use crate::kernels::processor::Choice;
use crate::lowering::onnx::builder::Operators;
use crate::lowering::onnx::folding::FloatType;
use crate::memory;
use crate::options::{FixedShapes, Provider};
use crate::sessions::operators;

/// Names a library file instead of the wheel's, as the `ort` crate's own users know it.
const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// The loaded library, at most one per process: ONNX Runtime allows one environment, and `ort` one library.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// ONNX Runtime, loaded.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
    version: String,
    cuda: bool,
    copies_weights: bool,
    kernels: Choice,
}

impl Runtime {
    /// The process's ONNX Runtime, loaded from the first of `folders` that has it.
    pub fn load(folders: &[PathBuf]) -> Result<Self> {
        let _turn = Turn::take();
        let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            return Ok(runtime.clone());
        }
        let library = find_library(folders)?;
        let refusal = |error: &dyn std::error::Error| {
            let problem = format!("{error}{}", loader_message(&library).unwrap_or_default());
            match memory::is_said_in(&problem) {
                true => Error::Memory { purpose: "to load ONNX Runtime".to_owned(), source: problem.into() },
                false => Error::Runtime { problem, looked_in: library.display().to_string() },
            }
        };
        let environment = ort::init_from(&library)
            .map_err(|error| refusal(&error))?
            .with_name("ironvec")
            .with_telemetry(false)
            .build()
            .map_err(|error| refusal(&error))?;
        environment.set_log_level(LogLevel::Error);
        let version = library_version(&library).unwrap_or_else(|| "unknown".to_owned());
        let runtime =
            Runtime { environment, library, version, cuda: false, copies_weights: false, kernels: Choice::OnnxRuntime };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The library file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// ONNX Runtime's version, as the library tells it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The same library, whose sessions run on the first NVIDIA GPU.
    pub fn on_cuda(&self) -> Self {
        Runtime { cuda: true, kernels: Choice::OnnxRuntime, ..self.clone() }
    }

    /// The same library, whose sessions hold copies of their weights instead of mapping files.
    pub fn with_copies(&self, copies_weights: bool) -> Self {
        Runtime { copies_weights, ..self.clone() }
    }

    /// The same library, whose sessions compute with kernels of ours where they were chosen.
    pub fn with_kernels(&self, kernels: Choice) -> Self {
        Runtime { kernels, ..self.clone() }
    }

    /// Whose operators the graphs of its sessions may have.
    pub fn operators(&self) -> Operators {
        match self.kernels {
            Choice::Kernels(_) => Operators::Own,
            Choice::OnnxRuntime => Operators::Usual,
        }
    }

    /// What the kernels of its sessions are written for, or whose they are.
    pub fn kernels(&self) -> &'static str {
        match self.kernels {
            Choice::Kernels(path) => path.name(),
            Choice::OnnxRuntime => "onnxruntime",
        }
    }

    /// Whether sessions hold copies of their weights.
    pub fn copies_weights(&self) -> bool {
        self.copies_weights
    }

    /// What sessions of this runtime run on.
    pub fn provider(&self) -> Provider {
        if self.cuda { Provider::Cuda } else { Provider::Cpu }
    }

    /// The providers that may be asked for. That the library has one says nothing of the machine's hardware.
    pub fn providers(&self) -> Vec<Provider> {
        let mut there = vec![Provider::Auto, Provider::Cpu];
        let compiled_in = [(Provider::Cuda, ep::CUDA::is_available()), (Provider::CoreMl, ep::CoreML::is_available())];
        there.extend(compiled_in.into_iter().filter(|(_, there)| matches!(there, Ok(true))).map(|(name, _)| name));
        there
    }

    /// Opens a session on a graph of fixed shape, exactly as it is written: on CoreML, which must take all of it, or on
    /// the CPU provider in its stead.
    pub fn open_static(
        &self,
        path: &Path,
        threads: usize,
        provider: FixedShapes,
        element: FloatType,
    ) -> Result<Session, ort::Error> {
        // Even the basic optimisations join MatMul and Add to a Gemm whose weight CoreML writes into the model's text.
        let mut builder = self.builder(threads, GraphOptimizationLevel::Disable)?;
        match provider {
            FixedShapes::CoreMlOnCpu => return builder.commit_from_file(path),
            FixedShapes::CoreMl => {}
        }
        let units = match element {
            FloatType::Float16 => ComputeUnits::CPUAndNeuralEngine,
            FloatType::Float32 => ComputeUnits::CPUAndGPU,
        };
        let coreml = ep::CoreML::default()
            .with_model_format(ModelFormat::MLProgram)
            .with_static_input_shapes(true)
            .with_compute_units(units)
            .with_model_cache_dir(utf8(path.parent().unwrap_or(Path::new(".")))?)
            .build()
            .error_on_failure();
        builder.with_execution_providers([coreml])?.with_disable_cpu_fallback()?.commit_from_file(path)
    }

    /// Opens a session on a model in memory whose external data lies in `data_folder`, or in `copies`, which must outlive
    /// it. Its graph is ours and fused where that pays: only constants are folded, for the runtime's own fusions would undo
    /// choices that were measured.
    pub fn open(
        &self,
        model: &[u8],
        data_folder: &Path,
        given: Vec<Initializer>,
        copies: &[Copy],
        threads: usize,
    ) -> Result<Session, ort::Error> {
        let folder = utf8(data_folder)?;
        let mut builder = with_copies(self.builder(threads, GraphOptimizationLevel::Level1)?, copies)?
            .with_config_entry("session.model_external_initializers_file_folder_path", folder)?;
        match self.kernels {
            Choice::Kernels(path) => builder = builder.with_operators(operators::domain(path)?)?,
            Choice::OnnxRuntime => {}
        }
        for initializer in given {
            builder = builder.with_external_initializer(initializer.name, initializer.value)?;
        }
        builder.commit_from_memory(model)
    }

    /// Opens a session on an ONNX file; its external data lies beside it, or in `copies`, which must outlive the session.
    pub fn open_file(&self, path: &Path, copies: &[Copy], threads: usize) -> Result<Session, ort::Error> {
        with_copies(self.builder(threads, GraphOptimizationLevel::All)?, copies)?.commit_from_file(path)
    }

    /// Opens a session that is not to be run but to tell the shapes of its outputs. External data is in `data_folder`.
    pub fn open_for_shapes(&self, model: &[u8], data_folder: &Path) -> Result<Session, ort::Error> {
        let folder = utf8(data_folder)?;
        // Folding constants makes more shapes known; in 1.21, inference alone does not look through `Shape`.
        self.builder(1, GraphOptimizationLevel::Level1)?
            .with_config_entry("session.model_external_initializers_file_folder_path", folder)?
            .commit_from_memory(model)
    }

    fn builder(&self, threads: usize, level: GraphOptimizationLevel) -> Result<SessionBuilder, ort::Error> {
        let mut builder = Session::builder(&self.environment)?;
        if self.cuda {
            builder = builder.with_execution_providers([ep::CUDA::default().build().error_on_failure()])?;
        }
        Ok(builder
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            .with_optimization_level(level)?
            // Shapes differ from batch to batch: plans kept per shape would only grow.
            .with_memory_pattern(false)?
            // Threads may spin within a run, not between runs: an idle Embedder costs nothing.
            .with_config_entry("session.force_spinning_stop", "1")?
            .with_log_level(LogLevel::Error)?)
    }
}

fn with_copies(builder: SessionBuilder, copies: &[Copy]) -> Result<SessionBuilder, ort::Error> {
    let add = |builder: SessionBuilder, (name, bytes): &Copy| {
        Ok(builder.with_external_initializer_file_in_memory(name, Arc::clone(bytes))?)
    };
    copies.iter().try_fold(builder, add)
}

/// A weight that is given to a session rather than read from a file.
pub struct Initializer {
    name: String,
    value: DynValue,
}

impl Initializer {
    /// A tensor under the name that the graph has for it.
    pub fn new<T, const RANK: usize>(name: String, shape: [usize; RANK], values: Vec<T>) -> Result<Self, ort::Error>
    where
        T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
    {
        Ok(Initializer { name, value: Tensor::from_array((shape, values))?.into_dyn() })
    }
}

/// A folder as ONNX Runtime takes it within its settings: as text.
fn utf8(folder: &Path) -> Result<&str, ort::Error> {
    let refusal = || format!("{}: its name is not UTF-8, which ONNX Runtime needs", folder.display());
    folder.to_str().ok_or_else(|| ort::Error::new(refusal()))
}

/// Why the system does not load the library, if it does not: `ort` says only that it failed.
fn loader_message(library: &Path) -> Option<String> {
    // SAFETY: `ort` has tried the same before, with the same initialisers; a library that loads now is closed again.
    let error = unsafe { libloading::Library::new(library) }.err()?;
    std::error::Error::source(&error).map(|reason| format!(" ({reason})"))
}

/// What `OrtGetApiBase()->GetVersionString()` says; the library is loaded already, so this only counts one more user.
fn library_version(library: &Path) -> Option<String> {
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

fn find_library(folders: &[PathBuf]) -> Result<PathBuf> {
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
