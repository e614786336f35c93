//! ONNX Runtime: loaded once per process from the installed wheel (`library.rs` finds it), and sessions opened on it.
//! Refused: a library that is missing, broken or too old, with every place looked at.

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
use crate::ending::Turn;
use crate::error::{Error, Result};
use crate::kernels::processor::{self, Choice};
use crate::kernels::quantized::multiplier::Multiplier;
use crate::kernels::quantized::weights::QuantizedMatrix;
use crate::lowering::onnx::builder::Operators;
use crate::lowering::onnx::folding::FloatType;
use crate::memory;
use crate::options::{Arithmetic, FixedShapes, Provider};
use crate::sessions::library::{find_library, library_version, loader_message};
use crate::sessions::operators;

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
            Choice::Attention(_) => Operators::OwnAttention,
            Choice::OnnxRuntime => Operators::Usual,
        }
    }

    /// What the kernels of its sessions are written for in this arithmetic, or whose they are.
    pub fn kernels(&self, arithmetic: Arithmetic) -> String {
        let products = |path: processor::Path| match arithmetic {
            Arithmetic::Int8 => Multiplier::of(path).name(),
            Arithmetic::Float32 | Arithmetic::Float16 | Arithmetic::Bfloat16 => path.name(),
        };
        match self.kernels {
            Choice::Kernels(path) => products(path).to_owned(),
            Choice::Attention(path) => format!("{}, attention {}", Choice::ONNX_RUNTIME, path.name()),
            Choice::OnnxRuntime => Choice::ONNX_RUNTIME.to_owned(),
        }
    }

    /// Who multiplies the quantized matrices of its sessions; without kernels of ours there are none.
    pub fn multiplier(&self) -> Option<Multiplier> {
        match self.kernels {
            Choice::Kernels(path) | Choice::Attention(path) => Some(Multiplier::of(path)),
            Choice::OnnxRuntime => None,
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
        made: Made,
        copies: &[Copy],
        threads: usize,
    ) -> Result<Session, ort::Error> {
        let folder = utf8(data_folder)?;
        let mut builder = with_copies(self.builder(threads, GraphOptimizationLevel::Level1)?, copies)?
            .with_config_entry("session.model_external_initializers_file_folder_path", folder)?;
        match self.kernels {
            Choice::Kernels(path) | Choice::Attention(path) => {
                builder = builder.with_operators(operators::domain(path, made.quantized)?)?
            }
            Choice::OnnxRuntime => {}
        }
        for initializer in made.given {
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

/// Weights that were made at load: for our operators, and for the graph.
pub struct Made {
    /// By the numbers that the nodes have for them.
    pub quantized: Vec<QuantizedMatrix>,
    /// By name.
    pub given: Vec<Initializer>,
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
