//! A text in, the ids that model2vec would average out: it cuts the text by characters first, and drops what its vocabulary
//! does not know.

use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;

use crate::error::Source;

/// What model2vec asks of a vocabulary.
#[derive(Default)]
pub struct Known {
    unknown: Option<u32>,
    /// Characters of a token, which times `max_length` is where long texts are cut.
    median_length: usize,
}

impl Known {
    /// Reads a vocabulary.
    pub fn of(tokenizer: &Tokenizer) -> Self {
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

    /// Token ids as model2vec sees them: the text cut, then unknown ids dropped, then the rest cut.
    pub fn row(&self, tokenizer: &Tokenizer, text: &str, max_length: usize) -> Result<(Vec<u32>, usize), Source> {
        let characters = max_length.saturating_mul(self.median_length);
        let end = text.char_indices().nth(characters).map_or(text.len(), |(end, _)| end);
        let encoding = tokenizer.encode_fast(&text[..end], false)?;
        let mut ids: Vec<u32> = encoding.get_ids().to_vec();
        ids.retain(|id| Some(*id) != self.unknown);
        // How many tokens the rest would have had is not known: at least one counts.
        let full_length = if end < text.len() { ids.len().max(max_length) + 1 } else { ids.len() };
        ids.truncate(max_length);
        Ok((ids, full_length))
    }
}
