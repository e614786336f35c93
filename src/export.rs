//! A batch in, hidden states or sentence vectors out: the session of an ONNX file that somebody else exported. It is
//! driven by what its inputs and outputs say, by name, type and shape, and every run's output is held against it.
//! Refused by name: a graph without an output that holds vectors, and an output of another shape than rows, tokens and
//! width; `export_inputs.rs` refuses inputs.

use std::path::{Path, PathBuf};

use half::f16;
use ort::session::{OutputSelector, Session};
use ort::value::{DynValue, Outlet, TensorElementType, ValueType};

use crate::batch::PaddedBatch;
use crate::error::{Error, Result};
use crate::export_inputs::{Inputs, described};
use crate::lookup::outside_table;
use crate::model::export::ExportFile;
use crate::session::{SharedSession, inference_error, is_shape, run_options};

/// An export, ready to run.
pub struct ExportSession {
    session: SharedSession,
    path: PathBuf,
    inputs: Inputs,
    output: Output,
}

/// The one output that is fetched.
struct Output {
    name: String,
    /// Whether it is one vector a row already.
    pooled: bool,
    /// Components of a vector: what config.json or the graph says, and once it has run, what it gave.
    width: Option<usize>,
}

/// What an export gives for a batch.
pub enum Vectors {
    /// (B, L, H): one for each token.
    Tokens(Vec<f32>),
    /// (B, H): one for each row.
    Rows(Vec<f32>),
}

impl ExportSession {
    /// Takes over a session on an export, and has it run once.
    pub fn new(session: Session, file: &ExportFile) -> Result<Self> {
        let path = &file.path;
        let inputs = Inputs::read(file, session.inputs())?;
        let mut output = choose_output(path, session.outputs())?;
        if !output.pooled {
            output.width = file.hidden_size.or(output.width);
        }
        let session = SharedSession::new(session);
        let mut export = ExportSession { session, path: path.clone(), inputs, output };
        // More tokens than rows: axes that are swapped show here, once and for all. In a later batch of as many rows as
        // tokens they would not, and what the graph declares of its outputs need not be so.
        let row = PaddedBatch::single(&vec![0; file.max_positions.min(2)]);
        let (width, _) = export.fetch(&row).map_err(|error| match error {
            Error::Inference { source, .. } => Error::Session { path: path.clone(), source },
            other => other,
        })?;
        export.output.width = Some(width);
        Ok(export)
    }

    /// H.
    pub fn hidden_size(&self) -> usize {
        self.output.width.unwrap_or(0)
    }

    /// Whether the graph is told which tokens are padding; else rows of different lengths must not meet in a batch.
    pub fn hides_padding(&self) -> bool {
        self.inputs.tell_padding()
    }

    /// Whether the graph pools.
    pub fn pools(&self) -> bool {
        self.output.pooled
    }

    /// Whether the graph takes keys and values of earlier tokens, as decoders do.
    pub fn is_decoder(&self) -> bool {
        self.inputs.take_cache()
    }

    /// Runs a batch.
    pub fn run(&self, batch: &PaddedBatch) -> Result<Vectors> {
        let (_, values) = self.fetch(batch)?;
        Ok(if self.output.pooled { Vectors::Rows(values) } else { Vectors::Tokens(values) })
    }

    /// Runs a batch; the width of its vectors, and their components.
    fn fetch(&self, batch: &PaddedBatch) -> Result<(usize, Vec<f32>)> {
        let failed = inference_error(batch);
        let arguments = self.inputs.arguments(batch).map_err(failed)?;
        let wanted = OutputSelector::no_default().with(&self.output.name);
        let options = run_options(batch, wanted).map_err(failed)?;
        let mut session = self.session.lock();
        let run = session.run_with_options(arguments, &options);
        let explained = |error| outside_table(&self.path, batch, &error).unwrap_or_else(|| failed(error));
        let outputs = run.map_err(explained)?;
        let Some(output) = outputs.get(&self.output.name) else {
            return Err(Error::Graph { problem: format!("no output `{}`", self.output.name) });
        };
        let width = self.checked_width(output.shape(), batch)?;
        Ok((width, widened(output).map_err(failed)?))
    }

    /// The width of an output that has a vector for every row, or every token, of a batch.
    fn checked_width(&self, found: &[i64], batch: &PaddedBatch) -> Result<usize> {
        let given = found.last().and_then(|size| usize::try_from(*size).ok());
        let width = self.output.width.or(given).unwrap_or(0);
        let (expected, axes) = match self.output.pooled {
            true => (vec![batch.rows, width], "rows and width"),
            false => (vec![batch.rows, batch.length, width], "rows, tokens and width"),
        };
        if width > 0 && is_shape(found, &expected) {
            return Ok(width);
        }
        let field = format!("output `{}` of {} rows of {} tokens", self.output.name, batch.rows, batch.length);
        let supported = format!("{expected:?}: {axes}");
        Err(Error::unsupported(&self.path, field, format!("of shape {found:?}"), supported))
    }
}

/// The output that holds vectors: `sentence_embedding`, else hidden states.
fn choose_output(path: &Path, outputs: &[Outlet]) -> Result<Output> {
    let rank = |output: &Outlet| match output.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32 | TensorElementType::Float16, shape, .. } => shape.len(),
        _ => 0,
    };
    let named = |name: &str, dimensions: usize| {
        outputs.iter().find(move |output| output.name() == name && rank(output) == dimensions)
    };
    let chosen = named("sentence_embedding", 2)
        .or_else(|| ["last_hidden_state", "token_embeddings", "hidden_states"].iter().find_map(|name| named(name, 3)))
        .or_else(|| outputs.iter().find(|output| rank(output) == 3));
    let Some(chosen) = chosen else {
        let supported = "sentence_embedding (batch, width) or last_hidden_state (batch, sequence, width)";
        return Err(Error::unsupported(path, "outputs", described(outputs), supported));
    };
    let width = match chosen.dtype() {
        ValueType::Tensor { shape, .. } => {
            shape.last().and_then(|size| usize::try_from(*size).ok()).filter(|size| *size > 0)
        }
        _ => None,
    };
    Ok(Output { name: chosen.name().to_owned(), pooled: rank(chosen) == 2, width })
}

fn widened(output: &DynValue) -> Result<Vec<f32>, ort::Error> {
    if let Ok((_, values)) = output.try_extract_tensor::<f32>() {
        return Ok(values.to_vec());
    }
    let (_, values) = output.try_extract_tensor::<f16>()?;
    Ok(values.iter().map(|value| value.to_f32()).collect())
}

/// The folder that holds an ONNX file's tokenizer, and the file's name in it: exporters keep `model.onnx` beside
/// `tokenizer.json` or one folder below.
pub fn split_path(path: &Path) -> Option<(PathBuf, String)> {
    let parent = path.parent()?;
    let file = path.file_name()?.to_str()?;
    if parent.join("tokenizer.json").exists() {
        return Some((parent.to_owned(), file.to_owned()));
    }
    Some((parent.parent()?.to_owned(), format!("{}/{file}", parent.file_name()?.to_str()?)))
}
