//! The whole story: a folder becomes an [`Embedder`], texts become rows of the caller's memory.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::batch::{self, PaddedBatch};
use crate::engine::{Engine, Report};
use crate::error::{Error, Result};
use crate::graph::proto::ElementType;
use crate::model::Spec;
use crate::onnx_file::{self, ExportOptions};
use crate::pool;
use crate::prefix::Prefix;
use crate::provider::{self, Provider};
use crate::runtime::Runtime;
use crate::tokenize::{TextTokenizer, TokenRow};

/// Texts tokenized and sorted at a time: enough for batches of equal length, few enough that a million texts never hold
/// a million token rows.
const WINDOW_TEXTS: usize = 8192;
/// Bytes of text after which a window ends early, so that long documents keep the memory and the reply to Ctrl-C small.
const WINDOW_BYTES: usize = 1 << 20;

/// Stack for reading tokenizer.json: its regular expressions are parsed by recursion, thousands of levels where a file
/// asks for it.
const TOKENIZER_STACK: usize = 64 << 20;

/// How an [`Embedder`] is loaded.
#[derive(Debug, Default)]
pub struct LoadOptions {
    /// Folders in which libonnxruntime is looked for.
    pub runtime_folders: Vec<PathBuf>,
    /// The ONNX file of the folder that is run instead of the checkpoint.
    pub onnx_file: Option<String>,
    /// Computes a shared prompt anew in every row.
    pub without_prompt_cache: bool,
    /// Replaces the checkpoint's limit; at most its position embeddings.
    pub max_length: Option<usize>,
    /// Keeps the first components of each vector.
    pub truncate_dim: Option<usize>,
    /// Threads of a run and of the tokenizer; by default what affinity and the cgroup's quota allow.
    pub threads: Option<usize>,
    /// What runs the graph.
    pub provider: Provider,
    /// What it computes in: float32, or float16 where the provider does.
    pub dtype: Option<ElementType>,
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

/// One loaded model. Any number of threads may call it.
pub struct Embedder {
    spec: Spec,
    tokenizer: TextTokenizer,
    engine: Engine,
    threads: usize,
    runtime: Runtime,
    dtype: ElementType,
    shares_prompts: bool,
    dimension: usize,
    max_length: usize,
}

impl Embedder {
    /// Loads a model folder: what it says of itself, its tokenizer, a session on its graph.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let spec = Spec::read(folder, options.onnx_file.as_deref())?;
        let runtime = Runtime::load(&options.runtime_folders)?;
        let threads = thread_count(options.threads)?;
        let dtype = options.dtype.unwrap_or(ElementType::Float32);
        let accelerator = provider::choose(options.provider, dtype, &runtime)?;
        // Reading the vocabulary and packing the weights each take tens of milliseconds: do both at once.
        let (tokenizer, engine) = thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(TOKENIZER_STACK);
            let tokenizer = builder.spawn_scoped(scope, || TextTokenizer::load(&spec));
            let engine = accelerator.is_none().then(|| Engine::open(&spec, &runtime, threads));
            let tokenizer = match tokenizer {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => TextTokenizer::load(&spec), // no thread to be had
            };
            (tokenizer, engine)
        });
        let tokenizer = tokenizer?;
        let engine = match (engine, accelerator) {
            (Some(engine), _) => engine?,
            (None, accelerator) => {
                let chosen = (accelerator.unwrap_or(options.provider), dtype);
                let most = spec.max_length.value.max(tokenizer.special_tokens() + 1);
                // A tokenizer that does not belong to the table fails on the texts it fails on, not here.
                let rows = tokenizer.rows(&[provider::PROOF_TEXT], "", most, 1, 0).ok();
                let proof = rows.and_then(|rows| rows.into_iter().next()).map_or_else(|| vec![0], |row| row.ids);
                let may_fall_back = options.provider == Provider::Auto;
                provider::open_proven(&spec, &runtime, threads, chosen, &proof, may_fall_back)?
            }
        };
        let mut embedder = Embedder {
            dimension: engine.dimension(),
            max_length: spec.max_length.value,
            dtype,
            runtime,
            shares_prompts: !options.without_prompt_cache,
            spec,
            tokenizer,
            engine,
            threads,
        };
        let (least, most) = (embedder.tokenizer.special_tokens() + 1, embedder.spec.architecture.max_positions());
        if least > most {
            let found = embedder.tokenizer.special_tokens().to_string();
            let supported = format!("fewer than the model's {most} positions");
            return Err(Error::unsupported(embedder.tokenizer.path(), "special tokens of a row", found, supported));
        }
        embedder.spec.max_length.between(least, most)?;
        if let Some(kept) = &embedder.spec.truncate_dim {
            embedder.dimension = kept.between(1, embedder.dimension)?;
        }
        embedder.dimension = embedder.checked_dimension(options.truncate_dim)?;
        embedder.max_length = embedder.checked_max_length(options.max_length)?;
        Ok(embedder)
    }

    /// What the checkpoint says of itself.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Components of a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Tokens of a row at most.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Threads of a run.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The pooling in sentence-transformers' names.
    pub fn pooling_name(&self) -> String {
        self.engine.pooling_name()
    }

    /// The ONNX Runtime that it runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Where and how it runs.
    pub fn report(&self) -> Report {
        self.engine.report()
    }

    /// What it computes in.
    pub fn dtype(&self) -> ElementType {
        self.dtype
    }

    /// The call's `truncate_dim`, or what was loaded.
    pub fn checked_dimension(&self, truncate_dim: Option<usize>) -> Result<usize> {
        let full = self.engine.dimension();
        check("truncate_dim", truncate_dim.unwrap_or(self.dimension), 1, full, "the model's dimension")
    }

    fn checked_max_length(&self, max_length: Option<usize>) -> Result<usize> {
        let least = self.tokenizer.special_tokens() + 1;
        let most = self.spec.architecture.max_positions();
        check("max_length", max_length.unwrap_or(self.max_length), least, most, "the model's positions")
    }

    /// Encodes `texts` into `target`, (texts, dimension) one row after the other in the order given. `after_batch` is
    /// told how many rows each batch finished, between runs, and may stop the call.
    pub fn encode<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        options: &EncodeOptions,
        target: &mut [f32],
        after_batch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded> {
        let call = self.check_call(options)?;
        let rows_per_run = self.engine.rows_per_run(options.batch_size);
        let mut encoded = Encoded::default();
        let mut first = 0;
        while first < texts.len() {
            let window = window(&texts[first..]);
            let rows = self.tokenizer.rows(window, &options.prompt, call.max_length, self.threads(), first)?;
            encoded.truncated += count_truncated(&rows, call.max_length, options.on_truncate, first)?;
            let slots = &mut target[first * call.dimension..][..window.len() * call.dimension];
            // An empty step: Ctrl-C is heard after tokenization too.
            proceed(after_batch(0))?;
            for group in self.groups(&rows, &call)? {
                let lengths: Vec<usize> = group.rows.iter().map(|&row| rows[row].ids.len() - group.shared()).collect();
                for mut batch in batch::plan(&lengths, batch::TOKEN_BUDGET, rows_per_run) {
                    batch.rows.iter_mut().for_each(|row| *row = group.rows[*row]);
                    self.run_batch(&batch, &rows, &group.prefix, &call, slots)?;
                    proceed(after_batch(batch.rows.len()))?;
                }
            }
            first += window.len();
        }
        Ok(encoded)
    }

    /// The rows of a window by the prefix that they share: at most one group that does, and the rest.
    fn groups(&self, rows: &[TokenRow], call: &Call) -> Result<Vec<Group>> {
        let shared = if self.shares_prompts { self.engine.shared_prefix(rows, &call.prompt_tokens)? } else { None };
        let Some((prefix, shared)) = shared else {
            return Ok(vec![Group { prefix: Arc::default(), rows: (0..rows.len()).collect() }]);
        };
        let members: HashSet<usize> = shared.rows.iter().copied().collect();
        let rest = (0..rows.len()).filter(|row| !members.contains(row)).collect();
        Ok(vec![Group { prefix, rows: shared.rows }, Group { prefix: Arc::default(), rows: rest }])
    }

    /// Runs one batch and writes its rows where they belong.
    fn run_batch(
        &self,
        batch: &batch::Batch,
        rows: &[TokenRow],
        prefix: &Prefix,
        call: &Call,
        slots: &mut [f32],
    ) -> Result<()> {
        let padded = PaddedBatch::gather(batch, rows, prefix.tokens.len());
        self.engine.run(&padded, prefix, call.skipped_tokens, |pooled| {
            for (&row, vector) in batch.rows.iter().zip(pooled.chunks_exact(self.engine.dimension())) {
                let slot = &mut slots[row * call.dimension..][..call.dimension];
                pool::finish_row(vector, call.normalize, slot);
            }
        })
    }

    fn check_call(&self, options: &EncodeOptions) -> Result<Call> {
        if let Some(batch_size) = options.batch_size {
            check("batch_size", batch_size, 1, usize::MAX, "any number")?;
        }
        let max_length = self.checked_max_length(options.max_length)?;
        let prompt_tokens = self.tokenizer.prompt_tokens(&options.prompt, max_length)?;
        Ok(Call {
            dimension: self.checked_dimension(options.truncate_dim)?,
            max_length,
            normalize: options.normalize.unwrap_or(self.spec.normalize),
            skipped_tokens: if self.spec.include_prompt { 0 } else { prompt_tokens.len() },
            prompt_tokens,
        })
    }

    /// Writes the model's graph and weights as an ONNX file; returns the files.
    pub fn export(&self, path: &Path, options: &ExportOptions) -> Result<Vec<PathBuf>> {
        onnx_file::export(&self.spec, path, options, self.max_length)
    }

    /// Token ids as the model sees them: special tokens added, cut at `max_length`.
    pub fn token_rows<T: AsRef<str> + Sync>(&self, texts: &[T], max_length: Option<usize>) -> Result<Vec<TokenRow>> {
        let max_length = self.checked_max_length(max_length)?;
        self.tokenizer.rows(texts, "", max_length, self.threads(), 0)
    }
}

/// The options of one call, checked.
struct Call {
    dimension: usize,
    max_length: usize,
    normalize: bool,
    skipped_tokens: usize,
    prompt_tokens: Vec<i32>,
}

/// Rows that follow the same prefix, which may be empty.
struct Group {
    prefix: Arc<Prefix>,
    rows: Vec<usize>,
}

impl Group {
    fn shared(&self) -> usize {
        self.prefix.tokens.len()
    }
}

fn check(argument: &'static str, value: usize, least: usize, most: usize, limit: &str) -> Result<usize> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let expected =
        if most == usize::MAX { format!("at least {least}") } else { format!("{least} to {most} ({limit})") };
    Err(Error::Argument { argument, found: value.to_string(), expected })
}

fn thread_count(asked: Option<usize>) -> Result<usize> {
    // On Linux this heeds the affinity mask and the cgroup's CPU quota.
    let allowed = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    check("threads", asked.unwrap_or(allowed), 1, 1024, "more is never faster")
}

/// The texts of the next window: at least one.
fn window<T: AsRef<str>>(texts: &[T]) -> &[T] {
    let mut bytes = 0;
    let fitting = texts.iter().take(WINDOW_TEXTS).take_while(|text| {
        let fits = bytes < WINDOW_BYTES;
        bytes += text.as_ref().len();
        fits
    });
    &texts[..fitting.count()]
}

fn count_truncated(rows: &[TokenRow], max_length: usize, on_truncate: OnTruncate, first: usize) -> Result<usize> {
    let mut count = 0;
    for (offset, row) in rows.iter().enumerate().filter(|(_, row)| row.full_length > max_length) {
        if on_truncate == OnTruncate::Refuse {
            return Err(Error::TextTooLong { text_index: first + offset, tokens: row.full_length, max_length });
        }
        count += 1;
    }
    Ok(count)
}

fn proceed(flow: ControlFlow<()>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_bounded_in_texts_and_bytes() {
        assert_eq!(window(&vec!["a"; 20_000]).len(), WINDOW_TEXTS);
        let quarter = "x".repeat(WINDOW_BYTES / 4);
        assert_eq!(window(&[quarter.as_str(); 10]).len(), 4);
        assert_eq!(window(&["y".repeat(10 << 20), "z".to_owned()]).len(), 1);
        assert_eq!(window::<&str>(&[]).len(), 0);
    }
}
