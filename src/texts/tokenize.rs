//! Texts in, rows of token ids out: the tokenizer.json of the checkpoint, special tokens added, cut at `max_length`.
//! Padding and truncation of the file itself are switched off: rows are padded per batch, and `max_length` is the
//! caller's. Refused: a tokenizer that does not fit the embedding table, or gives token types that the graph ignores.

use std::borrow::Cow;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokenizers::PostProcessorWrapper;
use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::tokenizer::{Encoding, PostProcessor, TruncationDirection};

use crate::checkpoint::json::read_file;
use crate::error::{Error, Result, Source};
use crate::spec::{SeenTokens, Spec};

/// Fewer texts than this are tokenized on the calling thread: starting threads costs more than they save.
const PARALLEL_FROM: usize = 64;

/// A text, and its index in the call.
pub type NumberedText<'a> = (usize, &'a str);

/// One text as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Token ids, special tokens included.
    pub ids: Vec<i32>,
    /// Tokens before the cut.
    pub full_length: usize,
}

/// The checkpoint's tokenizer.
pub struct TextTokenizer {
    path: PathBuf,
    tokenizer: Tokenizer,
    direction: TruncationDirection,
    vocab_size: usize,
    special_tokens: usize,
    seen: SeenTokens,
    known: Known,
}

/// What model2vec asks of a vocabulary.
#[derive(Default)]
struct Known {
    unknown: Option<u32>,
    /// Characters of a token, which times `max_length` is where long texts are cut.
    median_length: usize,
}

impl Known {
    fn of(tokenizer: &Tokenizer) -> Self {
        let unknown = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => tokenizer.token_to_id(&model.unk_token),
            ModelWrapper::WordLevel(model) => tokenizer.token_to_id(&model.unk_token),
            ModelWrapper::BPE(model) => model.unk_token.as_ref().and_then(|token| tokenizer.token_to_id(token)),
            // The field is private; what the model writes of itself is not.
            ModelWrapper::Unigram(model) => serde_json::to_value(model)
                .ok()
                .and_then(|model| model.get("unk_id")?.as_u64())
                .and_then(|id| u32::try_from(id).ok()),
        };
        let mut lengths: Vec<usize> = tokenizer.get_vocab(true).keys().map(|token| token.chars().count()).collect();
        lengths.sort_unstable();
        let at = |index: usize| lengths.get(index).copied().unwrap_or(1);
        let median_length = usize::midpoint(at(lengths.len().saturating_sub(1) / 2), at(lengths.len() / 2));
        Known { unknown, median_length }
    }
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
        let special_tokens = match spec.tokens {
            SeenTokens::WithSpecial => {
                tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false))
            }
            SeenTokens::TextAlone | SeenTokens::KnownAlone => {
                tokenizer.with_post_processor(None::<PostProcessorWrapper>);
                0
            }
        };
        check_arithmetic(&path, &tokenizer, special_tokens)?;
        let known = match spec.tokens {
            SeenTokens::WithSpecial | SeenTokens::TextAlone => Known::default(),
            SeenTokens::KnownAlone => Known::of(&tokenizer),
        };
        let direction = if spec.truncate_left { TruncationDirection::Left } else { TruncationDirection::Right };
        let vocab_size = spec.network.vocab_size();
        Ok(TextTokenizer { path, tokenizer, direction, vocab_size, special_tokens, seen: spec.tokens, known })
    }

    /// The tokenizer file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tokens that every row gets beside those of its text.
    pub fn special_tokens(&self) -> usize {
        self.special_tokens
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

    /// Token ids as model2vec sees them: the text cut, then unknown ids dropped, then the rest cut.
    fn known_row(&self, text: &str, max_length: usize) -> Result<(Vec<u32>, usize), Source> {
        let characters = max_length.saturating_mul(self.known.median_length);
        let end = text.char_indices().nth(characters).map_or(text.len(), |(end, _)| end);
        let encoding = self.tokenizer.encode_fast(&text[..end], false)?;
        let mut ids: Vec<u32> = encoding.get_ids().to_vec();
        ids.retain(|id| Some(*id) != self.known.unknown);
        // How many tokens the rest would have had is not known: at least one counts.
        let full_length = if end < text.len() { ids.len().max(max_length) + 1 } else { ids.len() };
        ids.truncate(max_length);
        Ok((ids, full_length))
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
        let failed = |source| Error::Tokenize { path: self.path.clone(), text_index, source };
        match self.seen {
            SeenTokens::WithSpecial | SeenTokens::TextAlone => {}
            SeenTokens::KnownAlone => {
                let (ids, full_length) = guarded(|| self.known_row(&prompted, max_length)).map_err(failed)?;
                return Ok(TokenRow { ids: self.checked_ids(&ids, text_index)?, full_length });
            }
        }
        let (encoding, full_length) = guarded(tokenize).map_err(failed)?;
        if encoding.len() > max_length {
            let found = format!("a row of {} tokens where {max_length} were asked for", encoding.len());
            return Err(Error::malformed(&self.path, format!("its post-processor makes {found}")));
        }
        if encoding.get_type_ids().iter().any(|id| *id != 0) {
            let found = format!("{:?}", encoding.get_type_ids());
            return Err(Error::unsupported(&self.path, "type ids of a single text", found, "all 0"));
        }
        Ok(TokenRow { ids: self.checked_ids(encoding.get_ids(), text_index)?, full_length })
    }

    fn checked_ids(&self, ids: &[u32], text_index: usize) -> Result<Vec<i32>> {
        ids.iter()
            .map(|&id| match i32::try_from(id) {
                Ok(small) if (id as usize) < self.vocab_size => Ok(small),
                _ => Err(Error::TokenOutOfRange { path: self.path.clone(), id, rows: self.vocab_size, text_index }),
            })
            .collect()
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
