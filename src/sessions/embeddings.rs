//! Token ids in, embedded rows out, for graphs that leave the lookup to the host: the tables stay mapped, in whatever type
//! the checkpoint holds them. For BERT the sum of word, position and token type 0, whose LayerNorm is the graph's.

use crate::checkpoint::tensors::{MappedTensor, TensorReader};
use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};
use crate::spec::{Architecture, Spec};

/// A model's embedding tables.
pub struct Embeddings {
    words: MappedTensor,
    /// The position table, and the row of token type 0.
    encoder: Option<(MappedTensor, Vec<f32>)>,
}

impl Embeddings {
    /// Maps the tables of a checkpoint.
    pub fn open(spec: &Spec, weights: &Weights) -> Result<Self> {
        let mut tensors = TensorReader::new(weights);
        match &spec.architecture {
            Architecture::Bert(config) => {
                let bare = weights.contains("embeddings.word_embeddings.weight");
                let mut table = |kind: &str, rows: usize| {
                    let prefix = if bare { "" } else { "bert." };
                    let name = format!("{prefix}embeddings.{kind}_embeddings.weight");
                    tensors.tensor(&name, &[rows, config.hidden_size])
                };
                let types = table("token_type", config.type_vocab_size)?;
                Ok(Embeddings {
                    words: table("word", config.vocab_size)?,
                    encoder: Some((table("position", config.max_position_embeddings)?, types.rows(0..1))),
                })
            }
            Architecture::Qwen3(config) => {
                let bare = weights.contains("embed_tokens.weight");
                let name = if bare { "embed_tokens.weight" } else { "model.embed_tokens.weight" };
                let words = tensors.tensor(name, &[config.vocab_size, config.hidden_size])?;
                Ok(Embeddings { words, encoder: None })
            }
            Architecture::Export(file) => {
                Err(Error::Graph { problem: format!("{} embeds its tokens itself", file.path.display()) })
            }
        }
    }

    /// Writes a row's embedded tokens, (tokens, H), to the front of `target`. The tokenizer has checked the ids.
    pub fn embed(&self, ids: &[i32], target: &mut [f32]) {
        let width = self.words.row_size();
        for (position, (id, slot)) in ids.iter().zip(target.chunks_exact_mut(width)).enumerate() {
            let row = usize::try_from(*id).unwrap_or(usize::MAX - 1);
            let word = self.words.rows(row..row + 1);
            slot.iter_mut().zip(word).for_each(|(slot, value)| *slot = value);
            if let Some((positions, first_type)) = &self.encoder {
                let added = positions.rows(position..position + 1);
                slot.iter_mut().zip(added.iter().zip(first_type)).for_each(|(slot, (at, kind))| *slot += at + kind);
            }
        }
    }
}
