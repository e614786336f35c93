//! An ONNX file in, what it says of itself out: versions, inputs and outputs, operators, how many weights of which type,
//! and the files that hold them, which are not opened. No ONNX Runtime, no judgement: `coverage.rs` has both.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Serialize;

use super::coverage::read;
use super::elements::{element_bits, element_name};
use super::report::{Outlet, opsets};
use super::values::{TensorInfo, is_constant};
use super::weights::ByType;
use super::{count_node, partitions::subgraphs};
use crate::error::Result;
use crate::lowering::onnx::proto::{GraphProto, LOCATION_EXTERNAL, ModelProto, NodeProto, TensorProto};

/// What a file says of itself. The fields are documented for Python in `_core.pyi`.
#[derive(Debug, Default, Serialize)]
pub struct GraphFacts {
    /// The version of the format.
    pub ir_version: i64,
    /// What wrote the file, with its version.
    pub producer: String,
    /// Versions of the operator sets; ONNX's own is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// The graph's inputs as declared, without those that are initializers.
    pub inputs: Vec<Outlet>,
    /// Its outputs.
    pub outputs: Vec<Outlet>,
    /// Nodes by operator, those in subgraphs included, constants left out.
    pub ops: BTreeMap<String, usize>,
    /// How many there are.
    pub nodes: usize,
    /// Constant tensors by type.
    pub weights: ByType,
    /// The files that hold some of them, by name.
    pub external_data: BTreeMap<String, ExternalFile>,
}

/// A file beside the model.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExternalFile {
    /// Tensors in it.
    pub tensors: usize,
    /// Where the last of them ends.
    pub bytes_needed: u64,
}

/// Reads a file.
pub fn graph_facts(path: &Path) -> Result<GraphFacts> {
    Ok(facts_of(&read(path)?))
}

/// The declared inputs of a graph, without those that only name an initializer.
pub fn declared_inputs(graph: &GraphProto) -> impl Iterator<Item = Outlet> {
    let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    graph.input.iter().filter(move |input| !constants.contains(input.name.as_str())).map(Outlet::declared)
}

fn facts_of(model: &ModelProto) -> GraphFacts {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let producer = [model.producer_name.trim(), model.producer_version.trim()];
    let mut facts = GraphFacts {
        ir_version: model.ir_version,
        producer: producer.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "),
        opsets: opsets(model),
        inputs: declared_inputs(graph).collect(),
        outputs: graph.output.iter().map(Outlet::declared).collect(),
        ..Default::default()
    };
    facts.add_graph(graph);
    facts
}

impl GraphFacts {
    fn add_graph(&mut self, graph: &GraphProto) {
        graph.initializer.iter().for_each(|tensor| self.add_tensor(tensor));
        let sparse = graph.sparse_initializer.iter().flat_map(|tensor| [&tensor.values, &tensor.indices]);
        sparse.flatten().for_each(|tensor| self.add_tensor(tensor));
        graph.node.iter().for_each(|node| self.add_node(node));
    }

    fn add_node(&mut self, node: &NodeProto) {
        if !is_constant(node) {
            count_node(node, &mut self.ops);
            self.nodes += 1;
        }
        let held = node.attribute.iter().flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
        held.for_each(|tensor| self.add_tensor(tensor));
        subgraphs(node).for_each(|inner| self.add_graph(inner));
    }

    fn add_tensor(&mut self, tensor: &TensorProto) {
        let sizes = tensor.dims.iter().map(|size| u64::try_from(*size).unwrap_or(0));
        let numbers = sizes.fold(1_u64, u64::saturating_mul);
        let bytes = numbers.saturating_mul(element_bits(tensor.data_type)).div_ceil(8);
        self.weights.entry(element_name(tensor.data_type)).or_default().add(numbers, bytes);
        if tensor.data_location != Some(LOCATION_EXTERNAL) {
            return;
        }
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let number = |key: &str| entry(key).and_then(|text| text.trim().parse::<u64>().ok());
        let end = number("offset").unwrap_or(0).saturating_add(number("length").unwrap_or(bytes));
        let file = self.external_data.entry(entry("location").cloned().unwrap_or_default()).or_default();
        file.tensors += 1;
        file.bytes_needed = file.bytes_needed.max(end);
    }
}

impl Outlet {
    fn declared(value: &crate::lowering::onnx::proto::ValueInfoProto) -> Self {
        let info = TensorInfo::declared(value);
        Outlet { name: value.name.clone(), dtype: info.element_name(), shape: info.shape }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::weights::Amount;
    use crate::lowering::onnx::builder::external_data;
    use crate::lowering::onnx::proto::{AttributeProto, StringStringEntryProto};

    fn tensor(data_type: i32, dims: &[i64]) -> TensorProto {
        TensorProto { data_type, dims: dims.to_vec(), ..Default::default() }
    }

    fn external(location: &str, offset: usize, length: usize) -> TensorProto {
        let place = external_data(location, offset as u64, length as u64);
        TensorProto { data_location: Some(LOCATION_EXTERNAL), external_data: place, ..tensor(10, &[3]) }
    }

    #[test]
    fn weights_are_counted_wherever_they_are() {
        let inner = GraphProto { initializer: vec![external("b", 100, 50)], ..Default::default() };
        let branch = AttributeProto { g: Some(inner), t: Some(tensor(7, &[2])), ..Default::default() };
        let without_length =
            TensorProto { external_data: vec![StringStringEntryProto::new("location", "a")], ..external("a", 0, 0) };
        let graph = GraphProto {
            node: vec![NodeProto { op_type: "If".to_owned(), attribute: vec![branch], ..Default::default() }],
            initializer: vec![external("a", 4, 8), external("a", 0, 4), without_length, tensor(22, &[3])],
            ..Default::default()
        };
        let facts = facts_of(&ModelProto { graph: Some(graph), ..Default::default() });
        let amount = |tensors, numbers, bytes| Amount { tensors, numbers, bytes };
        assert_eq!(facts.weights["float16"], amount(4, 12, 24));
        assert_eq!(facts.weights["int64"], amount(1, 2, 16));
        assert_eq!(facts.weights["int4"], amount(1, 3, 2));
        assert_eq!(facts.external_data["a"], ExternalFile { tensors: 3, bytes_needed: 12 });
        assert_eq!(facts.external_data["b"], ExternalFile { tensors: 1, bytes_needed: 150 });
        assert_eq!((facts.nodes, facts.ops["If"]), (1, 1));
    }

    #[test]
    fn sizes_beyond_all_numbers_are_counted_to_their_end() {
        let hostile = TensorProto {
            external_data: external_data("a", u64::MAX, u64::MAX),
            data_location: Some(LOCATION_EXTERNAL),
            ..tensor(1, &[i64::MAX, i64::MAX])
        };
        let graph = GraphProto { initializer: vec![hostile, tensor(1, &[-1])], ..Default::default() };
        let facts = facts_of(&ModelProto { graph: Some(graph), ..Default::default() });
        assert_eq!(facts.weights["float32"].numbers, u64::MAX);
        assert_eq!(facts.external_data["a"].bytes_needed, u64::MAX);
    }
}
