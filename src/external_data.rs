//! An ONNX file in, the files beside it that hold its weights out, open. Of the model only names are read: weights inside
//! it are skipped, not copied.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;

use crate::error::Result;
use crate::held::HeldFile;

// The parts of ONNX's messages that lead to external data; their fields are described in `graph/proto.rs`.

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    /// Functions: nodes under a name.
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    node: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, repeated, tag = "5")]
    t: Vec<Tensor>,
    #[prost(message, repeated, tag = "6")]
    g: Vec<Graph>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct SparseTensor {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Tensor>,
    #[prost(message, repeated, tag = "2")]
    indices: Vec<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The files that an ONNX file's weights lie in, each by its location. One that is not there is left out, as is a model
/// that is none: ONNX Runtime, which opens them next, says why they do not do.
pub fn held_files(path: &Path) -> Result<Vec<(String, Arc<HeldFile>)>> {
    let map = HeldFile::open(path, path)?.map()?;
    let mut locations = BTreeSet::new();
    if let Ok(model) = Model::decode(&map[..]) {
        model.graph.iter().for_each(|graph| of_graph(graph, &mut locations));
        model.functions.iter().for_each(|function| of_nodes(&function.node, &mut locations));
    }
    let mut files = Vec::new();
    for location in locations {
        if let Some(target) = places(path).map(|folder| folder.join(&location)).find(|target| target.is_file()) {
            files.push((location, Arc::new(HeldFile::open(&target, &target)?)));
        }
    }
    Ok(files)
}

/// The folder of the file, and the one that a link leads to.
fn places(path: &Path) -> impl Iterator<Item = PathBuf> {
    let followed = fs::canonicalize(path).ok();
    [Some(path.to_owned()), followed].into_iter().flatten().filter_map(|path| Some(path.parent()?.to_owned()))
}

fn of_graph(graph: &Graph, locations: &mut BTreeSet<String>) {
    let sparse = graph.sparse_initializer.iter().flat_map(|tensor| tensor.values.iter().chain(&tensor.indices));
    of_tensors(graph.initializer.iter().chain(sparse), locations);
    of_nodes(&graph.node, locations);
}

fn of_nodes(nodes: &[Node], locations: &mut BTreeSet<String>) {
    for attribute in nodes.iter().flat_map(|node| &node.attribute) {
        of_tensors(attribute.t.iter().chain(&attribute.tensors), locations);
        attribute.g.iter().chain(&attribute.graphs).for_each(|graph| of_graph(graph, locations));
    }
}

fn of_tensors<'a>(tensors: impl Iterator<Item = &'a Tensor>, locations: &mut BTreeSet<String>) {
    for entry in tensors.flat_map(|tensor| &tensor.external_data).filter(|entry| entry.key == b"location") {
        locations.extend(String::from_utf8(entry.value.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::builder::external_data;
    use crate::graph::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

    fn tensor(location: &str) -> TensorProto {
        TensorProto { external_data: external_data(location, 0, 4), data_location: Some(1), ..Default::default() }
    }

    #[test]
    fn files_of_graphs_within_graphs_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let inner = GraphProto { initializer: vec![tensor("inner.bin")], ..Default::default() };
        let branch = AttributeProto { t: Some(tensor("constant.bin")), g: Some(inner), ..Default::default() };
        let large = TensorProto { raw_data: Some(vec![7; 1 << 20]), ..Default::default() };
        let graph = GraphProto {
            node: vec![NodeProto { attribute: vec![branch], ..Default::default() }],
            initializer: vec![tensor("outer.bin"), large, tensor("outer.bin"), tensor("missing.bin")],
            ..Default::default()
        };
        let model = ModelProto { graph: Some(graph), ..Default::default() };
        let path = folder.path().join("model.onnx");
        fs::write(&path, model.encode_to_vec()).unwrap();
        for name in ["constant.bin", "inner.bin", "outer.bin", "other.bin"] {
            fs::write(folder.path().join(name), b"1234").unwrap();
        }
        let names: Vec<String> = held_files(&path).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["constant.bin", "inner.bin", "outer.bin"]);
    }

    #[test]
    fn what_is_no_model_has_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        fs::write(&path, b"no model").unwrap();
        assert!(held_files(&path).unwrap().is_empty());
    }
}
