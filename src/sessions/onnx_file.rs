//! A batch in, hidden states or sentence vectors out: the session of an ONNX file that somebody else exported. It is
//! driven by what its inputs and outputs say, by name, type and shape, and every run's output is held against it.
//! Refused by name: a graph without an output that holds vectors, and an output of another shape than rows, tokens and
//! width; `onnx_inputs.rs` refuses inputs.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use half::f16;
use ort::session::{OutputSelector, RunOptions, SelectedOutputMarker};
use ort::value::{DynValue, Outlet, TensorElementType, ValueType};

use super::runtime::Runtime;
use super::session::{Call, Facts, Session};
use super::shared::{SharedSession, inference_error, is_shape, run_options, session_error};
use crate::batches::plan::PaddedBatch;
use crate::batches::pool;
use crate::checkpoint::external_data;
use crate::checkpoint::held::HeldFiles;
use crate::checkpoint::onnx_file::OnnxFile;
use crate::checkpoint::pooling::PoolingMode;
use crate::error::{Error, Result};
use crate::interrupt::{Heed, attentively};
use crate::sessions::lookup::outside_table;
use crate::sessions::loops::has_loop;
use crate::sessions::onnx_inputs::{Inputs, described};
use crate::spec::Spec;

/// How long two tokens may take when a graph with a loop is first run.
const LONGEST_TRIAL: Duration = Duration::from_secs(30);

/// An ONNX file, ready to run.
pub struct OnnxFileSession {
    session: SharedSession,
    path: PathBuf,
    inputs: Inputs,
    output: Output,
    facts: Facts,
    /// Whether a run may never end, so that it needs a thread that hears Ctrl-C beside it.
    may_loop: bool,
}

/// The one output that is fetched.
pub(super) struct Output {
    name: String,
    /// Whether it is one vector a row already.
    pub(super) pooled: bool,
    /// Components of a vector: what config.json or the graph says, and once it has run, what it gave.
    pub(super) width: Option<usize>,
}

impl OnnxFileSession {
    /// Opens a session on an ONNX file, and has it run once.
    pub fn open(spec: &Spec, file: &OnnxFile, runtime: &Runtime, threads: usize) -> Result<Self> {
        let path = &file.path;
        let mut files = HeldFiles::new(external_data::held_files(path)?, runtime.copies_weights())?;
        let opened = runtime.open_file(path, files.copies(), threads);
        files.settle()?;
        let session = opened.map_err(session_error(path))?;
        let inputs = Inputs::read(file, session.inputs())?;
        let mut output = choose_output(path, session.outputs())?;
        if !output.pooled {
            output.width = file.hidden_size.or(output.width);
        }
        let session = SharedSession::new(session);
        let facts = Facts::new(runtime.provider(), Vec::new(), 0, files);
        let mut opened =
            OnnxFileSession { session, path: path.clone(), inputs, output, facts, may_loop: has_loop(path) };
        // More tokens than rows: axes that are swapped show here, once and for all. In a later batch of as many rows as
        // tokens they would not, and what the graph declares of its outputs need not be so.
        let row = PaddedBatch::single(&vec![0; file.max_positions.min(2)]);
        let start = Instant::now();
        let mut heed = || match start.elapsed() < LONGEST_TRIAL {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let (width, _) = opened.fetch(&row, &mut heed).map_err(|error| match error {
            Error::Inference { source, .. } => Error::Session { path: path.clone(), source },
            Error::Interrupted => {
                let found = format!("not at its end after {} s with two tokens", LONGEST_TRIAL.as_secs());
                Error::unsupported(path, "Loop", found, "a loop that ends")
            }
            other => other,
        })?;
        opened.output.width = Some(width);
        let pooling = match opened.output.pooled {
            true => Vec::new(),
            // Decoders, which take keys and values of earlier tokens, have seen the whole row at the last one.
            false if opened.inputs.take_cache() && !spec.pooling_is_stated => vec![PoolingMode::LastToken],
            false => spec.pooling.clone(),
        };
        opened.facts = Facts::new(opened.facts.provider, pooling, width, opened.facts.files);
        Ok(opened)
    }

    /// Runs a batch; the width of its vectors, and their components. Where the graph has a loop, `heed` may end it.
    fn fetch(&self, batch: &PaddedBatch, heed: &mut Heed<'_>) -> Result<(usize, Vec<f32>)> {
        let failed = inference_error(batch);
        if !self.may_loop {
            let wanted = OutputSelector::no_default().with(&self.output.name);
            return self.fetch_with(batch, &run_options(batch, wanted).map_err(failed)?);
        }
        // All outputs are wanted: options that select some cannot be shared with a thread.
        let options = RunOptions::new().map_err(failed)?;
        let stop = || {
            // It fails where there is nothing to stop.
            let _ = options.terminate();
        };
        attentively(&|| self.fetch_with(batch, &options), heed, &stop)?
    }

    fn fetch_with<O: SelectedOutputMarker>(
        &self,
        batch: &PaddedBatch,
        options: &RunOptions<O>,
    ) -> Result<(usize, Vec<f32>)> {
        let failed = inference_error(batch);
        let arguments = self.inputs.arguments(batch).map_err(failed)?;
        let mut session = self.session.lock();
        let run = session.run_with_options(arguments, options);
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

impl Session for OnnxFileSession {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn compute(&self, batch: &PaddedBatch, call: &mut Call<'_>, take: &mut dyn FnMut(&[f32])) -> Result<()> {
        let (_, vectors) = self.fetch(batch, call.heed)?;
        if self.output.pooled {
            take(&vectors);
        } else {
            let pooling = pool::pooling_inputs(&self.facts.pooling, batch, call.skipped);
            take(&pool::pool_hidden_states(&vectors, &self.facts.pooling, batch, &pooling));
        }
        Ok(())
    }

    fn hides_padding(&self) -> bool {
        self.inputs.tell_padding()
    }
}

/// The output that holds vectors: `sentence_embedding`, else hidden states.
pub(super) fn choose_output(path: &Path, outputs: &[Outlet]) -> Result<Output> {
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

/// A model's folder, and the ONNX file of it that is asked for, by its name or by being itself what the folder should be.
pub fn folder_and_file(folder: PathBuf, file_name: Option<String>) -> (PathBuf, Option<String>) {
    match folder.extension().is_some_and(|end| end == "onnx") && folder.is_file() {
        true => split_path(&folder).map_or((folder, None), |(folder, file)| (folder, Some(file))),
        false => (folder, file_name),
    }
}

/// The folder that holds an ONNX file's tokenizer, and the file's name in it: exporters keep `model.onnx` beside
/// `tokenizer.json` or one folder below.
fn split_path(path: &Path) -> Option<(PathBuf, String)> {
    let parent = path.parent()?;
    let file = path.file_name()?.to_str()?;
    if parent.join("tokenizer.json").exists() {
        return Some((parent.to_owned(), file.to_owned()));
    }
    Some((parent.parent()?.to_owned(), format!("{}/{file}", parent.file_name()?.to_str()?)))
}
