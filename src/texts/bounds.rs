//! A tokenizer.json in; refused what would make a short text long, or a long one take for ever: normalizers and
//! pre-tokenizers that multiply their text, a crowd of special tokens, words whose pieces are searched quadratically.
//! Every refusal names the field. What passes takes time and memory in proportion to its text.

use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::tokenizer::PostProcessor;

use crate::error::{Error, Result};
use crate::guard::guarded;

/// What a chain of normalizers, or of pre-tokenizers, may make of one byte. SentencePiece's `▁` for each space, with one
/// before the text, are 12.
const MOST_GROWTH: usize = 16;
/// Steps of a chain: each goes over the whole text. Published tokenizers have a handful.
const MOST_STEPS: usize = 64;
/// Special tokens of a row.
const MOST_SPECIAL_TOKENS: usize = 1024;
/// Characters of a word up to which WordPiece looks for its pieces, in time that grows with their square. Published
/// tokenizers have 100.
const MOST_WORD_CHARS: usize = 1000;
/// Bytes of what a model puts before or behind each piece that it looks up.
const MOST_AFFIX: usize = 64;

/// Refuses a normalizer that multiplies its text.
pub fn check_normalizer(path: &Path, normalizer: Option<&NormalizerWrapper>) -> Result<()> {
    let mut chain = Chain::new(path, "normalizer");
    normalizer.map_or(Ok(()), |normalizer| chain.normalizer(normalizer))
}

/// Refuses a tokenizer for the rest of what is said above.
pub fn check(path: &Path, tokenizer: &Tokenizer) -> Result<()> {
    if let Some(step) = tokenizer.get_pre_tokenizer() {
        Chain::new(path, "pre_tokenizer").pre_tokenizer(step)?;
    }
    let special_tokens = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
    at_most(path, "special tokens of post_processor", special_tokens, MOST_SPECIAL_TOKENS)?;
    let length = |affix: &Option<String>| affix.as_ref().map_or(0, String::len);
    match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => {
            at_most(path, "model.max_input_chars_per_word", model.max_input_chars_per_word, MOST_WORD_CHARS)?;
            let prefix = model.continuing_subword_prefix.len();
            at_most(path, "bytes of model.continuing_subword_prefix", prefix, MOST_AFFIX)
        }
        ModelWrapper::BPE(model) => {
            let prefix = length(&model.continuing_subword_prefix);
            at_most(path, "bytes of model.continuing_subword_prefix", prefix, MOST_AFFIX)?;
            at_most(path, "bytes of model.end_of_word_suffix", length(&model.end_of_word_suffix), MOST_AFFIX)
        }
        ModelWrapper::WordLevel(_) | ModelWrapper::Unigram(_) => Ok(()),
    }
}

fn at_most(path: &Path, field: &str, found: usize, most: usize) -> Result<()> {
    match found <= most {
        true => Ok(()),
        false => Err(Error::unsupported(path, field, found.to_string(), format!("at most {most}"))),
    }
}

/// A chain of steps, and what they make of one byte at most.
struct Chain<'p> {
    path: &'p Path,
    field: &'static str,
    steps: usize,
    growth: usize,
}

impl<'p> Chain<'p> {
    fn new(path: &'p Path, field: &'static str) -> Self {
        Chain { path, field, steps: 0, growth: 1 }
    }

    /// One more step, which makes `factor` bytes of one.
    fn step(&mut self, name: &str, factor: usize) -> Result<()> {
        self.steps += 1;
        at_most(self.path, &format!("number of steps of {}", self.field), self.steps, MOST_STEPS)?;
        self.growth = self.growth.saturating_mul(factor.max(1));
        if self.growth > MOST_GROWTH {
            let found = format!("a step with which one byte becomes up to {}", self.growth);
            let field = format!("{} ({name}, step {})", self.field, self.steps);
            return Err(Error::unsupported(self.path, field, found, format!("at most {MOST_GROWTH}")));
        }
        Ok(())
    }

    fn normalizer(&mut self, normalizer: &NormalizerWrapper) -> Result<()> {
        use NormalizerWrapper as N;
        match normalizer {
            N::Sequence(steps) => steps.as_ref().iter().try_for_each(|step| self.normalizer(step)),
            N::Replace(replace) => {
                let fields = serde_json::to_value(replace).unwrap_or_default();
                let literal = fields.pointer("/pattern/String").and_then(Value::as_str).unwrap_or_default();
                let factor = match literal.len() {
                    // A regular expression may match one byte, or none between any two.
                    0 => replace.content.len() + usize::from(!replace.content.is_empty()),
                    length => replace.content.len().div_ceil(length),
                };
                self.step("Replace", factor)
            }
            N::Prepend(prepend) => self.step("Prepend", 1 + prepend.prepend.len()),
            N::ByteLevel(_) => self.step("ByteLevel", 2),
            // What Unicode lets grow does so once, however often it is asked for.
            N::BertNormalizer(_) | N::StripNormalizer(_) | N::StripAccents(_) | N::Lowercase(_) => self.step("", 1),
            N::NFC(_) | N::NFD(_) | N::NFKC(_) | N::NFKD(_) | N::Nmt(_) => self.step("", 1),
            N::Precompiled(_) => self.step("", 1),
        }
    }

    fn pre_tokenizer(&mut self, step: &PreTokenizerWrapper) -> Result<()> {
        use PreTokenizerWrapper as P;
        match step {
            P::Sequence(steps) => steps.as_ref().iter().try_for_each(|step| self.pre_tokenizer(step)),
            P::ByteLevel(bytes) => self.step("ByteLevel", if bytes.add_prefix_space { 4 } else { 2 }),
            P::Metaspace(meta) => self.step("Metaspace", 1 + meta.get_replacement().len_utf8()),
            P::BertPreTokenizer(_) | P::Delimiter(_) | P::Whitespace(_) | P::WhitespaceSplit(_) => self.step("", 1),
            P::Split(_) | P::Punctuation(_) | P::Digits(_) | P::UnicodeScripts(_) | P::FixedLength(_) => {
                self.step("", 1)
            }
        }
    }
}

/// Refuses a tokenizer whose rows would depend on chance, or not hold their text once.
pub fn check_arithmetic(path: &Path, tokenizer: &Tokenizer, special_tokens: usize) -> Result<()> {
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
