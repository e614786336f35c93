//! What an inspection found, ready for JSON. The fields are documented for Python in `_core.pyi`.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::LARGE;
use super::values::{Dim, TensorInfo, Values, is_standard};
use crate::lowering::onnx::proto::{GraphProto, ModelProto};

/// What a graph is made of and what CoreML would take of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Versions of the operator sets; ONNX's own is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// The graph's inputs, without those that are initializers.
    pub inputs: Vec<Outlet>,
    /// Its outputs.
    pub outputs: Vec<Outlet>,
    /// Nodes by operator, those in subgraphs included, constants left out.
    pub ops: BTreeMap<String, usize>,
    /// How many there are.
    pub nodes: usize,
    /// How many the provider takes and keeps.
    pub taken: usize,
    /// `taken / nodes`; 1 for a graph without nodes.
    pub share: f64,
    /// In how many parts it takes them.
    pub partitions: usize,
    /// Nodes in each, in the order of execution.
    pub partition_sizes: Vec<usize>,
    /// What it does not take, and why.
    pub refused: Vec<Finding>,
    /// What it takes at a cost or with a deviation.
    pub cautions: Vec<Finding>,
    /// What is counted as taken on the published list's word.
    pub unchecked: Vec<Finding>,
    /// The highest rank of a value of the main graph.
    pub max_rank: usize,
    /// Values with a dynamic dimension.
    pub dynamic_values: usize,
    /// Values of which not even the rank is known.
    pub unknown_shapes: usize,
    /// The names of the inputs' dynamic dimensions, to be fixed.
    pub symbols: Vec<String>,
    /// Initializers with a dimension over 16384.
    pub large_initializers: Vec<Large>,
}

/// An input or output.
#[derive(Debug, Serialize)]
pub struct Outlet {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: String,
    /// Its shape, as far as it is known.
    pub shape: Option<Vec<Dim>>,
}

/// One thing said of all the nodes of an operator that it is true of.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The operator, with its domain where that is not ONNX's own.
    pub op: String,
    /// What is the matter.
    pub reason: String,
    /// How many nodes.
    pub count: usize,
    /// The name of one of them, or of its output.
    pub example: String,
}

/// An initializer with a large dimension.
#[derive(Debug, Serialize)]
pub struct Large {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
}

/// Versions of the operator sets that a model imports.
pub fn opsets(model: &ModelProto) -> BTreeMap<String, i64> {
    let domain = |name: &str| if is_standard(name) { "ai.onnx" } else { name }.to_owned();
    model.opset_import.iter().map(|opset| (domain(&opset.domain), opset.version)).collect()
}

impl Report {
    /// All that needs no judgement of the provider's.
    pub(super) fn of_graph(model: &ModelProto, graph: &GraphProto, values: &Values) -> Self {
        let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let outlet = |name: &str, declared: TensorInfo| {
            // Inferred shapes say more than those declared.
            let info = values.tensor(name).filter(|info| info.shape.is_some()).unwrap_or(&declared);
            Outlet { name: name.to_owned(), dtype: info.element_name(), shape: info.shape.clone() }
        };
        let inputs = graph.input.iter().filter(|input| !constants.contains(input.name.as_str()));
        let mut report = Report {
            opsets: opsets(model),
            inputs: inputs.map(|value| outlet(&value.name, TensorInfo::declared(value))).collect(),
            outputs: graph.output.iter().map(|value| outlet(&value.name, TensorInfo::declared(value))).collect(),
            ..Default::default()
        };
        for (_, tensor) in values.tensors() {
            match &tensor.shape {
                None => report.unknown_shapes += 1,
                Some(shape) => {
                    report.max_rank = report.max_rank.max(shape.len());
                    report.dynamic_values += usize::from(shape.iter().any(Dim::is_dynamic));
                }
            }
        }
        for dim in report.inputs.iter().flat_map(|input| input.shape.iter().flatten()) {
            match dim {
                Dim::Symbol(symbol) if !report.symbols.contains(symbol) => report.symbols.push(symbol.clone()),
                Dim::Symbol(_) | Dim::Size(_) | Dim::Unnamed => {}
            }
        }
        let large = |dims: &[i64]| dims.iter().any(|size| *size > LARGE);
        let dense = graph.initializer.iter().map(|tensor| (&tensor.name, &tensor.dims));
        let sparse = graph.sparse_initializer.iter().filter_map(|one| Some((&one.values.as_ref()?.name, &one.dims)));
        let found = dense.chain(sparse).filter(|(_, dims)| large(dims));
        report.large_initializers =
            found.map(|(name, dims)| Large { name: name.clone(), shape: dims.clone() }).collect();
        report
    }

    pub(super) fn finish(&mut self, refused: Vec<Finding>, cautions: Vec<Finding>, unchecked: Vec<Finding>) {
        self.partitions = self.partition_sizes.len();
        self.share = if self.nodes == 0 { 1.0 } else { self.taken as f64 / self.nodes as f64 };
        (self.refused, self.cautions, self.unchecked) = (refused, cautions, unchecked);
    }
}
