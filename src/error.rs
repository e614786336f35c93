//! The one error type. Variants differ by what the user can do about them; `src/python/` maps each to an exception.

use std::io;
use std::path::{Path, PathBuf};

/// `Result` with ironvec's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A lower library's error, kept as the source.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that the model needs is not there.
    #[error("{}: no such file; {needed_for}", path.display())]
    FileMissing {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it is needed, and what would do instead.
        needed_for: String,
    },

    /// A file is there and cannot be read, or is not what its name says.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// The reader's own error.
        #[source]
        source: Option<Source>,
    },

    /// A field of a model's file asks for something that ironvec does not do, or has a value out of range.
    #[error("{}: {field} is {found}; supported: {supported}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The field's name in the file.
        field: String,
        /// Its value.
        found: String,
        /// What would be accepted.
        supported: String,
    },

    /// A weight tensor is missing, or has another shape or type than the config says.
    #[error("{}: tensor `{tensor}`: found {found}, expected {expected}", path.display())]
    Tensor {
        /// The file that holds, or should hold, the tensor.
        path: PathBuf,
        /// The tensor's name in the checkpoint.
        tensor: String,
        /// What is there.
        found: String,
        /// What the config asks for.
        expected: String,
    },

    /// The tokenizer and the weights do not belong together.
    #[error("{}: token id {id} is outside the embedding table of {rows} rows (text {text_index})", path.display())]
    TokenOutOfRange {
        /// The tokenizer file.
        path: PathBuf,
        /// The id that the tokenizer gave.
        id: u32,
        /// Rows of the word embedding table.
        rows: usize,
        /// Which text of the call.
        text_index: usize,
    },

    /// The tokenizer's own file makes it fail on a text.
    #[error("{}: the tokenizer failed on texts[{text_index}]: {source}", path.display())]
    Tokenize {
        /// The tokenizer file.
        path: PathBuf,
        /// Which text of the call.
        text_index: usize,
        /// The tokenizer's error.
        source: Source,
    },

    /// A text is longer than `max_length` and the caller asked for an error then.
    #[error(
        "texts[{text_index}] has {tokens} tokens, more than max_length={max_length}; \
         shorten it, raise max_length, or pass on_truncate=\"ignore\""
    )]
    TextTooLong {
        /// Which text of the call.
        text_index: usize,
        /// Tokens of the text, special tokens included.
        tokens: usize,
        /// The limit in force.
        max_length: usize,
    },

    /// A vector that is no number: of weights that are none, of arithmetic that overflows, or of nothing to pool.
    #[error(
        "{}: NaN or infinite components in the vector of {}; the weights hold such numbers, the arithmetic overflows, \
         or `max` pools no token", path.display(), listed(text_indices)
    )]
    NotFinite {
        /// The model's folder, or the ONNX file.
        path: PathBuf,
        /// Which texts of the call, as far as they ran.
        text_indices: Vec<usize>,
    },

    /// A column of texts whose offsets or bytes are not what they should be.
    #[error("{problem}")]
    Texts {
        /// What is wrong, and where.
        problem: String,
    },

    /// An argument is outside what the function takes.
    #[error("{argument}={found}: expected {expected}")]
    Argument {
        /// The argument's name.
        argument: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: String,
    },

    /// ONNX Runtime's library cannot be used.
    #[error("ONNX Runtime cannot be used: {problem}. Looked in: {looked_in}. `pip install onnxruntime` provides it")]
    Runtime {
        /// What is wrong.
        problem: String,
        /// The folders and files tried.
        looked_in: String,
    },

    /// A provider that is not there was asked for by name.
    #[error("provider {asked:?} is not available; available: {available}")]
    Provider {
        /// The provider asked for.
        asked: String,
        /// Those that would work.
        available: String,
    },

    /// A provider that is there does not do what it was asked for.
    #[error("provider {asked:?} cannot be used: {problem}. provider=\"cpu\" runs every model")]
    ProviderFailed {
        /// The provider asked for.
        asked: String,
        /// What it did instead.
        problem: String,
    },

    /// The synthesised graph is inconsistent: a defect of ironvec, not of the model.
    #[error("graph synthesis: {problem} (please report this as a bug in ironvec)")]
    Graph {
        /// What is inconsistent.
        problem: String,
    },

    /// ONNX Runtime refused the graph.
    #[error("{}: ONNX Runtime refused the model: {source}", path.display())]
    Session {
        /// The model's folder.
        path: PathBuf,
        /// ONNX Runtime's error.
        source: Source,
    },

    /// ONNX Runtime failed while it ran a batch.
    #[error("ONNX Runtime failed on a batch of {rows} rows x {length} tokens: {source}")]
    Inference {
        /// Rows of the batch.
        rows: usize,
        /// Padded length in tokens.
        length: usize,
        /// ONNX Runtime's error.
        source: Source,
    },

    /// Memory that a file or a call asks for cannot be had.
    #[error("not enough memory {purpose}: {source}")]
    Memory {
        /// "for …", "to …", "while …".
        purpose: String,
        /// The allocator's, the system's or ONNX Runtime's error.
        source: Source,
    },

    /// A file cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: Source,
    },

    /// The caller's progress hook asked to stop (Ctrl-C, or an exception in it).
    #[error("interrupted")]
    Interrupted,
}

/// The first of some texts by name, and how many more there are.
fn listed(text_indices: &[usize]) -> String {
    let (named, more) = text_indices.split_at(text_indices.len().min(5));
    let named: Vec<String> = named.iter().map(|index| format!("texts[{index}]")).collect();
    let named = named.join(", ");
    if more.is_empty() { named } else { format!("{named} and {} more", more.len()) }
}

impl Error {
    /// A file that is not what its name says.
    pub fn malformed(path: &Path, problem: impl Into<String>) -> Self {
        Error::Malformed { path: path.to_owned(), problem: problem.into(), source: None }
    }

    /// The same, with the reader's own error kept as the source.
    pub fn malformed_by(path: &Path, problem: impl Into<String>, source: impl Into<Source>) -> Self {
        Error::Malformed { path: path.to_owned(), problem: problem.into(), source: Some(source.into()) }
    }

    /// Texts of one batch, in any order, whose vectors are no numbers.
    pub fn not_finite(path: &Path, mut text_indices: Vec<usize>) -> Self {
        text_indices.sort_unstable();
        Error::NotFinite { path: path.to_owned(), text_indices }
    }

    /// A file that the system does not let be read, or not for want of memory, which is no fault of the file.
    pub fn unreadable(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::OutOfMemory => {
                Error::Memory { purpose: format!("to read {}", path.display()), source: source.into() }
            }
            _ => Error::malformed_by(path, format!("cannot be read: {source}"), source),
        }
    }

    /// A field with a value that is not supported.
    pub fn unsupported(
        path: &Path,
        field: impl Into<String>,
        found: impl Into<String>,
        supported: impl Into<String>,
    ) -> Self {
        Error::Unsupported {
            path: path.to_owned(),
            field: field.into(),
            found: found.into(),
            supported: supported.into(),
        }
    }
}
