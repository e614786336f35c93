//! What callers may ask for, how a call went, and the checks that numbers go through.

use std::path::PathBuf;
use std::thread;

use crate::error::{Error, Result};
use crate::graph::Arithmetic;
use crate::provider::Provider;

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
