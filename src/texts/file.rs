//! A tokenizer.json in, its tokenizer out, within [`bounds`].

use std::path::Path;

use serde::Deserialize;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
    TokenizerImpl,
};

use crate::checkpoint::json::read_file;
use crate::error::{Error, Result, Source};
use crate::guard::guarded;
use crate::texts::bounds;

/// The part of the file that is needed before the whole is read: reading added tokens normalizes them.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    normalizer: Option<NormalizerWrapper>,
    #[serde(default)]
    model: Kind,
}

/// What the model says that it is; old files do not.
#[derive(Deserialize, Default)]
#[serde(expecting = "a model")]
struct Kind {
    #[serde(default)]
    r#type: Option<String>,
}

/// A tokenizer whose model is of a known kind.
type Of<M> = TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// Reads the file.
pub fn read(path: &Path, invalid: impl Fn(Source) -> Error) -> Result<Tokenizer> {
    let needed_for = "texts are tokenized with it (AutoTokenizer.from_pretrained(…).save_pretrained(…) writes one)";
    let bytes = read_file(path, needed_for)?;
    let head: Head = guarded(|| Ok(serde_json::from_slice(&bytes)?)).map_err(&invalid)?;
    bounds::check_normalizer(path, head.normalizer.as_ref())?;
    let tokenizer = guarded(|| {
        // Where the kind is not known beforehand, every value of the vocabulary goes through several forms: twice the time.
        let known = match head.model.r#type.as_deref() {
            Some("BPE") => of::<BPE>(&bytes),
            Some("WordPiece") => of::<WordPiece>(&bytes),
            Some("WordLevel") => of::<WordLevel>(&bytes),
            Some("Unigram") => of::<Unigram>(&bytes),
            Some(_) | None => None,
        };
        // That way is stricter, about fields of a model that it does not have for one.
        known.map_or_else(|| Tokenizer::from_bytes(&bytes), Ok)
    });
    let tokenizer = tokenizer.map_err(invalid)?;
    bounds::check(path, &tokenizer)?;
    Ok(tokenizer)
}

fn of<'a, M: Model + Deserialize<'a> + Into<ModelWrapper>>(bytes: &'a [u8]) -> Option<Tokenizer> {
    serde_json::from_slice::<Of<M>>(bytes).ok().map(Tokenizer::from)
}
