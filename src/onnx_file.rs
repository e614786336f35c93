//! A model in, an ONNX file out that stock ONNX Runtime runs, with all its weights: inside where they are small, else in
//! `NAME.onnx_data` beside it. Files are written to temporary names and renamed, tensor by tensor. Refused: a flavour, a
//! length or a batch that the model does not have, a model that is somebody's export already, a place that takes no file.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use crate::error::{Error, Result};
use crate::graph::builder::external_data;
use crate::graph::coreml::{self, StaticShape};
use crate::graph::folding::{FoldError, Folded};
use crate::graph::proto::{ElementType, LOCATION_EXTERNAL, ModelProto, TensorProto};
use crate::graph::{self, Arithmetic};
use crate::identity::Digest;
use crate::memory::room_for;
use crate::model::{Architecture, Spec};
use crate::tensors::TensorReader;
use crate::weights::Weights;

/// Weights up to this go into the ONNX file; a message cannot hold more than 2 GB, and is built in memory.
const INLINE_BYTES: u64 = 256 << 20;
/// Where an exporter's tensors begin in a data file: a page, so that runtimes can map them.
const ALIGNMENT: u64 = 4096;
/// The length of a CoreML graph where the caller names none, unless the model's own limit is less.
const USUAL_LENGTH: usize = 512;
/// The metadata key by which the provider knows its compiled models apart.
pub const CACHE_KEY: &str = "COREML_CACHE_KEY";

/// What to write.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// "cpu" or "coreml".
    pub flavour: String,
    /// Tokens of a row. For "coreml" alone.
    pub length: Option<usize>,
    /// Rows of a run. For "coreml" alone.
    pub batch: Option<usize>,
    /// "float32", or for "coreml" "float16".
    pub dtype: String,
}

/// What an initializer's bytes are made from.
enum Content {
    /// A tensor of the checkpoint, as it is.
    Stored(String, Vec<usize>),
    /// Computed from tensors of the checkpoint.
    Folded(Folded),
}

/// Writes a flavour of the model's graph. Returns the files: the graph, and its data where that lies beside it.
pub fn export(spec: &Spec, path: &Path, options: &ExportOptions, max_length: usize) -> Result<Vec<PathBuf>> {
    if let Architecture::Export(file) = &spec.architecture {
        let supported = "the folder of a checkpoint: an ONNX file needs no export";
        return Err(Error::unsupported(&file.path, "the model", "an ONNX file", supported));
    }
    check_place(path)?;
    let weights = match options.flavour.as_str() {
        "cpu" | "coreml" => Weights::open(&spec.folder)?,
        _ => return Err(argument("flavour", format!("{:?}", options.flavour), "\"cpu\" or \"coreml\"")),
    };
    let (model, contents) = match options.flavour.as_str() {
        "cpu" => cpu_flavour(spec, &weights, options)?,
        _ => coreml_flavour(spec, &weights, options, max_length)?,
    };
    write_model(path, model, &contents, &weights)
}

fn argument(argument: &'static str, found: String, expected: impl Into<String>) -> Error {
    Error::Argument { argument, found, expected: expected.into() }
}

fn check_place(path: &Path) -> Result<()> {
    if path.extension().is_none_or(|end| end != "onnx") || path.file_name().and_then(|name| name.to_str()).is_none() {
        return Err(argument("path", format!("{:?}", path.display().to_string()), "the name of a .onnx file"));
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(Error::FileMissing { path: folder.to_owned(), needed_for: "the folder to write into".to_owned() });
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn cpu_flavour(spec: &Spec, weights: &Weights, options: &ExportOptions) -> Result<(ModelProto, Vec<Content>)> {
    for (name, given) in [("length", options.length), ("batch", options.batch)] {
        if let Some(given) = given {
            return Err(argument(name, given.to_string(), "None: the \"cpu\" flavour takes any batch and length"));
        }
    }
    if options.dtype != "float32" {
        return Err(argument("dtype", format!("{:?}", options.dtype), "\"float32\" for the \"cpu\" flavour"));
    }
    let model = graph::synthesize(spec, weights, Arithmetic::Float32)?.proto;
    let stored = |tensor: &TensorProto| {
        let shape = tensor.dims.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
        Content::Stored(tensor.name.clone(), shape)
    };
    let initializers = model.graph.iter().flat_map(|graph| &graph.initializer);
    let contents = initializers.filter(|tensor| is_external(tensor)).map(stored).collect();
    Ok((model, contents))
}

fn coreml_flavour(
    spec: &Spec,
    weights: &Weights,
    options: &ExportOptions,
    max_length: usize,
) -> Result<(ModelProto, Vec<Content>)> {
    let element = match options.dtype.as_str() {
        "float32" => ElementType::Float32,
        "float16" => ElementType::Float16,
        _ => return Err(argument("dtype", format!("{:?}", options.dtype), "\"float32\" or \"float16\"")),
    };
    let longest = coreml::longest(&spec.architecture);
    let length = options.length.unwrap_or(max_length.min(USUAL_LENGTH).min(longest));
    if !(1..=longest).contains(&length) {
        let expected = format!("1 to {longest} tokens: the model's positions, and what the graph's tables may hold");
        return Err(argument("length", length.to_string(), expected));
    }
    let rows = options.batch.unwrap_or(1);
    if !(1..=1024).contains(&rows) {
        return Err(argument("batch", rows.to_string(), "1 to 1024 rows"));
    }
    let mut draft = coreml::draft(spec, weights, StaticShape { rows, length, element })?;
    let key = cache_key(&draft.model, weights)?;
    draft.model.metadata_props.push(graph::proto::StringStringEntryProto::new(CACHE_KEY, key));
    Ok((draft.model, draft.folded.into_iter().map(Content::Folded).collect()))
}

/// Names a graph over these very weights: letters and digits, 64 at most.
pub fn cache_key(model: &ModelProto, weights: &Weights) -> Result<String> {
    Ok(Digest::of_weights(weights)?.and(&model.encode_to_vec()).name())
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(LOCATION_EXTERNAL)
}

fn write_model(path: &Path, mut model: ModelProto, contents: &[Content], weights: &Weights) -> Result<Vec<PathBuf>> {
    let mut tensors = TensorReader::new(weights);
    let initializers = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    let external: Vec<&mut TensorProto> = initializers.filter(|tensor| is_external(tensor)).collect();
    let mut pairs = external.into_iter().zip(contents);
    let total: u64 = contents.iter().map(|content| length(content, &mut tensors)).sum::<Result<u64>>()?;
    let mut files = vec![path.to_owned()];
    let mut data = None;
    if total <= INLINE_BYTES {
        for (tensor, content) in pairs {
            let size = usize::try_from(length(content, &mut tensors)?).unwrap_or(usize::MAX);
            let mut bytes = room_for(size, || format!("to write {}", path.display()))?;
            write_content(content, &mut tensors, &mut bytes).map_err(|error| place(error, path))?;
            tensor.external_data = Vec::new();
            tensor.data_location = None;
            tensor.raw_data = Some(bytes);
        }
    } else {
        let data_path = path.with_extension("onnx_data");
        let name = data_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = TemporaryFile::write(&data_path, |out| {
            let mut end = 0;
            pairs.try_for_each(|(tensor, content)| {
                let start = u64::next_multiple_of(end, ALIGNMENT);
                out.write_all(&vec![0; (start - end) as usize])?;
                let length = length(content, &mut tensors)?;
                write_content(content, &mut tensors, out)?;
                tensor.external_data = external_data(&name, start, length);
                end = start + length;
                Ok(())
            })
        })?;
        files.push(data_path);
        data = Some(file);
    }
    let mut graph = room_for(model.encoded_len(), || format!("to write {}", path.display()))?;
    model.encode_raw(&mut graph);
    let graph = TemporaryFile::write(path, |out| Ok(out.write_all(&graph)?))?;
    // The data first: who finds the graph finds its data.
    data.into_iter().chain([graph]).try_for_each(TemporaryFile::keep)?;
    Ok(files)
}

fn length(content: &Content, tensors: &mut TensorReader<'_>) -> Result<u64> {
    match content {
        Content::Stored(name, shape) => Ok(tensors.tensor(name, shape)?.bytes().len() as u64),
        Content::Folded(folded) => Ok(folded.length),
    }
}

fn write_content(content: &Content, tensors: &mut TensorReader<'_>, out: &mut dyn Write) -> Result<(), FoldError> {
    match content {
        Content::Stored(name, shape) => Ok(out.write_all(tensors.tensor(name, shape)?.bytes())?),
        Content::Folded(folded) => folded.write(tensors, out),
    }
}

/// Writes a draft's weights as its graph expects them.
pub fn write_weights(path: &Path, folded: &[Folded], weights: &Weights) -> Result<()> {
    let mut tensors = TensorReader::new(weights);
    let file = TemporaryFile::write(path, |out| {
        let mut end = 0;
        folded.iter().try_for_each(|tensor| {
            out.write_all(&vec![0; (tensor.offset - end) as usize])?;
            tensor.write(&mut tensors, out)?;
            end = tensor.offset + tensor.length;
            Ok(())
        })
    })?;
    file.keep()
}

/// Writes a file whole or not at all; one that holds these bytes already is left alone.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    TemporaryFile::write(path, |out| Ok(out.write_all(bytes)?))?.keep()
}

fn place(error: FoldError, path: &Path) -> Error {
    match error {
        FoldError::Weights(error) => error,
        FoldError::Disk(source) => Error::Unwritable { path: path.to_owned(), source: source.into() },
    }
}

/// A file under a name of its own until it is whole; removed if it never is.
struct TemporaryFile {
    temporary: PathBuf,
    path: PathBuf,
}

impl TemporaryFile {
    fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), FoldError>) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder_of(path).join(format!(".{name}.{}.{}", std::process::id(), unique_number()));
        let file = TemporaryFile { temporary, path: path.to_owned() };
        let written = (|| {
            let mut out = BufWriter::with_capacity(1 << 20, File::create_new(&file.temporary)?);
            fill(&mut out)?;
            out.flush()?;
            Ok(())
        })();
        written.map_err(|error| place(error, path))?;
        Ok(file)
    }

    fn keep(self) -> Result<()> {
        let renamed = fs::rename(&self.temporary, &self.path);
        renamed.map_err(|error| Error::Unwritable { path: self.path.clone(), source: error.into() })
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // Gone already where it was kept.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Tells apart the files that threads of one process write at once.
fn unique_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finished_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let failing = TemporaryFile::write(&path, |out| {
            out.write_all(b"half")?;
            Err(FoldError::Disk(std::io::Error::other("disk full")))
        });
        assert!(failing.err().unwrap().to_string().contains("model.onnx: cannot be written: disk full"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        TemporaryFile::write(&path, |out| Ok(out.write_all(b"whole")?)).unwrap().keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
