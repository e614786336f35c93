//! Texts in, windows of token rows out: each different text once, in bounded portions, the next portion tokenized while
//! the one before it runs. A million texts so never hold a million token rows, and tokenization hides behind inference.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::batches::plan::TokenRow;
use crate::error::{Error, Result};
use crate::memory::room_for;
use crate::options::OnTruncate;
use crate::texts::tokenize::{NumberedText, TextTokenizer};

/// Texts of a window at most: enough for batches of nearly equal length.
const WINDOW_TEXTS: usize = 8192;
/// Bytes of text after which a window ends early, so that long documents keep the memory and the reply to Ctrl-C small.
const WINDOW_BYTES: usize = 1 << 20;

/// The texts of a call, each different one once.
pub struct DistinctTexts<'a> {
    /// In the order in which they first occur, with that index.
    pub texts: Vec<NumberedText<'a>>,
    /// (index, index of the first text equal to it) of all others.
    pub copies: Vec<(usize, usize)>,
}

impl<'a> DistinctTexts<'a> {
    /// Tells equal texts apart from new ones.
    pub fn of<T: AsRef<str>>(texts: &'a [T]) -> Result<Self> {
        let purpose = || format!("to tell {} texts apart", texts.len());
        let mut distinct = DistinctTexts { texts: room_for(texts.len(), purpose)?, copies: Vec::new() };
        let mut first_of = HashMap::new();
        let reserved = first_of.try_reserve(texts.len());
        reserved.map_err(|error| Error::Memory { purpose: purpose(), source: error.into() })?;
        for (index, text) in texts.iter().map(AsRef::as_ref).enumerate() {
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
    /// Tokens of a row at most.
    pub max_length: usize,
    /// Threads for the first window; later ones take one, beside inference.
    pub threads: usize,
}

/// Hands window after window to `take`, until it fails.
pub fn for_each_window<'a>(
    texts: &'a [NumberedText<'a>],
    how: &Tokenization<'_>,
    mut take: impl FnMut(Window<'a>) -> Result<()>,
) -> Result<()> {
    let abandoned = AtomicBool::new(false);
    let rows = |texts: &'a [NumberedText<'a>], threads: usize| {
        how.tokenizer.rows(texts, how.prompt, how.max_length, threads, &abandoned)
    };
    let (mut current, mut rest) = split_window(texts);
    let mut tokenized = rows(current, how.threads)?;
    while !current.is_empty() {
        let (next, later) = split_window(rest);
        let window = Window { texts: current, rows: tokenized };
        if next.is_empty() {
            return take(window);
        }
        let (taken, upcoming) = thread::scope(|scope| {
            let ahead = thread::Builder::new().spawn_scoped(scope, || rows(next, 1));
            let taken = take(window);
            abandoned.store(taken.is_err(), Ordering::Relaxed);
            let upcoming = match ahead {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => rows(next, how.threads), // no thread to be had
            };
            (taken, upcoming)
        });
        taken?;
        tokenized = upcoming?;
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
        let distinct = DistinctTexts::of(&["a", "b", "a", "", "b", "a"]).unwrap();
        assert_eq!(distinct.texts, [(0, "a"), (1, "b"), (3, "")]);
        assert_eq!(distinct.copies, [(2, 0), (4, 1), (5, 0)]);
    }
}
