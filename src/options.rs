//! What callers may ask for, how a call went, and the checks that numbers go through.

use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use crate::error::{Error, Result};

/// What runs the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// The CPU: no accelerator has been run yet by those who would have to answer for taking it unasked.
    #[default]
    Auto,
    /// ONNX Runtime's CPU provider.
    Cpu,
    /// NVIDIA's GPUs.
    Cuda,
    /// Apple's GPU and neural engine.
    CoreMl,
    /// CoreML's graphs and buckets on the CPU provider: for tests, on machines without CoreML.
    CoreMlOnCpu,
}

impl Provider {
    /// The name that callers use.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Auto => "auto",
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::CoreMl => "coreml",
            Provider::CoreMlOnCpu => "coreml-on-cpu",
        }
    }
}

impl FromStr for Provider {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        use Provider::{Auto, CoreMl, CoreMlOnCpu, Cpu, Cuda};
        let known = [Auto, Cpu, Cuda, CoreMl, CoreMlOnCpu].into_iter().find(|provider| provider.name() == name);
        known.ok_or_else(|| Error::Argument {
            argument: "provider",
            found: format!("{name:?}"),
            expected: "\"auto\", \"cpu\", \"coreml\" or \"cuda\"".to_owned(),
        })
    }
}

/// What runs graphs of fixed shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedShapes {
    /// CoreML.
    CoreMl,
    /// The CPU provider in its stead.
    CoreMlOnCpu,
}

impl FixedShapes {
    /// The provider that callers ask for.
    pub fn provider(self) -> Provider {
        match self {
            FixedShapes::CoreMl => Provider::CoreMl,
            FixedShapes::CoreMlOnCpu => Provider::CoreMlOnCpu,
        }
    }
}

/// What matrix products with weights are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// As the reference does.
    #[default]
    Float32,
    /// The whole graph, on providers that compute in it.
    Float16,
    /// Weights and activations rounded to bfloat16, their products added up in float32.
    Bfloat16,
    /// 8-bit steps, with a size for each block of inputs: see `kernels/quantized/`.
    Int8,
}

impl Arithmetic {
    /// The name that callers use.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Float32 => "float32",
            Arithmetic::Float16 => "float16",
            Arithmetic::Bfloat16 => "bfloat16",
            Arithmetic::Int8 => "int8",
        }
    }

    /// Whether weights are numbers with a fraction.
    pub fn is_float(self) -> bool {
        match self {
            Arithmetic::Float32 | Arithmetic::Float16 => true,
            Arithmetic::Bfloat16 | Arithmetic::Int8 => false,
        }
    }

    /// Refuses any other than float32, where nothing else can be: `reason` goes on with why.
    pub fn float32_alone(self, reason: &str) -> Result<()> {
        match self {
            Arithmetic::Float32 => Ok(()),
            Arithmetic::Int8 | Arithmetic::Bfloat16 | Arithmetic::Float16 => Err(Error::Argument {
                argument: "dtype",
                found: format!("{:?}", self.name()),
                expected: format!("\"float32\" for {reason}"),
            }),
        }
    }
}

/// What the weights of a checkpoint may take of the process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Memory {
    /// As much as is fastest: float32, packed for ONNX Runtime's kernels, or none, where ours are not behind.
    #[default]
    Fast,
    /// None: they are read where they lie in the mapped files, by kernels of ours.
    Low,
}

impl FromStr for Memory {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "fast" => Ok(Memory::Fast),
            "low" => Ok(Memory::Low),
            _ => Err(Error::Argument {
                argument: "memory",
                found: format!("{name:?}"),
                expected: "\"fast\" or \"low\"".to_owned(),
            }),
        }
    }
}

/// How an [`Embedder`](crate::embedder::Embedder) is loaded.
#[derive(Debug, Default)]
pub struct LoadOptions {
    /// Folders in which libonnxruntime is looked for.
    pub runtime_folders: Vec<PathBuf>,
    /// The ONNX file of the folder that is run instead of the checkpoint.
    pub onnx_file: Option<String>,
    /// What runs the graph.
    pub provider: Provider,
    /// What matrix products are computed in.
    pub arithmetic: Arithmetic,
    /// What the weights may take of it.
    pub memory: Memory,
    /// Reads the weights into memory instead of mapping their files.
    pub copies_weights: bool,
    /// Computes a shared prompt anew in every row.
    pub without_prompt_cache: bool,
    /// Replaces the checkpoint's limit; at most its position embeddings.
    pub max_length: Option<usize>,
    /// Keeps the first components of each vector.
    pub truncate_dim: Option<usize>,
    /// Threads of a run and of the tokenizer; by default what affinity and the cgroup's quota allow.
    pub threads: Option<usize>,
}

/// What to do with texts longer than `max_length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTruncate {
    /// Cut them; the count is in [`Encoded`].
    #[default]
    Cut,
    /// Refuse the call.
    Refuse,
}

impl OnTruncate {
    /// Whether a text that is too long ends the call, with its length.
    pub fn refuses(self) -> bool {
        match self {
            OnTruncate::Refuse => true,
            OnTruncate::Cut => false,
        }
    }
}

/// How one call encodes.
#[derive(Debug, Default)]
pub struct EncodeOptions {
    /// Put before every text.
    pub prompt: String,
    /// Rows of a run at most.
    pub batch_size: Option<usize>,
    /// Scale vectors to length 1; by default as the checkpoint says.
    pub normalize: Option<bool>,
    /// Keeps the first components of each vector; by default as loaded.
    pub truncate_dim: Option<usize>,
    /// Tokens of a row at most; by default as loaded.
    pub max_length: Option<usize>,
    /// What to do with longer texts.
    pub on_truncate: OnTruncate,
}

/// What a call did beside filling the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Texts that were cut at `max_length`.
    pub truncated: usize,
}

/// The value, where it lies between two others.
pub fn check(argument: &'static str, value: usize, least: usize, most: usize, limit: &str) -> Result<usize> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let expected =
        if most == usize::MAX { format!("at least {least}") } else { format!("{least} to {most} ({limit})") };
    Err(Error::Argument { argument, found: value.to_string(), expected })
}

/// The threads asked for, or what the machine allows this process.
pub fn thread_count(asked: Option<usize>) -> Result<usize> {
    // On Linux this heeds the affinity mask and the cgroup's CPU quota.
    let allowed = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    check("threads", asked.unwrap_or(allowed), 1, 1024, "more is never faster")
}
