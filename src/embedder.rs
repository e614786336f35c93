//! The whole story: a folder becomes an [`Embedder`], texts become rows of the caller's memory.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::batches::plan::{self, Batch, PaddedBatch, TokenRow};
use crate::batches::pool;
use crate::batches::prefix::Prefix;
use crate::error::{Error, Result};
use crate::interrupt::{Heed, proceed};
use crate::kernels::processor::Choice;
use crate::lowering::export::{self, ExportOptions};
use crate::options::{Arithmetic, EncodeOptions, Encoded, LoadOptions, check, thread_count};
use crate::sessions::open::open;
use crate::sessions::proof::{self, Proof};
use crate::sessions::provider;
use crate::sessions::runtime::Runtime;
use crate::sessions::session::{self, Session};
use crate::spec::Spec;
use crate::texts::tokenize::{Extent, NumberedText, TextTokenizer};
use crate::texts::window::{DistinctTexts, Tokenization, Window, for_each_window};

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
    session: Box<dyn Session>,
    arithmetic: Arithmetic,
    threads: usize,
    runtime: Runtime,
    shares_prompts: bool,
    /// Components of a vector before any cut.
    full_dimension: usize,
    dimension: usize,
    max_length: usize,
}

impl Embedder {
    /// Loads a model folder: what it says of itself, its tokenizer, a session on its graph.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let spec = Spec::read(folder, options.onnx_file.as_deref())?;
        let runtime = Runtime::load(&options.runtime_folders)?.with_copies(options.copies_weights);
        let threads = thread_count(options.threads)?;
        let plan = provider::choose(options.provider, options.arithmetic, &runtime.providers())?;
        plan.check(options, &spec.network)?;
        let narrow = spec.network.has_narrow_weights() && !options.copies_weights;
        let runtime = runtime.with_kernels(Choice::of(options.memory, options.arithmetic, narrow)?);
        // Reading the vocabulary and packing the weights each take tens of milliseconds: do both at once.
        let (tokenizer, session) = thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(TOKENIZER_STACK);
            let tokenizer = builder.spawn_scoped(scope, || TextTokenizer::load(&spec));
            let session = plan.on_cpu().map(|arithmetic| open(&spec, &runtime, arithmetic, threads));
            let tokenizer = match tokenizer {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => TextTokenizer::load(&spec), // no thread to be had
            };
            (tokenizer, session)
        });
        let tokenizer = tokenizer?;
        let session = match session {
            Some(session) => session?,
            None => {
                let ids = tokenizer.sample(proof::TEXT, spec.max_length.value);
                let proof = Proof::new(&spec, &runtime, threads, ids);
                provider::open_proven(&spec, &runtime, threads, plan, proof)?
            }
        };
        let mut embedder = Embedder {
            full_dimension: spec.head.outputs(session.facts().dimension)?,
            dimension: 0,
            max_length: spec.max_length.value,
            runtime,
            shares_prompts: !options.without_prompt_cache,
            spec,
            tokenizer,
            session,
            arithmetic: options.arithmetic,
            threads,
        };
        let (least, most) = (embedder.tokenizer.special_tokens() + 1, embedder.spec.network.max_positions());
        if least > most {
            let found = embedder.tokenizer.special_tokens().to_string();
            let supported = format!("fewer than the model's {most} positions");
            return Err(Error::unsupported(embedder.tokenizer.path(), "special tokens of a row", found, supported));
        }
        embedder.spec.max_length.between(least, most)?;
        embedder.dimension = embedder.full_dimension;
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

    /// The ONNX Runtime that it runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Where and how it runs.
    pub fn session(&self) -> &dyn Session {
        self.session.as_ref()
    }

    /// The call's `truncate_dim`, or what was loaded.
    pub fn checked_dimension(&self, truncate_dim: Option<usize>) -> Result<usize> {
        check("truncate_dim", truncate_dim.unwrap_or(self.dimension), 1, self.full_dimension, "the model's dimension")
    }

    fn checked_max_length(&self, max_length: Option<usize>) -> Result<usize> {
        let least = self.tokenizer.special_tokens() + 1;
        let most = self.spec.network.max_positions();
        check("max_length", max_length.unwrap_or(self.max_length), least, most, "the model's positions")
    }

    /// Encodes `texts` into `target`, (rows, dimension): each text's index is its row, and other rows stay as they are.
    /// `after_batch` is told how many rows each batch finished, between runs, and may stop the call. Equal texts are
    /// computed once.
    pub fn encode<'t>(
        &self,
        texts: impl ExactSizeIterator<Item = NumberedText<'t>>,
        options: &EncodeOptions,
        target: &mut [f32],
        after_batch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded> {
        let after_batch = RefCell::new(after_batch);
        let progress = |rows: usize| (after_batch.borrow_mut())(rows);
        // Texts that are too long are counted to their end only where an error is to say how long they are.
        let max_length = self.checked_max_length(options.max_length)?;
        let extent = Extent { max_length, counted: options.on_truncate.refuses() };
        let how = self.tokenization(&options.prompt, extent);
        let call = self.check_call(options, &how, &mut || progress(0))?;
        let (distinct, mut cut) = (DistinctTexts::of(texts)?, HashSet::new());
        for_each_window(&distinct.texts, &how, &mut || progress(0), |window| {
            cut.extend(window.truncated(max_length, options.on_truncate)?);
            proceed(progress(0))?; // an empty step: Ctrl-C is heard after tokenization too
            let runs = self.plan(&window.rows, &call, options.batch_size)?;
            let most_tokens = runs.iter().map(|(batch, _)| batch.rows.len() * batch.length).max().unwrap_or(0);
            runs.iter().enumerate().try_for_each(|(index, run)| {
                let last = index + 1 == runs.len() && most_tokens > KEPT_TOKENS;
                self.run_batch(run, last, &window, &call, &mut || progress(0), target)?;
                proceed(progress(run.0.rows.len()))
            })
        })?;
        for copies in distinct.copies.chunks(COPIES_AT_A_TIME) {
            for &(copy, first) in copies {
                target.copy_within(first * call.dimension..(first + 1) * call.dimension, copy * call.dimension);
            }
            proceed(progress(copies.len()))?;
        }
        let cut_copies = distinct.copies.iter().filter(|(_, first)| cut.contains(first));
        Ok(Encoded { truncated: cut.len() + cut_copies.count() })
    }

    /// The batches of a window, each with the prefix that its rows share, which may be empty.
    fn plan(&self, rows: &[TokenRow], call: &Call, batch_size: Option<usize>) -> Result<Vec<(Batch, Arc<Prefix>)>> {
        let limits = self.session.limits(batch_size, self.threads);
        let mut runs = Vec::new();
        for Group { prefix, rows: members } in self.groups(rows, call)? {
            let lengths: Vec<usize> = members.iter().map(|&row| rows[row].ids.len() - prefix.tokens.len()).collect();
            for mut batch in plan::plan(&lengths, limits) {
                batch.rows.iter_mut().for_each(|row| *row = members[*row]);
                runs.push((batch, Arc::clone(&prefix)));
            }
        }
        Ok(runs)
    }

    /// The rows of a window by the prefix that they share: at most one group that does, and the rest.
    fn groups(&self, rows: &[TokenRow], call: &Call) -> Result<Vec<Group>> {
        let shared = if self.shares_prompts { self.session.shared_prefix(rows, &call.prompt_tokens)? } else { None };
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
        (batch, prefix): &(Batch, Arc<Prefix>),
        frees_memory: bool,
        window: &Window<'_>,
        call: &Call,
        heed: &mut Heed<'_>,
        target: &mut [f32],
    ) -> Result<()> {
        let mut padded = PaddedBatch::gather(batch, &window.rows, prefix.tokens.len());
        padded.frees_memory = frees_memory;
        let mut not_finite = Vec::new();
        let how = session::Call { past: prefix, skipped: call.skipped_tokens, heed };
        self.session.run(&padded, how, |pooled| {
            let vectors = self.spec.head.apply(pooled, self.session.facts().dimension);
            for (&row, vector) in batch.rows.iter().zip(vectors.chunks_exact(self.full_dimension)) {
                let text_index = window.texts[row].0;
                let place = &mut target[text_index * call.dimension..][..call.dimension];
                if pool::finish_row(vector, call.normalize, place).is_err() {
                    not_finite.push(text_index);
                }
            }
        })?;
        if not_finite.is_empty() { Ok(()) } else { Err(Error::not_finite(self.spec.source(), not_finite)) }
    }

    fn check_call(&self, options: &EncodeOptions, how: &Tokenization<'_>, heed: &mut Heed<'_>) -> Result<Call> {
        if let Some(batch_size) = options.batch_size {
            check("batch_size", batch_size, 1, usize::MAX, "any number")?;
        }
        let prompt_tokens = how.prompt_tokens(heed)?;
        Ok(Call {
            dimension: self.checked_dimension(options.truncate_dim)?,
            normalize: options.normalize.unwrap_or(self.spec.normalize),
            skipped_tokens: if self.spec.include_prompt { 0 } else { prompt_tokens.len() },
            prompt_tokens,
        })
    }

    /// Writes the model's graph and weights as an ONNX file; returns the files.
    pub fn export(&self, path: &Path, options: &ExportOptions) -> Result<Vec<PathBuf>> {
        export::export(&self.spec, path, options, self.max_length)
    }

    /// Token ids as the model sees them: special tokens added, cut at `max_length`. `heed` may stop it.
    pub fn token_rows<T: AsRef<str>>(
        &self,
        texts: &[T],
        max_length: Option<usize>,
        heed: &mut Heed<'_>,
    ) -> Result<Vec<Vec<i32>>> {
        let extent = Extent { max_length: self.checked_max_length(max_length)?, counted: false };
        self.tokenization("", extent).ids(texts, heed)
    }

    /// Tokens of each text before any cut, special tokens included. `heed` may stop it.
    pub fn count_tokens<T: AsRef<str>>(&self, texts: &[T], heed: &mut Heed<'_>) -> Result<Vec<usize>> {
        self.tokenization("", Extent { max_length: self.max_length, counted: true }).counts(texts, heed)
    }

    fn tokenization<'t>(&'t self, prompt: &'t str, extent: Extent) -> Tokenization<'t> {
        Tokenization { tokenizer: &self.tokenizer, prompt, extent, threads: self.threads }
    }
}

/// The options of one call, checked.
struct Call {
    dimension: usize,
    normalize: bool,
    skipped_tokens: usize,
    prompt_tokens: Vec<i32>,
}

/// Rows that follow the same prefix, which may be empty.
struct Group {
    prefix: Arc<Prefix>,
    rows: Vec<usize>,
}
