//! Texts in, windows of token rows out: each different text once, in bounded portions, the next portion tokenized while
//! the one before it runs. A million texts so never hold a million token rows, and tokenization hides behind inference.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::batches::plan::TokenRow;
use crate::error::{Error, Result};
use crate::interrupt::{Heed, Worker, attentively, proceed};
use crate::memory::room_for;
use crate::options::OnTruncate;
use crate::texts::tokenize::{Extent, NumberedText, TextTokenizer};

/// Texts of a window at most: enough for batches of nearly equal length.
const WINDOW_TEXTS: usize = 8192;
/// Bytes of text after which a window ends early, so that long documents keep the memory and the reply to Ctrl-C small.
const WINDOW_BYTES: usize = 1 << 20;
/// Bytes of text that the calling thread tokenizes itself, without hearing Ctrl-C: tens of milliseconds.
const QUICK_BYTES: usize = 64 << 10;

/// The texts of a call, each different one once.
pub struct DistinctTexts<'a> {
    /// In the order in which they first occur, with that index.
    pub texts: Vec<NumberedText<'a>>,
    /// (index, index of the first text equal to it) of all others.
    pub copies: Vec<(usize, usize)>,
}

impl<'a> DistinctTexts<'a> {
    /// Tells equal texts apart from new ones.
    pub fn of(texts: impl ExactSizeIterator<Item = NumberedText<'a>>) -> Result<Self> {
        let count = texts.len();
        let purpose = || format!("to tell {count} texts apart");
        let mut distinct = DistinctTexts { texts: room_for(count, purpose)?, copies: Vec::new() };
        let mut first_of = HashMap::new();
        let reserved = first_of.try_reserve(count);
        reserved.map_err(|error| Error::Memory { purpose: purpose(), source: error.into() })?;
        for (index, text) in texts {
            match first_of.entry(text) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                    distinct.texts.push((index, text));
                }
                Entry::Occupied(entry) => distinct.copies.push((index, *entry.get())),
            }
        }
        Ok(distinct)
    }
}

/// A portion of the texts, tokenized.
pub struct Window<'a> {
    /// The texts and where each lies in the call.
    pub texts: &'a [NumberedText<'a>],
    /// Their tokens.
    pub rows: Vec<TokenRow>,
}

impl Window<'_> {
    /// Indices of the texts that were cut.
    pub fn truncated(&self, max_length: usize, on_truncate: OnTruncate) -> Result<Vec<usize>> {
        let texts = self.texts.iter().map(|(text_index, _)| *text_index).zip(&self.rows);
        let longer: Vec<(usize, &TokenRow)> = texts.filter(|(_, row)| row.full_length > max_length).collect();
        match (on_truncate, longer.first()) {
            (OnTruncate::Refuse, Some(&(text_index, row))) => {
                Err(Error::TextTooLong { text_index, tokens: row.full_length, max_length })
            }
            (OnTruncate::Cut, _) | (OnTruncate::Refuse, None) => {
                Ok(longer.into_iter().map(|(text_index, _)| text_index).collect())
            }
        }
    }
}

/// How the rows of a call are made.
pub struct Tokenization<'t> {
    /// Makes them.
    pub tokenizer: &'t TextTokenizer,
    /// Put before every text.
    pub prompt: &'t str,
    /// How far.
    pub extent: Extent,
    /// Threads for the first window; later ones take one, beside inference.
    pub threads: usize,
}

impl Tokenization<'_> {
    /// The rows of some texts, hearing `heed` where they may take a while.
    fn rows(&self, texts: &[NumberedText<'_>], heed: &mut Heed<'_>) -> Result<Vec<TokenRow>> {
        let abandoned = AtomicBool::new(false);
        let rows = || self.tokenizer.rows(texts, self.prompt, self.extent, self.threads, &abandoned);
        let bytes: usize = texts.iter().map(|(_, text)| self.prompt.len() + text.len()).sum();
        match bytes < QUICK_BYTES {
            true => rows(),
            false => attentively(&rows, heed, &|| abandoned.store(true, Ordering::Relaxed))?,
        }
    }

    /// The tokens that the prompt puts at the front of every row.
    pub fn prompt_tokens(&self, heed: &mut Heed<'_>) -> Result<Vec<i32>> {
        let abandoned = AtomicBool::new(false);
        let tokens = || self.tokenizer.prompt_tokens(self.prompt, self.extent.max_length, &abandoned);
        match self.prompt.len() < QUICK_BYTES {
            true => tokens(),
            false => attentively(&tokens, heed, &|| abandoned.store(true, Ordering::Relaxed))?,
        }
    }

    /// The ids of all rows, for callers who want nothing else.
    pub fn ids<T: AsRef<str>>(&self, texts: &[T], heed: &mut Heed<'_>) -> Result<Vec<Vec<i32>>> {
        self.collect(texts, heed, |row| row.ids)
    }

    /// How many tokens the texts have; no more rows are held than a window has.
    pub fn counts<T: AsRef<str>>(&self, texts: &[T], heed: &mut Heed<'_>) -> Result<Vec<usize>> {
        self.collect(texts, heed, |row| row.full_length)
    }

    fn collect<T: AsRef<str>, R>(
        &self,
        texts: &[T],
        heed: &mut Heed<'_>,
        what: impl Fn(TokenRow) -> R,
    ) -> Result<Vec<R>> {
        let numbered: Vec<NumberedText<'_>> = texts.iter().map(AsRef::as_ref).enumerate().collect();
        let (mut rest, mut collected) = (numbered.as_slice(), Vec::with_capacity(texts.len()));
        while !rest.is_empty() {
            let (window, later) = split_window(rest);
            collected.extend(self.rows(window, heed)?.into_iter().map(&what));
            rest = later;
            proceed(heed())?;
        }
        Ok(collected)
    }
}

/// Hands window after window to `take`, until it fails or `heed` breaks.
pub fn for_each_window<'a>(
    texts: &'a [NumberedText<'a>],
    how: &Tokenization<'_>,
    heed: &mut Heed<'_>,
    mut take: impl FnMut(Window<'a>) -> Result<()>,
) -> Result<()> {
    let abandoned = AtomicBool::new(false);
    let (mut current, mut rest) = split_window(texts);
    let mut tokenized = how.rows(current, heed)?;
    while !current.is_empty() {
        let (next, later) = split_window(rest);
        let window = Window { texts: current, rows: tokenized };
        if next.is_empty() {
            return take(window);
        }
        let (taken, upcoming) = thread::scope(|scope| {
            let rows = || how.tokenizer.rows(next, how.prompt, how.extent, 1, &abandoned);
            let ahead = Worker::start(scope, rows);
            let taken = take(window);
            abandoned.store(taken.is_err(), Ordering::Relaxed);
            let upcoming = match ahead {
                Ok(worker) => worker.join(heed, &|| abandoned.store(true, Ordering::Relaxed)),
                Err(_) if taken.is_err() => Err(Error::Interrupted),
                Err(_) => Ok(how.rows(next, heed)), // no thread to be had
            };
            (taken, upcoming)
        });
        taken?;
        tokenized = upcoming??;
        (current, rest) = (next, later);
    }
    Ok(())
}

/// The next window and what remains: at least one text, where there is one.
fn split_window<'a>(texts: &'a [NumberedText<'a>]) -> (&'a [NumberedText<'a>], &'a [NumberedText<'a>]) {
    let mut bytes = 0;
    let fitting = texts.iter().take(WINDOW_TEXTS).take_while(|(_, text)| {
        let fits = bytes < WINDOW_BYTES;
        bytes += text.len();
        fits
    });
    texts.split_at(fitting.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_window<T: AsRef<str>>(texts: &[T]) -> usize {
        let numbered: Vec<NumberedText<'_>> = texts.iter().map(AsRef::as_ref).enumerate().collect();
        split_window(&numbered).0.len()
    }

    #[test]
    fn windows_are_bounded_in_texts_and_bytes() {
        assert_eq!(first_window(&vec!["a"; 20_000]), WINDOW_TEXTS);
        let quarter = "x".repeat(WINDOW_BYTES / 4);
        assert_eq!(first_window(&[quarter.as_str(); 10]), 4);
        assert_eq!(first_window(&["y".repeat(10 << 20), "z".to_owned()]), 1);
        assert_eq!(first_window::<&str>(&[]), 0);
    }

    #[test]
    fn equal_texts_are_kept_once() {
        let distinct = DistinctTexts::of(["a", "b", "a", "", "b", "a"].into_iter().enumerate()).unwrap();
        assert_eq!(distinct.texts, [(0, "a"), (1, "b"), (3, "")]);
        assert_eq!(distinct.copies, [(2, 0), (4, 1), (5, 0)]);
    }
}
