//! A graph and its weights in, files out: written to temporary names and renamed, tensor by tensor, so that a reader never
//! finds half of one.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use prost::Message;

use super::builder::external_data;
use super::folding::Folded;
use super::proto::{LOCATION_EXTERNAL, ModelProto, TensorProto};
use crate::checkpoint::identity::{DIGEST_PREFIX, Digest};
use crate::checkpoint::tensors::TensorReader;
use crate::checkpoint::weights::Weights;
use crate::checkpoint::whole_file::{TemporaryFile, WriteError, folder_of, place};
use crate::error::Result;
use crate::memory::room_for;

/// Where an exporter's tensors begin in a data file: a page, so that runtimes can map them.
const ALIGNMENT: u64 = 4096;
/// The metadata key by which the provider knows its compiled models apart.
pub const CACHE_KEY: &str = "COREML_CACHE_KEY";

/// What an initializer's bytes are made from.
pub enum Content {
    /// Bytes of the checkpoint, as they are: its file, where they begin, how many.
    Stored(String, u64, u64),
    /// Computed from tensors of the checkpoint.
    Folded(Folded),
}

/// Names a graph over these very weights: letters and digits, 64 at most.
pub fn cache_key(model: &ModelProto, weights: &Weights) -> Result<String> {
    Ok(Digest::of_weights(weights)?.and(&model.encode_to_vec()).name())
}

pub fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(LOCATION_EXTERNAL)
}

/// Weights of more than `inline_bytes` go into a file of their own, whose name no other weights have. The graph is renamed
/// last, and the data of the graph that it replaces are removed after: whoever reads the graph, at any moment, finds its
/// own data or, with the old one, none.
pub fn write_model(
    path: &Path,
    mut model: ModelProto,
    contents: &[Content],
    weights: &Weights,
    inline_bytes: u64,
) -> Result<Vec<PathBuf>> {
    let replaced = own_data_files(path);
    let key = cache_key(&model, weights)?;
    let mut tensors = TensorReader::new(weights);
    let initializers = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    let external: Vec<&mut TensorProto> = initializers.filter(|tensor| is_external(tensor)).collect();
    let mut pairs = external.into_iter().zip(contents);
    let total: u64 = contents.iter().map(length).sum();
    let mut files = vec![path.to_owned()];
    let mut data = None;
    if total <= inline_bytes {
        for (tensor, content) in pairs {
            let size = usize::try_from(length(content)).unwrap_or(usize::MAX);
            let mut bytes = room_for(size, || format!("to write {}", path.display()))?;
            write_content(content, &mut tensors, &mut bytes).map_err(|error| place(error, path))?;
            tensor.external_data = Vec::new();
            tensor.data_location = None;
            tensor.raw_data = Some(bytes);
        }
    } else {
        let data_path = folder_of(path).join(format!("{}{key}", data_prefix(path)));
        let name = data_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = TemporaryFile::write(&data_path, |out| {
            let mut end = 0;
            pairs.try_for_each(|(tensor, content)| {
                let start = u64::next_multiple_of(end, ALIGNMENT);
                out.write_all(&vec![0; (start - end) as usize])?;
                let length = length(content);
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
    data.into_iter().chain([graph]).try_for_each(TemporaryFile::keep)?;
    for old in replaced.iter().filter(|old| !files.contains(old)) {
        // Where it cannot be removed, it takes room and does no harm.
        let _ = fs::remove_file(old);
    }
    Ok(files)
}

/// Begins the names of data files that are written for a graph of this name.
fn data_prefix(path: &Path) -> String {
    format!("{}_data_", path.file_name().unwrap_or_default().to_string_lossy())
}

/// The data files, written here, that the graph at a path points to, if there is one. Others' may serve other graphs too.
fn own_data_files(path: &Path) -> BTreeSet<PathBuf> {
    let graph = fs::read(path).ok().and_then(|bytes| ModelProto::decode(&bytes[..]).ok()).and_then(|model| model.graph);
    let prefix = format!("{}{DIGEST_PREFIX}", data_prefix(path));
    let tensors = graph.iter().flat_map(|graph| &graph.initializer).flat_map(|tensor| &tensor.external_data);
    let names = tensors.filter(|entry| entry.key == "location").map(|entry| entry.value.as_str());
    let ours = names.filter(|name| {
        name.strip_prefix(&prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    });
    ours.map(|name| folder_of(path).join(name)).collect()
}

fn length(content: &Content) -> u64 {
    match content {
        Content::Stored(_, _, length) => *length,
        Content::Folded(folded) => folded.length,
    }
}

fn write_content(content: &Content, tensors: &mut TensorReader<'_>, out: &mut dyn Write) -> Result<(), WriteError> {
    match content {
        Content::Stored(location, offset, length) => {
            Ok(out.write_all(tensors.bytes(location, *offset, *length)?.bytes())?)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::weights::testing::weights_filled;
    use crate::lowering::onnx::proto::GraphProto;

    fn model() -> ModelProto {
        let tensor = TensorProto {
            dims: vec![2],
            data_type: 1,
            name: "w".to_owned(),
            data_location: Some(LOCATION_EXTERNAL),
            ..Default::default()
        };
        ModelProto { graph: Some(GraphProto { initializer: vec![tensor], ..Default::default() }), ..Default::default() }
    }

    fn bytes_of(values: [f32; 2]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn an_export_over_another_never_mixes_the_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let beside = folder.path().join("model.onnx_data");
        fs::write(&beside, "of another graph").unwrap();
        let stored = "model.safetensors";
        let export = |values: [f32; 2], file: &str| {
            let (_folder, weights) = weights_filled(&[("w", &[2], &values)]);
            let place = weights.tensor("w", &[2]).unwrap();
            let contents = [Content::Stored(file.to_owned(), place.offset, place.length)];
            write_model(&path, model(), &contents, &weights, 0)
        };
        let first = export([1.0, 2.0], stored).unwrap();
        let graph = fs::read(&path).unwrap();
        assert_eq!(own_data_files(&path), BTreeSet::from([first[1].clone()]));
        // Broken off: the old pair is whole.
        assert!(export([3.0, 4.0], "absent").is_err());
        assert_eq!((fs::read(&path).unwrap(), fs::read(&first[1]).unwrap()), (graph.clone(), bytes_of([1.0, 2.0])));
        let second = export([3.0, 4.0], stored).unwrap();
        assert_ne!(first[1], second[1], "whoever has read the old graph never finds the new data");
        assert_ne!(fs::read(&path).unwrap(), graph);
        assert_eq!(fs::read(&second[1]).unwrap(), bytes_of([3.0, 4.0]));
        assert!(!first[1].exists() && beside.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
