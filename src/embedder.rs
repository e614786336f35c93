//! The whole story: a folder becomes an [`Embedder`], texts become rows of the caller's memory.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use crate::batch::{self, Batch, Limits, PaddedBatch};
use crate::engine::{Engine, Report};
use crate::error::{Error, Result};
use crate::graph::Arithmetic;
use crate::model::Spec;
use crate::onnx_file::{self, ExportOptions};
use crate::options::{EncodeOptions, Encoded, LoadOptions, check, thread_count};
use crate::pool;
use crate::prefix::Prefix;
use crate::provider::{self, Provider};
use crate::runtime::Runtime;
use crate::tokenize::{NumberedText, TextTokenizer, TokenRow};
use crate::window::{DistinctTexts, Tokenization, Window, for_each_window};

/// Stack for reading tokenizer.json: its regular expressions are parsed by recursion, thousands of levels where a file
/// asks for it.
const TOKENIZER_STACK: usize = 64 << 20;

/// Tokens of a run up to which the memory of its intermediate values is kept for the next one (a few MiB). A window of
/// texts that needed more gives it back with its last run: a process that embeds now and then should not hold the memory
/// of its largest call, and one short text should not pay for taking it again.
const KEPT_TOKENS: usize = 256;

/// Rows copied between two looks at Ctrl-C.
const COPIES_AT_A_TIME: usize = 4096;

/// One loaded model. Any number of threads may call it.
pub struct Embedder {
    spec: Spec,
    tokenizer: TextTokenizer,
    engine: Engine,
    arithmetic: Arithmetic,
    threads: usize,
    runtime: Runtime,
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
        let accelerator = provider::choose(options.provider, options.arithmetic, &runtime)?;
        // Reading the vocabulary and packing the weights each take tens of milliseconds: do both at once.
        let (tokenizer, engine) = thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(TOKENIZER_STACK);
            let tokenizer = builder.spawn_scoped(scope, || TextTokenizer::load(&spec));
            let engine = accelerator.is_none().then(|| Engine::open(&spec, &runtime, options.arithmetic, threads));
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
                let chosen = (accelerator.unwrap_or(options.provider), options.arithmetic);
                let most = spec.max_length.value.max(tokenizer.special_tokens() + 1);
                // A tokenizer that does not belong to the table fails on the texts it fails on, not here.
                let rows = tokenizer.rows(&[(0, provider::PROOF_TEXT)], "", most, 1, &AtomicBool::new(false)).ok();
                let proof = rows.and_then(|rows| rows.into_iter().next()).map_or_else(|| vec![0], |row| row.ids);
                let may_fall_back = options.provider == Provider::Auto;
                provider::open_proven(&spec, &runtime, threads, chosen, &proof, may_fall_back)?
            }
        };
        let mut embedder = Embedder {
            dimension: engine.dimension(),
            max_length: spec.max_length.value,
            runtime,
            shares_prompts: !options.without_prompt_cache,
            spec,
            tokenizer,
            engine,
            arithmetic: options.arithmetic,
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

    /// What matrix products are computed in.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
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

    /// The provider that runs it.
    pub fn provider(&self) -> Provider {
        self.engine.provider()
    }

    /// Where and how it runs.
    pub fn report(&self) -> Report {
        self.engine.report()
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
    /// told how many rows each batch finished, between runs, and may stop the call. Equal texts are computed once.
    pub fn encode<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        options: &EncodeOptions,
        target: &mut [f32],
        after_batch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded> {
        let call = self.check_call(options)?;
        let distinct = DistinctTexts::of(texts);
        let mut cut = HashSet::new();
        let how = Tokenization {
            tokenizer: &self.tokenizer,
            prompt: &options.prompt,
            max_length: call.max_length,
            threads: self.threads,
        };
        for_each_window(&distinct.texts, &how, |window| {
            cut.extend(window.truncated(call.max_length, options.on_truncate)?);
            // An empty step: Ctrl-C is heard after tokenization too.
            proceed(after_batch(0))?;
            let mut runs = self.plan(&window.rows, &call, options.batch_size)?.into_iter().peekable();
            let mut most_tokens = 0;
            while let Some((batch, prefix)) = runs.next() {
                most_tokens = most_tokens.max(batch.rows.len() * batch.length);
                let last = runs.peek().is_none() && most_tokens > KEPT_TOKENS;
                self.run_batch(&batch, &prefix, last, &window, &call, target)?;
                proceed(after_batch(batch.rows.len()))?;
            }
            Ok(())
        })?;
        for copies in distinct.copies.chunks(COPIES_AT_A_TIME) {
            for &(copy, first) in copies {
                target.copy_within(first * call.dimension..(first + 1) * call.dimension, copy * call.dimension);
            }
            proceed(after_batch(copies.len()))?;
        }
        let copies = distinct.copies.iter().filter(|(_, first)| cut.contains(first)).count();
        Ok(Encoded { truncated: cut.len() + copies })
    }

    /// The batches of a window, each with the prefix that its rows share, which may be empty.
    fn plan(&self, rows: &[TokenRow], call: &Call, batch_size: Option<usize>) -> Result<Vec<(Batch, Arc<Prefix>)>> {
        let limits = Limits {
            token_budget: batch::TOKEN_BUDGET,
            max_rows: self.engine.rows_per_run(batch_size),
            threads: self.threads,
        };
        let mut runs = Vec::new();
        for Group { prefix, rows: members } in self.groups(rows, call)? {
            let lengths: Vec<usize> = members.iter().map(|&row| rows[row].ids.len() - prefix.tokens.len()).collect();
            for mut batch in batch::plan(&lengths, limits) {
                batch.rows.iter_mut().for_each(|row| *row = members[*row]);
                runs.push((batch, Arc::clone(&prefix)));
            }
        }
        Ok(runs)
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
        batch: &Batch,
        prefix: &Prefix,
        frees_memory: bool,
        window: &Window<'_>,
        call: &Call,
        target: &mut [f32],
    ) -> Result<()> {
        let mut padded = PaddedBatch::gather(batch, &window.rows, prefix.tokens.len());
        padded.frees_memory = frees_memory;
        self.engine.run(&padded, prefix, call.skipped_tokens, |pooled| {
            for (&row, vector) in batch.rows.iter().zip(pooled.chunks_exact(self.engine.dimension())) {
                let place = window.texts[row].0 * call.dimension;
                pool::finish_row(vector, call.normalize, &mut target[place..][..call.dimension]);
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
        let numbered: Vec<NumberedText<'_>> = texts.iter().map(AsRef::as_ref).enumerate().collect();
        self.tokenizer.rows(&numbered, "", max_length, self.threads, &AtomicBool::new(false))
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

fn proceed(flow: ControlFlow<()>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Interrupted),
    }
}
