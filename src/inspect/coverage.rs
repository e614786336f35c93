//! An ONNX file in, a report of what CoreML would take of it out: read, fix dimensions, let ONNX Runtime infer shapes,
//! judge. Weights are neither needed nor read. Refused: a file that is not there, is no ONNX model, or
//! that ONNX Runtime does not open.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use prost::Message;

use crate::error::{Error, Result};
use crate::inspect::lean::{Fixed, drop_weights, fix_dimensions, weights_as_inputs};
use crate::inspect::{Report, inspect, skim};
use crate::lowering::onnx::proto::ModelProto;
use crate::sessions::runtime::Runtime;
use crate::sessions::shapes;
use crate::sessions::shared::session_error;

/// A protobuf message is at most this long; larger models keep their weights in another file.
const MAX_BYTES: u64 = 1 << 31;

/// How a file is inspected.
#[derive(Debug, Default)]
pub struct InspectOptions {
    /// Folders in which libonnxruntime is looked for.
    pub runtime_folders: Vec<PathBuf>,
    /// Sizes for dynamic dimensions.
    pub fixed: Fixed,
    /// Takes the provider as set up without `RequireStaticInputShapes`.
    pub dynamic_shapes: bool,
}

/// Inspects an ONNX file.
pub fn inspect_file(path: &Path, options: &InspectOptions) -> Result<Report> {
    let mut model = read(path)?;
    let runtime = Runtime::load(&options.runtime_folders)?;
    fix_dimensions(&mut model, &options.fixed)?;
    let weights = drop_weights(&mut model);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A few kernels want to see their weights when a session is opened: only for them is the model opened with all it has.
    let inferred = shapes::infer(&runtime, weights_as_inputs(&model, &weights), folder).or_else(|_| {
        let mut whole = decode(path, &map(path)?)?;
        fix_dimensions(&mut whole, &options.fixed)?;
        shapes::infer(&runtime, whole, folder).map_err(session_error(path))
    })?;
    Ok(inspect(&model, inferred, !options.dynamic_shapes))
}

/// The model of a file, without the weights that lie in it.
pub fn read(path: &Path) -> Result<ModelProto> {
    let bytes = map(path)?;
    match skim::without_weights(&bytes) {
        Some(lean) => decode(path, &lean),
        None => decode(path, &bytes),
    }
}

fn decode(path: &Path, bytes: &[u8]) -> Result<ModelProto> {
    let model = ModelProto::decode(bytes)
        .map_err(|source| Error::malformed_by(path, format!("is not an ONNX model: {source}"), source))?;
    match &model.graph {
        Some(_) => Ok(model),
        None => Err(Error::malformed(path, "is not an ONNX model: it has no graph")),
    }
}

fn map(path: &Path) -> Result<Mmap> {
    let unreadable = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => {
            Error::FileMissing { path: path.to_owned(), needed_for: "it is the model to inspect".to_owned() }
        }
        _ => Error::unreadable(path, source),
    };
    let about = fs::metadata(path).map_err(unreadable)?;
    if about.is_dir() {
        return Err(Error::malformed(path, "is a folder; name the ONNX file in it"));
    }
    if !about.is_file() {
        // A device or a pipe says nothing of its length, and cannot be mapped.
        return Err(Error::malformed(path, "is not a regular file"));
    }
    if about.len() > MAX_BYTES {
        return Err(Error::malformed(path, format!("has {} bytes; an ONNX file has at most 2 GiB", about.len())));
    }
    let file = File::open(path).map_err(unreadable)?;
    if about.len() == 0 {
        return Err(Error::malformed(path, "is empty"));
    }
    // SAFETY: the map lives while the model is decoded, and nothing here writes the file. Should another process shorten
    // it meanwhile, this one is ended by a signal, as it would be while ONNX Runtime maps a model's weights.
    unsafe { Mmap::map(&file) }.map_err(unreadable)
}
