//! Texts in, rows of token ids out: the tokenizer.json of the checkpoint, special tokens added, cut at `max_length`.
//! Padding and truncation of the file itself are switched off: rows are padded per batch, and `max_length` is the
//! caller's. Refused: a tokenizer that does not fit the embedding table, or gives token types that the graph ignores.

use std::borrow::Cow;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::tokenizer::{Encoding, PostProcessor, TruncationDirection};

use crate::batches::plan::TokenRow;
use crate::checkpoint::json::read_file;
use crate::error::{Error, Result, Source};
use crate::spec::Spec;

/// Fewer texts than this are tokenized on the calling thread: starting threads costs more than they save.
const PARALLEL_FROM: usize = 64;

/// A text, and its index in the call.
pub type NumberedText<'a> = (usize, &'a str);

/// The checkpoint's tokenizer.
pub struct TextTokenizer {
    path: PathBuf,
    tokenizer: Tokenizer,
    direction: TruncationDirection,
    vocab_size: usize,
    special_tokens: usize,
}

impl TextTokenizer {
    /// Loads tokenizer.json.
    pub fn load(spec: &Spec) -> Result<Self> {
        let path = spec.folder.join("tokenizer.json");
        let needed_for = "texts are tokenized with it (AutoTokenizer.from_pretrained(…).save_pretrained(…) writes one)";
        let bytes = read_file(&path, needed_for)?;
        let invalid = |error: Source| Error::malformed_by(&path, format!("not a valid tokenizer.json: {error}"), error);
        let mut tokenizer = guarded(|| Tokenizer::from_bytes(bytes)).map_err(invalid)?;
        if spec.lowercase {
            let mut steps: Vec<NormalizerWrapper> = vec![Lowercase.into()];
            steps.extend(tokenizer.get_normalizer().cloned());
            tokenizer.with_normalizer(Some(Sequence::new(steps))).map_err(invalid)?;
        }
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(invalid)?;
        let special_tokens = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        check_arithmetic(&path, &tokenizer, special_tokens)?;
        let direction = if spec.truncate_left { TruncationDirection::Left } else { TruncationDirection::Right };
        let vocab_size = spec.network.vocab_size();
        Ok(TextTokenizer { path, tokenizer, direction, vocab_size, special_tokens })
    }

    /// The tokenizer file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tokens that every row gets beside those of its text.
    pub fn special_tokens(&self) -> usize {
        self.special_tokens
    }

    /// The ids of a text that is not the caller's, one at least. A tokenizer that does not belong to the table fails on
    /// the caller's texts, not here.
    pub fn sample(&self, text: &str, max_length: usize) -> Vec<i32> {
        let row = self.row(text, "", max_length.max(self.special_tokens + 1), 0);
        row.map_or_else(|_| vec![0], |row| row.ids)
    }

    /// Tokens that a prompt puts at the front of every row; none for an empty prompt. Where `include_prompt` is false,
    /// sentence-transformers leaves as many out of the pooling: those of the prompt alone, special tokens included,
    /// without a closing special one.
    pub fn prompt_tokens(&self, prompt: &str, max_length: usize) -> Result<Vec<i32>> {
        if prompt.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids = self.row(prompt, "", max_length, 0)?.ids;
        let added = self.tokenizer.get_added_tokens_decoder();
        let special = |id: &i32| u32::try_from(*id).is_ok_and(|id| added.get(&id).is_some_and(|token| token.special));
        if ids.last().is_some_and(special) {
            ids.pop();
        }
        Ok(ids)
    }

    /// Tokenizes texts, each with the prompt before it. Ends early with fewer rows where `abandoned` becomes true.
    pub fn rows(
        &self,
        texts: &[NumberedText<'_>],
        prompt: &str,
        max_length: usize,
        threads: usize,
        abandoned: &AtomicBool,
    ) -> Result<Vec<TokenRow>> {
        let some = |texts: &[NumberedText<'_>]| -> Result<Vec<TokenRow>> {
            let wanted = texts.iter().take_while(|_| !abandoned.load(Ordering::Relaxed));
            wanted.map(|(index, text)| self.row(text, prompt, max_length, *index)).collect()
        };
        if threads <= 1 || texts.len() < PARALLEL_FROM {
            return some(texts);
        }
        // Plain threads for the length of the call, not rayon's global pool: a pool does not survive fork.
        let parts: Vec<Result<Vec<TokenRow>>> = thread::scope(|scope| {
            let share = texts.len().div_ceil(threads);
            let workers: Vec<_> = texts.chunks(share).map(|chunk| scope.spawn(|| some(chunk))).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let mut rows = Vec::with_capacity(texts.len());
        for part in parts {
            rows.extend(part?);
        }
        Ok(rows)
    }

    fn row(&self, text: &str, prompt: &str, max_length: usize, text_index: usize) -> Result<TokenRow> {
        let prompted = if prompt.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{prompt}{text}")) };
        let tokenize = || -> Result<(Encoding, usize), Source> {
            let mut encoding = self.tokenizer.encode_fast(prompted.as_ref(), false)?;
            let full_length = encoding.len() + self.special_tokens;
            encoding.truncate(max_length.saturating_sub(self.special_tokens), 0, self.direction);
            encoding.take_overflowing();
            Ok((self.tokenizer.post_process(encoding, None, true)?, full_length))
        };
        let (encoding, full_length) =
            guarded(tokenize).map_err(|source| Error::Tokenize { path: self.path.clone(), text_index, source })?;
        if encoding.len() > max_length {
            let found = format!("a row of {} tokens where {max_length} were asked for", encoding.len());
            return Err(Error::malformed(&self.path, format!("its post-processor makes {found}")));
        }
        if encoding.get_type_ids().iter().any(|id| *id != 0) {
            let found = format!("{:?}", encoding.get_type_ids());
            return Err(Error::unsupported(&self.path, "type ids of a single text", found, "all 0"));
        }
        let ids = encoding
            .get_ids()
            .iter()
            .map(|&id| match i32::try_from(id) {
                Ok(small) if (id as usize) < self.vocab_size => Ok(small),
                _ => Err(Error::TokenOutOfRange { path: self.path.clone(), id, rows: self.vocab_size, text_index }),
            })
            .collect::<Result<Vec<i32>>>()?;
        Ok(TokenRow { ids, full_length })
    }
}

/// Refuses a tokenizer whose rows would depend on chance, or not hold their text once.
fn check_arithmetic(path: &Path, tokenizer: &Tokenizer, special_tokens: usize) -> Result<()> {
    if let ModelWrapper::BPE(bpe) = tokenizer.get_model()
        && let Some(dropout) = bpe.dropout.filter(|dropout| *dropout > 0.0)
    {
        return Err(Error::unsupported(path, "model.dropout", dropout.to_string(), "absent, null or 0"));
    }
    let length = |special: bool| {
        let encoding = guarded(|| tokenizer.encode_fast("a", special));
        encoding.map(|encoding| encoding.len()).map_err(|source| Error::Tokenize {
            path: path.to_owned(),
            text_index: 0,
            source,
        })
    };
    let (plain, whole) = (length(false)?, length(true)?);
    if whole != plain + special_tokens {
        let found = format!("{whole} tokens for a text of {plain}");
        let supported = format!("the text once and its {special_tokens} special tokens");
        return Err(Error::unsupported(path, "post_processor", found, supported));
    }
    Ok(())
}

/// Runs a piece of the tokenizer; a panic inside it, which a broken tokenizer.json can cause, becomes an error.
fn guarded<R>(work: impl FnOnce() -> Result<R, Source>) -> Result<R, Source> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let said =
            payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", said.unwrap_or("no message")).into())
    })
}
