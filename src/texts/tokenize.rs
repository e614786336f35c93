//! Texts in, rows of token ids out: the tokenizer.json of the checkpoint, special tokens added, cut at `max_length`.
//! Padding and truncation of the file itself are switched off: rows are padded per batch, and `max_length` is the
//! caller's. A long text is taken in pieces, and no further than its row needs. Refused: a tokenizer that does not fit the
//! embedding table, gives token types that the graph ignores, or is beyond [`bounds`].

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use tokenizers::PostProcessorWrapper;
use tokenizers::Tokenizer;
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::tokenizer::{Encoding, PostProcessor, TruncationDirection};

use crate::batches::plan::TokenRow;
use crate::error::{Error, Result, Source};
use crate::guard::guarded;
use crate::interrupt::INTERVAL;
use crate::spec::{SeenTokens, Spec};
use crate::texts::bounds;
use crate::texts::cuts::Cuts;
use crate::texts::file;
use crate::texts::known::Known;

/// Fewer texts than this are tokenized on the calling thread: starting threads costs more than they save.
const PARALLEL_FROM: usize = 64;
/// Bytes of a piece of a long text, at least: a few milliseconds.
const PIECE_BYTES: usize = 8 << 10;
/// Bytes from which a text that must stay in one piece is tokenized on a thread that can be left alone with it: nothing
/// ends the tokenizer early.
const ALONE_FROM: usize = 128 << 10;

/// A text, and its index in the call.
pub type NumberedText<'a> = (usize, &'a str);

/// How far a text is tokenized.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Tokens of a row at most.
    pub max_length: usize,
    /// To the end, however long.
    pub counted: bool,
}

/// The checkpoint's tokenizer.
pub struct TextTokenizer {
    path: PathBuf,
    /// Shared with threads that were left alone with a text.
    tokenizer: Arc<Tokenizer>,
    /// Where texts may be cut, if anywhere.
    cuts: Option<Cuts>,
    direction: TruncationDirection,
    vocab_size: usize,
    special_tokens: usize,
    seen: SeenTokens,
    known: Known,
}

impl TextTokenizer {
    /// Loads tokenizer.json.
    pub fn load(spec: &Spec) -> Result<Self> {
        let path = spec.folder.join("tokenizer.json");
        let invalid = |error: Source| Error::malformed_by(&path, format!("not a valid tokenizer.json: {error}"), error);
        let mut tokenizer = file::read(&path, invalid)?;
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
        bounds::check_arithmetic(&path, &tokenizer, special_tokens)?;
        let known = match spec.tokens {
            SeenTokens::WithSpecial | SeenTokens::TextAlone => Known::default(),
            SeenTokens::KnownAlone => Known::of(&tokenizer),
        };
        let direction = if spec.truncate_left { TruncationDirection::Left } else { TruncationDirection::Right };
        let vocab_size = spec.network.vocab_size();
        let cuts = guarded(|| Ok(Cuts::of(&tokenizer))).map_err(invalid)?;
        let tokenizer = Arc::new(tokenizer);
        let seen = spec.tokens;
        Ok(TextTokenizer { path, tokenizer, cuts, direction, vocab_size, special_tokens, seen, known })
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
        let extent = Extent { max_length: max_length.max(self.special_tokens + 1), counted: false };
        let row = self.row((0, text), "", extent, &AtomicBool::new(false));
        row.map_or_else(|_| vec![0], |row| row.ids)
    }

    /// Tokens that a prompt puts at the front of every row; none for an empty prompt. Where `include_prompt` is false,
    /// sentence-transformers leaves as many out of the pooling: those of the prompt alone, special tokens included,
    /// without a closing special one.
    pub fn prompt_tokens(&self, prompt: &str, max_length: usize, abandoned: &AtomicBool) -> Result<Vec<i32>> {
        if prompt.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids = self.row((0, prompt), "", Extent { max_length, counted: false }, abandoned)?.ids;
        let added = self.tokenizer.get_added_tokens_decoder();
        let special = |id: &i32| u32::try_from(*id).is_ok_and(|id| added.get(&id).is_some_and(|token| token.special));
        if ids.last().is_some_and(special) {
            ids.pop();
        }
        Ok(ids)
    }

    /// Tokenizes texts, each with the prompt before it. Ends early, with fewer rows or an error, where `abandoned` becomes
    /// true.
    pub fn rows(
        &self,
        texts: &[NumberedText<'_>],
        prompt: &str,
        extent: Extent,
        threads: usize,
        abandoned: &AtomicBool,
    ) -> Result<Vec<TokenRow>> {
        let some = |texts: &[NumberedText<'_>]| -> Result<Vec<TokenRow>> {
            let wanted = texts.iter().take_while(|_| !abandoned.load(Ordering::Relaxed));
            wanted.map(|text| self.row(*text, prompt, extent, abandoned)).collect()
        };
        if threads <= 1 || texts.len() < PARALLEL_FROM {
            return some(texts);
        }
        // Plain threads for the length of the call, not rayon's global pool: a pool does not survive fork.
        let parts: Vec<Result<Vec<TokenRow>>> = thread::scope(|scope| {
            let shares: Vec<_> = texts
                .chunks(texts.len().div_ceil(threads))
                .map(|share| (share, thread::Builder::new().spawn_scoped(scope, || some(share))))
                .collect();
            let finish = |(share, worker): (_, std::io::Result<thread::ScopedJoinHandle<'_, _>>)| match worker {
                Ok(worker) => worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => some(share), // no thread to be had
            };
            shares.into_iter().map(finish).collect()
        });
        let mut rows = Vec::with_capacity(texts.len());
        for part in parts {
            rows.extend(part?);
        }
        Ok(rows)
    }

    fn row(
        &self,
        (text_index, text): NumberedText<'_>,
        prompt: &str,
        extent: Extent,
        abandoned: &AtomicBool,
    ) -> Result<TokenRow> {
        let prompted = if prompt.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{prompt}{text}")) };
        let failed = |source| Error::Tokenize { path: self.path.clone(), text_index, source };
        match self.seen {
            SeenTokens::WithSpecial | SeenTokens::TextAlone => {}
            SeenTokens::KnownAlone => {
                let row = guarded(|| self.known.row(&self.tokenizer, &prompted, extent.max_length));
                let (ids, full_length) = row.map_err(failed)?;
                return Ok(TokenRow { ids: self.checked_ids(&ids, text_index)?, full_length });
            }
        }
        let room = extent.max_length.saturating_sub(self.special_tokens);
        let (kept, found) = self.tokens(&prompted, room, extent.counted, abandoned, &failed)?;
        let encoding: Encoding = kept.into_iter().map(|id| (id, String::new(), (0, 0), None, 0)).collect();
        let encoding = guarded(|| self.tokenizer.post_process(encoding, None, true)).map_err(failed)?;
        if encoding.len() > extent.max_length {
            let found = format!("a row of {} tokens where {} were asked for", encoding.len(), extent.max_length);
            return Err(Error::malformed(&self.path, format!("its post-processor makes {found}")));
        }
        if encoding.get_type_ids().iter().any(|id| *id != 0) {
            let found = format!("{:?}", encoding.get_type_ids());
            return Err(Error::unsupported(&self.path, "type ids of a single text", found, "all 0"));
        }
        Ok(TokenRow {
            ids: self.checked_ids(encoding.get_ids(), text_index)?,
            full_length: found + self.special_tokens,
        })
    }

    fn checked_ids(&self, ids: &[u32], text_index: usize) -> Result<Vec<i32>> {
        ids.iter()
            .map(|&id| match i32::try_from(id) {
                Ok(small) if (id as usize) < self.vocab_size => Ok(small),
                _ => Err(Error::TokenOutOfRange { path: self.path.clone(), id, rows: self.vocab_size, text_index }),
            })
            .collect()
    }

    /// The first tokens of a text, or where it is cut on the left the last ones, `room` at most, and how many there are:
    /// all where they are `counted`, else more than `room` where there are more.
    fn tokens(
        &self,
        text: &str,
        room: usize,
        counted: bool,
        abandoned: &AtomicBool,
        failed: &impl Fn(Source) -> Error,
    ) -> Result<(Vec<u32>, usize)> {
        let mut pieces = match self.cuts.filter(|_| text.len() >= 2 * PIECE_BYTES) {
            Some(cuts) => cuts.pieces(text, PIECE_BYTES),
            None => vec![text],
        };
        let from_the_end = matches!(self.direction, TruncationDirection::Left);
        if from_the_end {
            pieces.reverse();
        }
        let (mut kept, mut found): (Vec<u32>, usize) = (Vec::new(), 0);
        for piece in pieces {
            if abandoned.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let encoding = self.encode(piece, abandoned)?.map_err(failed)?;
            let (ids, wanted) = (encoding.get_ids(), room.saturating_sub(found));
            found += ids.len();
            match from_the_end {
                false => kept.extend(ids.iter().take(wanted)),
                true => kept.splice(..0, ids[ids.len().saturating_sub(wanted)..].iter().copied()).for_each(drop),
            }
            if found > room && !counted {
                break;
            }
        }
        Ok((kept, found))
    }

    /// The tokens of a piece, without special ones. The outer error: `abandoned` became true.
    fn encode(&self, piece: &str, abandoned: &AtomicBool) -> Result<Result<Encoding, Source>> {
        if piece.len() < ALONE_FROM {
            return Ok(guarded(|| self.tokenizer.encode_fast(piece, false)));
        }
        let (tokenizer, text) = (Arc::clone(&self.tokenizer), piece.to_owned());
        let (sender, receiver) = mpsc::channel();
        let work = move || {
            // Nobody may be waiting for it any more.
            let _ = sender.send(guarded(|| tokenizer.encode_fast(text, false)));
        };
        if thread::Builder::new().spawn(work).is_err() {
            return Ok(guarded(|| self.tokenizer.encode_fast(piece, false))); // no thread to be had
        }
        loop {
            match receiver.recv_timeout(INTERVAL) {
                Ok(encoding) => return Ok(encoding),
                Err(RecvTimeoutError::Timeout) if abandoned.load(Ordering::Relaxed) => return Err(Error::Interrupted),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Err("its thread ended without an answer".into())),
            }
        }
    }
}
