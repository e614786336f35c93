//! A batch in, hidden states or sentence vectors out: the session of an ONNX file that somebody else exported. It is
//! driven by what its inputs and outputs say, by name, type and shape. Refused by name: an input that ironvec cannot
//! fill, a graph without an output that holds vectors, fixed batch or sequence dimensions.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use half::f16;
use ort::session::{OutputSelector, RunOptions, SelectedOutputMarker, Session, SessionInputValue};
use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueType};

use crate::attention::{Heed, attentively};
use crate::batch::PaddedBatch;
use crate::error::{Error, Result};
use crate::loops::has_loop;
use crate::session::{Arguments, SharedSession, inference_error, run_options};

/// How long one token may take where a graph with a loop is run to learn how wide its vectors are.
const LONGEST_TRIAL: Duration = Duration::from_secs(30);

/// An export, ready to run.
pub struct ExportSession {
    session: SharedSession,
    inputs: Vec<Input>,
    output: Output,
    hidden_size: usize,
    /// Whether a run may never end, so that it needs a thread that hears Ctrl-C beside it.
    may_loop: bool,
}

/// One input of the graph.
struct Input {
    name: String,
    role: Role,
    element: TensorElementType,
}

/// What an input is filled with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    InputIds,
    AttentionMask,
    PositionIds,
    TokenTypeIds,
    /// Keys or values of earlier tokens: none. Heads and D.
    Past(usize, usize),
}

/// The one output that is fetched.
struct Output {
    name: String,
    /// Whether it is one vector a row already.
    pooled: bool,
}

/// What an export gives for a batch.
pub enum Vectors {
    /// (B, L, H): one for each token.
    Tokens(Vec<f32>),
    /// (B, H): one for each row.
    Rows(Vec<f32>),
}

impl ExportSession {
    /// Takes over a session on an export; `hidden_size` is what config.json says, if anything.
    pub fn new(session: Session, path: &Path, hidden_size: Option<usize>) -> Result<Self> {
        let inputs = session.inputs().iter().map(|input| read_input(path, input)).collect::<Result<Vec<_>>>()?;
        if !inputs.iter().any(|input| input.role == Role::InputIds) {
            return Err(Error::unsupported(path, "inputs", names(session.inputs()), "input_ids among them"));
        }
        let (output, width) = choose_output(path, session.outputs())?;
        let (session, may_loop) = (SharedSession::new(session), has_loop(path));
        let mut export = ExportSession { session, inputs, output, hidden_size: 0, may_loop };
        export.hidden_size = match width.or(hidden_size) {
            Some(width) => width,
            None => export.trial(path)?,
        };
        Ok(export)
    }

    /// H.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// Whether the graph pools.
    pub fn pools(&self) -> bool {
        self.output.pooled
    }

    /// Whether the graph takes keys and values of earlier tokens, as decoders do.
    pub fn is_decoder(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input.role, Role::Past(..)))
    }

    /// Runs one token; the width of its vector.
    fn trial(&self, path: &Path) -> Result<usize> {
        let start = Instant::now();
        let mut heed = || match start.elapsed() < LONGEST_TRIAL {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        match self.run(&PaddedBatch::single(&[0]), &mut heed) {
            Ok(Vectors::Tokens(values) | Vectors::Rows(values)) => Ok(values.len()),
            Err(Error::Interrupted) => {
                let found = format!("not at its end after {} s with one token", LONGEST_TRIAL.as_secs());
                Err(Error::unsupported(path, "Loop", found, "a loop that ends, or an output whose width is stated"))
            }
            Err(error) => Err(error),
        }
    }

    /// Runs a batch. Where the graph has a loop, `heed` may end it.
    pub fn run(&self, batch: &PaddedBatch, heed: &mut Heed<'_>) -> Result<Vectors> {
        let failed = inference_error(batch);
        if !self.may_loop {
            let wanted = OutputSelector::no_default().with(&self.output.name);
            return self.run_with(batch, &run_options(batch, wanted).map_err(failed)?);
        }
        // All outputs are wanted: options that select some cannot be shared with a thread.
        let options = RunOptions::new().map_err(failed)?;
        let stop = || {
            // It fails where there is nothing to stop.
            let _ = options.terminate();
        };
        attentively(&|| self.run_with(batch, &options), heed, &stop)?
    }

    fn run_with<O: SelectedOutputMarker>(&self, batch: &PaddedBatch, options: &RunOptions<O>) -> Result<Vectors> {
        let failed = inference_error(batch);
        let mut arguments = Arguments::new();
        for input in &self.inputs {
            arguments.push((input.name.clone(), fill(input, batch).map_err(failed)?));
        }
        let mut session = self.session.lock();
        let outputs = session.run_with_options(arguments, options).map_err(failed)?;
        let Some(output) = outputs.get(&self.output.name) else {
            return Err(Error::Graph { problem: format!("no output `{}`", self.output.name) });
        };
        let values = widened(output).map_err(failed)?;
        Ok(if self.output.pooled { Vectors::Rows(values) } else { Vectors::Tokens(values) })
    }
}

fn names(outlets: &[Outlet]) -> String {
    let described: Vec<String> =
        outlets.iter().map(|outlet| format!("{}: {}", outlet.name(), outlet.dtype())).collect();
    described.join("; ")
}

fn read_input(path: &Path, input: &Outlet) -> Result<Input> {
    use TensorElementType::{Float16, Float32, Int32, Int64};
    let name = input.name();
    let refusal =
        |supported: &str| Error::unsupported(path, format!("input `{name}`"), input.dtype().to_string(), supported);
    let ValueType::Tensor { ty, shape, .. } = input.dtype() else { return Err(refusal("tensors")) };
    let role = match name {
        "input_ids" => Role::InputIds,
        "attention_mask" => Role::AttentionMask,
        "position_ids" => Role::PositionIds,
        "token_type_ids" => Role::TokenTypeIds,
        _ if name.starts_with("past") => match shape[..] {
            [_, heads, _, width] if heads > 0 && width > 0 && matches!(ty, Float32 | Float16) => {
                Role::Past(heads as usize, width as usize)
            }
            _ => return Err(refusal("a float cache of shape (batch, heads, past, head size), heads and size known")),
        },
        _ => {
            return Err(refusal("input_ids, attention_mask, position_ids, token_type_ids and past_key_values.*"));
        }
    };
    if !matches!(role, Role::Past(..)) {
        if !matches!(ty, Int64 | Int32) {
            return Err(refusal("int64 or int32"));
        }
        if shape.len() != 2 || shape.iter().any(|size| *size >= 0) {
            return Err(refusal("two dynamic dimensions, batch and sequence"));
        }
    }
    Ok(Input { name: name.to_owned(), role, element: *ty })
}

/// The output that holds vectors, and its width where the graph tells: `sentence_embedding`, else hidden states.
fn choose_output(path: &Path, outputs: &[Outlet]) -> Result<(Output, Option<usize>)> {
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
        return Err(Error::unsupported(path, "outputs", names(outputs), supported));
    };
    let width = match chosen.dtype() {
        ValueType::Tensor { shape, .. } => {
            shape.last().and_then(|size| usize::try_from(*size).ok()).filter(|size| *size > 0)
        }
        _ => None,
    };
    Ok((Output { name: chosen.name().to_owned(), pooled: rank(chosen) == 2 }, width))
}

fn fill(input: &Input, batch: &PaddedBatch) -> Result<SessionInputValue<'static>, ort::Error> {
    let shape = [batch.rows, batch.length];
    let integers = |values: Vec<i32>| -> Result<SessionInputValue<'static>, ort::Error> {
        Ok(match input.element {
            TensorElementType::Int32 => Tensor::from_array((shape, values))?.into(),
            _ => Tensor::from_array((shape, values.into_iter().map(i64::from).collect::<Vec<_>>()))?.into(),
        })
    };
    match input.role {
        Role::InputIds => integers(batch.input_ids.clone()),
        Role::AttentionMask => integers(batch.attention_mask.clone()),
        // Rows are padded on the right, so every token's position is its index.
        Role::PositionIds => integers((0..batch.rows).flat_map(|_| 0..batch.length as i32).collect()),
        Role::TokenTypeIds => integers(vec![0; batch.rows * batch.length]),
        Role::Past(heads, width) => {
            let shape = [batch.rows, heads, 0, width];
            Ok(match input.element {
                TensorElementType::Float16 => Tensor::from_array((shape, Vec::<f16>::new()))?.into(),
                _ => Tensor::from_array((shape, Vec::<f32>::new()))?.into(),
            })
        }
    }
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
