//! A tokenizer in, the places out at which a long text may be cut: the tokens of the pieces, one after the other, are
//! exactly those of the whole. Nothing is taken on trust: every component must be among those that were read (tokenizers
//! 0.23) and found to treat both sides of such a place apart; with any other the text stays whole.
//!
//! A place is before one separator with a plain character on its left and two on its right. Plain characters are assigned
//! letters (and, beside a space, ASCII punctuation and digits) that no normalizer here removes, makes a space of, or
//! composes with what comes before; a space is where every Unicode normal form may be cut. The pre-tokenizer's first step
//! must end a split there, whatever follows; all later steps, and the model, see one split at a time.

use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::tokenizer::{NormalizedString, Normalizer, SplitDelimiterBehavior};
use tokenizers::{AddedToken, Tokenizer};

/// The regular expressions of GPT-2, Qwen, Llama 3 and GPT-4: no alternative reaches over a space that follows something
/// else, or over a line feed that follows a letter or digit, and none looks back.
const SPLITTING: [&str; 4] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
];
/// What SentencePiece has for a space.
const META: char = '▁';

/// Where texts may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cuts {
    /// Before a line feed too.
    line_feeds: bool,
    /// Between ASCII characters alone.
    ascii_only: bool,
}

impl Cuts {
    /// Where this tokenizer allows it, if anywhere.
    pub fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let mut normal = Normal { space: ' ', ascii_only: false, pads: false };
        if let Some(normalizer) = tokenizer.get_normalizer() {
            normal.follow(normalizer)?;
        }
        let added = tokenizer.get_added_tokens_decoder();
        if !added.values().all(|token| stays_on_one_side(token, tokenizer.get_normalizer())) {
            return None;
        }
        let steps = match tokenizer.get_pre_tokenizer()? {
            PreTokenizerWrapper::Sequence(sequence) => sequence.as_ref(),
            single => std::slice::from_ref(single),
        };
        let (first, later) = steps.split_first()?;
        let nested = |step: &PreTokenizerWrapper| matches!(step, PreTokenizerWrapper::Sequence(_));
        if later.iter().any(nested) {
            return None;
        }
        let line_feeds = splits(first, normal.space)?;
        let drops_spaces = drops_spaces(first);
        if !drops_spaces && later.iter().any(|step| matches!(step, PreTokenizerWrapper::Metaspace(_))) {
            return None; // it may treat the first split of a text unlike others
        }
        let ascii_only = normal.ascii_only || (normal.pads && !drops_spaces);
        Some(Cuts { line_feeds: line_feeds && !normal.ascii_only, ascii_only })
    }

    /// The text in pieces of at least `length` bytes, the last one perhaps shorter; one where it must not be cut.
    pub fn pieces(self, text: &str, length: usize) -> Vec<&str> {
        let (mut pieces, mut start) = (Vec::new(), 0);
        while let Some(end) = self.place_from(text, start + length.max(1)) {
            pieces.push(&text[start..end]);
            start = end;
        }
        pieces.push(&text[start..]);
        pieces
    }

    /// The first place at or after `from`.
    fn place_from(self, text: &str, from: usize) -> Option<usize> {
        let separators = text.as_bytes().iter().enumerate().skip(from);
        separators.filter(|(_, byte)| matches!(byte, b' ' | b'\n')).map(|(at, _)| at).find(|&at| self.allows(text, at))
    }

    /// Whether the text may be cut before the separator that is there: a byte of ASCII, so the slices are whole.
    fn allows(self, text: &str, at: usize) -> bool {
        let line_feed = text.as_bytes()[at] == b'\n';
        let plain = |character: char| match character {
            _ if character.is_ascii_alphanumeric() => true,
            _ if character.is_ascii_graphic() => !line_feed,
            _ => !self.ascii_only && is_plain_letter(character),
        };
        let (mut before, mut after) = (text[..at].chars().rev(), text[at + 1..].chars());
        (self.line_feeds || !line_feed)
            && before.next().is_some_and(plain)
            && after.next().is_some_and(plain)
            && after.next().is_some_and(|second| plain(second) || second.is_ascii_whitespace())
    }
}

/// What the normalizer makes of a separator, and of the characters beside it.
struct Normal {
    space: char,
    ascii_only: bool,
    /// Puts spaces around Chinese characters.
    pads: bool,
}

impl Normal {
    /// Goes through a normalizer; nothing where it is not known to treat both sides apart.
    fn follow(&mut self, normalizer: &NormalizerWrapper) -> Option<()> {
        use NormalizerWrapper as N;
        match normalizer {
            N::Sequence(steps) => steps.as_ref().iter().try_for_each(|step| self.follow(step)),
            N::BertNormalizer(bert) => {
                self.pads |= bert.handle_chinese_chars;
                Some(())
            }
            N::StripAccents(_) | N::Lowercase(_) | N::Nmt(_) => Some(()),
            N::NFC(_) | N::NFD(_) | N::NFKC(_) | N::NFKD(_) => Some(()),
            // A piece starts with its separator, which stripping on the left would take.
            N::StripNormalizer(strip) => (!strip.strip_left).then_some(()),
            N::Precompiled(_) => {
                self.ascii_only = true;
                let unchanged = |character: char| {
                    let mut one = NormalizedString::from(character.to_string());
                    normalizer.normalize(&mut one).is_ok() && one.get() == character.to_string()
                };
                (' '..='~').all(unchanged).then_some(())
            }
            N::Replace(_) if self.pads => None,
            N::Replace(replace) => {
                let fields = serde_json::to_value(replace).ok()?;
                let pattern = fields.get("pattern")?;
                let found = |kind: &str| pattern.get(kind).and_then(serde_json::Value::as_str);
                match (found("String"), found("Regex"), replace.content.as_str()) {
                    (Some(" "), _, "▁") => self.space = META,
                    // A single space is no match, and no longer run reaches over the place.
                    (_, Some(" {2,}"), " " | "▁") => {}
                    _ => return None,
                }
                Some(())
            }
            N::Prepend(_) | N::ByteLevel(_) => None,
        }
    }
}

/// Whether no occurrence of the token, as it is or normalized, reaches over a separator.
fn stays_on_one_side(token: &AddedToken, normalizer: Option<&NormalizerWrapper>) -> bool {
    let mut normalized = NormalizedString::from(token.content.as_str());
    let known = match normalizer.filter(|_| token.normalized) {
        Some(normalizer) => normalizer.normalize(&mut normalized).is_ok(),
        None => true,
    };
    let spaceless = |text: &str| !text.contains(|character: char| character.is_whitespace() || character == META);
    known && !token.rstrip && spaceless(&token.content) && spaceless(normalized.get())
}

/// Whether this first step ends a split before a line feed as well; nothing where it does not even before a space.
fn splits(step: &PreTokenizerWrapper, space: char) -> Option<bool> {
    use PreTokenizerWrapper as P;
    let plain = space == ' ';
    match step {
        P::BertPreTokenizer(_) | P::Whitespace(_) | P::WhitespaceSplit(_) if plain => Some(true),
        P::ByteLevel(bytes) if plain && bytes.use_regex => Some(!bytes.add_prefix_space),
        P::Split(split) if plain && !split.invert && split.behavior == SplitDelimiterBehavior::Isolated => {
            matches!(&split.pattern, SplitPattern::Regex(regex) if SPLITTING.contains(&regex.as_str())).then_some(true)
        }
        P::Metaspace(meta) if meta.split && (plain || meta.get_replacement() == space) => Some(false),
        P::Delimiter(split) if split.delimiter == space => Some(false),
        _ => None,
    }
}

/// Whether no split holds whitespace after this step, so that a piece's first split does not start where the piece does.
fn drops_spaces(step: &PreTokenizerWrapper) -> bool {
    use PreTokenizerWrapper as P;
    matches!(step, P::BertPreTokenizer(_) | P::Whitespace(_) | P::WhitespaceSplit(_))
}

/// Letters of ranges without a gap that have no canonical combining class and compose with nothing before them.
fn is_plain_letter(character: char) -> bool {
    matches!(character,
        '\u{4E00}'..='\u{9FA5}' | '\u{AC00}'..='\u{D7A3}' | '\u{3041}'..='\u{3094}' | '\u{30A1}'..='\u{30FA}'
        | '\u{0410}'..='\u{044F}' | '\u{03B1}'..='\u{03C9}' | '\u{0621}'..='\u{063A}' | '\u{0641}'..='\u{064A}'
        | '\u{05D0}'..='\u{05EA}' | '\u{0905}'..='\u{0939}' | '\u{0E01}'..='\u{0E30}' | '\u{00E0}'..='\u{00F6}')
}

#[cfg(test)]
mod tests;
