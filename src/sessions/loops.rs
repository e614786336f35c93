//! An ONNX file in, whether a run of its graph may last as long as the file likes out: only `Loop` repeats what no input's
//! size bounds. Weights are passed over, not read.

use std::fs::File;
use std::path::Path;

use prost::Message;

/// What is read of a model: its nodes' operators, and the graphs and functions in which there are more.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    node: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "6")]
    g: Option<Graph>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
}

/// Whether the model has a loop, or cannot be read here.
pub fn has_loop(path: &Path) -> bool {
    let read = || -> Result<Model, Box<dyn std::error::Error>> {
        let file = File::open(path)?;
        // SAFETY: the map lives for this function only, and nothing here writes the file. Should another process shorten
        // it meanwhile, this one is ended by a signal, as it would be while ONNX Runtime maps a model's weights.
        let bytes = unsafe { memmap2::Mmap::map(&file) }?;
        Ok(Model::decode(&bytes[..])?)
    };
    read().map_or(true, |model| {
        let nodes = model.graph.iter().flat_map(|graph| &graph.node);
        nodes.chain(model.functions.iter().flat_map(|function| &function.node)).any(loops)
    })
}

fn loops(node: &Node) -> bool {
    let graphs = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    node.op_type == "Loop" || graphs.flat_map(|graph| &graph.node).any(loops)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, inside: Vec<Node>) -> Node {
        let attribute = Attribute { g: Some(Graph { node: inside }), graphs: Vec::new() };
        Node { op_type: op_type.to_owned(), attribute: vec![attribute] }
    }

    #[test]
    fn loops_are_found_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let found = |node: Vec<Node>, of_function: Vec<Node>| {
            let model = Model { graph: Some(Graph { node }), functions: vec![Function { node: of_function }] };
            std::fs::write(&path, model.encode_to_vec()).unwrap();
            has_loop(&path)
        };
        let (add, repeat) = (|| node("Add", Vec::new()), || node("Loop", Vec::new()));
        assert!(!found(vec![add(), node("If", vec![add()])], vec![add()]));
        assert!(found(vec![add(), repeat()], Vec::new()));
        assert!(found(vec![node("If", vec![add(), node("If", vec![repeat()])])], Vec::new()));
        assert!(found(vec![add()], vec![repeat()]));
        std::fs::write(folder.path().join("other.onnx"), b"\x07").unwrap();
        assert!(has_loop(&folder.path().join("other.onnx")), "who knows");
    }
}
