//! The whole story: a folder becomes an [`Embedder`], texts become rows of the caller's memory.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;

use crate::batch::{self, PaddedBatch};
use crate::error::{Error, Result};
use crate::graph;
use crate::model::Spec;
use crate::pool;
use crate::runtime::Runtime;
use crate::session::EncoderSession;
use crate::tokenize::{TextTokenizer, TokenRow};
use crate::weights::Weights;

/// Texts tokenized and sorted at a time: enough for batches of equal length, few enough that a million texts never hold
/// a million token rows.
const WINDOW_TEXTS: usize = 8192;
/// Bytes of text after which a window ends early, so that long documents keep the memory and the reply to Ctrl-C small.
const WINDOW_BYTES: usize = 4 << 20;

/// How an [`Embedder`] is loaded.
#[derive(Debug, Default)]
pub struct LoadOptions {
    /// Folders in which libonnxruntime is looked for.
    pub runtime_folders: Vec<PathBuf>,
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

/// One loaded model. Any number of threads may call it.
pub struct Embedder {
    spec: Spec,
    tokenizer: TextTokenizer,
    session: EncoderSession,
    runtime_library: PathBuf,
    dimension: usize,
    max_length: usize,
}

impl Embedder {
    /// Loads a checkpoint folder: what it says of itself, where its weights lie, the graph over them, a session.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let spec = Spec::read(folder)?;
        let runtime = Runtime::load(&options.runtime_folders)?;
        let weights = Weights::open(&spec.folder)?;
        let model = graph::synthesize(&spec, &weights)?;
        let threads = thread_count(options.threads)?;
        // Reading the vocabulary and packing the weights each take tens of milliseconds: do both at once.
        let (tokenizer, session) = thread::scope(|scope| {
            let tokenizer = scope.spawn(|| TextTokenizer::load(&spec));
            let session = EncoderSession::open(&runtime, &model, weights.data_folder(), threads, spec.pooling.len());
            (tokenizer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), session)
        });
        let (tokenizer, session) = (tokenizer?, session?);
        let mut embedder = Embedder {
            dimension: spec.dimension(),
            max_length: spec.max_length,
            runtime_library: runtime.library().to_owned(),
            spec,
            tokenizer,
            session,
        };
        embedder.dimension = embedder.checked_dimension(options.truncate_dim.or(embedder.spec.truncate_dim))?;
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
        self.session.threads()
    }

    /// ONNX Runtime's library file.
    pub fn runtime_library(&self) -> &Path {
        &self.runtime_library
    }

    /// The call's `truncate_dim`, or what was loaded.
    pub fn checked_dimension(&self, truncate_dim: Option<usize>) -> Result<usize> {
        let full = self.spec.dimension();
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
        let mut encoded = Encoded::default();
        let mut first = 0;
        while first < texts.len() {
            let window = window(&texts[first..]);
            let rows = self.tokenizer.rows(window, &options.prompt, call.max_length, self.threads(), first)?;
            encoded.truncated += count_truncated(&rows, call.max_length, options.on_truncate, first)?;
            let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
            let slots = &mut target[first * call.dimension..][..window.len() * call.dimension];
            // An empty window step: Ctrl-C is heard after tokenization too.
            proceed(after_batch(0))?;
            for batch in batch::plan(&lengths, batch::TOKEN_BUDGET, options.batch_size) {
                self.run_batch(&batch, &rows, &call, slots)?;
                proceed(after_batch(batch.rows.len()))?;
            }
            first += window.len();
        }
        Ok(encoded)
    }

    /// Runs one batch and writes its rows where they belong.
    fn run_batch(&self, batch: &batch::Batch, rows: &[TokenRow], call: &Call, slots: &mut [f32]) -> Result<()> {
        let padded = PaddedBatch::gather(batch, rows);
        let pooling = pool::pooling_inputs(&self.spec.pooling, &padded, call.skipped_tokens);
        self.session.run(&padded, &pooling, |pooled| {
            for (&row, vector) in batch.rows.iter().zip(pooled.chunks_exact(self.spec.dimension())) {
                let slot = &mut slots[row * call.dimension..][..call.dimension];
                pool::finish_row(vector, call.normalize, slot);
            }
        })
    }

    fn check_call(&self, options: &EncodeOptions) -> Result<Call> {
        let excluded = !self.spec.include_prompt && !options.prompt.is_empty();
        if let Some(batch_size) = options.batch_size {
            check("batch_size", batch_size, 1, usize::MAX, "any number")?;
        }
        let max_length = self.checked_max_length(options.max_length)?;
        Ok(Call {
            dimension: self.checked_dimension(options.truncate_dim)?,
            max_length,
            normalize: options.normalize.unwrap_or(self.spec.normalize),
            skipped_tokens: if excluded { self.tokenizer.prompt_tokens(&options.prompt, max_length)? } else { 0 },
        })
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
        let megabyte = "x".repeat(1 << 20);
        assert_eq!(window(&[megabyte.as_str(); 10]).len(), 4);
        assert_eq!(window(&["y".repeat(10 << 20), "z".to_owned()]).len(), 1);
        assert_eq!(window::<&str>(&[]).len(), 0);
    }
}
