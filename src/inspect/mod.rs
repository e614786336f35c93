//! An ONNX graph and the shapes inferred of it in, what it is made of and what the CoreML provider would take of it out.
//! Knows neither files nor ONNX Runtime: `coverage.rs` brings both together.

mod conditions;
pub mod coverage;
mod elements;
pub mod graph;
pub mod lean;
pub mod model;
mod operands;
mod partitions;
mod report;
mod rules;
mod skim;
mod table;
mod values;
mod weights;

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;

use self::operands::Operands;
use self::partitions::{is_trivial, partitions, subgraphs};
pub use self::report::{Finding, Report};
use self::rules::{Verdict, judge};
pub use self::values::{Dim, TensorInfo};
use self::values::{Values, is_constant, is_standard};
use crate::lowering::onnx::proto::{FunctionId, GraphProto, ModelProto, NodeProto};

/// A table with a dimension above this stays on the CPU; up to ONNX Runtime 1.22 any input's dimensions were held to it.
const LARGE: i64 = 16384;

/// Says what a model's graph is made of and what CoreML would take of it. `inferred` holds what is known of the outputs
/// of the main graph's nodes; `static_shapes` is the provider's option `RequireStaticInputShapes`.
pub fn inspect(model: &ModelProto, inferred: HashMap<String, TensorInfo>, static_shapes: bool) -> Report {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let values = Values::new(model, graph, inferred);
    let nodes: Vec<&NodeProto> = graph.node.iter().filter(|node| !is_constant(node)).collect();

    let mut report = Report::of_graph(model, graph, &values);
    let mut findings = Findings::default();
    let functions = functions(model);
    let mut taken = vec![false; nodes.len()];
    for (node, taken) in nodes.iter().zip(&mut taken) {
        let verdict = match functions.contains(&(node.domain.clone(), node.op_type.clone())) {
            true => Verdict::Refused("a function of the model's own, which is not looked into".to_owned()),
            false => judge(&Operands { node, values: &values }, static_shapes),
        };
        match verdict {
            Verdict::Taken(caution) => {
                *taken = true;
                caution.into_iter().for_each(|caution| findings.cautions.add(node, caution));
            }
            Verdict::Listed => {
                *taken = true;
                findings.unchecked.add(node, "on ONNX Runtime's list; its conditions are not known here");
            }
            Verdict::Refused(reason) => findings.refused.add(node, &reason),
        }
        count_node(node, &mut report.ops);
        report.nodes += 1;
        let inside = subgraphs(node).flat_map(|inner| &inner.node);
        inside.for_each(|inner| refuse_whole(inner, &mut report, &mut findings.refused));
    }
    for partition in partitions(&nodes, &taken) {
        if is_trivial(&nodes, &partition) {
            let reason = "in a partition of trivial operators only, which the provider gives back";
            partition.iter().for_each(|index| findings.refused.add(nodes[*index], reason));
        } else {
            report.taken += partition.len();
            report.partition_sizes.push(partition.len());
        }
    }
    report.finish(findings.refused.sorted(), findings.cautions.sorted(), findings.unchecked.sorted());
    report
}

/// Nodes of a subgraph, down to the innermost: the provider is not run there.
fn refuse_whole(node: &NodeProto, report: &mut Report, refused: &mut Tally) {
    if !is_constant(node) {
        count_node(node, &mut report.ops);
        report.nodes += 1;
        refused.add(node, "in a subgraph, where the provider is not run");
    }
    subgraphs(node).flat_map(|inner| &inner.node).for_each(|inner| refuse_whole(inner, report, refused));
}

fn count_node(node: &NodeProto, ops: &mut BTreeMap<String, usize>) {
    *ops.entry(op_name(node)).or_default() += 1;
}

/// `Add`, `com.microsoft:RotaryEmbedding`.
fn op_name(node: &NodeProto) -> String {
    match is_standard(&node.domain) {
        true => node.op_type.clone(),
        false => format!("{}:{}", node.domain, node.op_type),
    }
}

/// Domain and name of the model's own functions. What is no function there is ONNX Runtime's to complain about.
fn functions(model: &ModelProto) -> HashSet<(String, String)> {
    let ids = model.functions.iter().filter_map(|bytes| FunctionId::decode(bytes.as_slice()).ok());
    ids.map(|id| (id.domain, id.name)).collect()
}

#[derive(Default)]
struct Findings {
    refused: Tally,
    cautions: Tally,
    unchecked: Tally,
}

/// What is said of nodes, each thing once for each operator.
#[derive(Default)]
struct Tally(HashMap<(String, String), (usize, String)>);

impl Tally {
    fn add(&mut self, node: &NodeProto, reason: &str) {
        let named = [&node.name].into_iter().chain(&node.output).find(|name| !name.is_empty());
        let first = || (0, named.cloned().unwrap_or_default());
        self.0.entry((op_name(node), reason.to_owned())).or_insert_with(first).0 += 1;
    }

    /// The most frequent first.
    fn sorted(self) -> Vec<Finding> {
        let finding = |((op, reason), (count, example))| Finding { op, reason, count, example };
        let mut findings: Vec<Finding> = self.0.into_iter().map(finding).collect();
        findings.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.op, &a.reason).cmp(&(&b.op, &b.reason))));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lowering::onnx::proto::AttributeProto;

    fn node(name: &str, op_type: &str, domain: &str, input: &str) -> NodeProto {
        NodeProto {
            name: name.to_owned(),
            op_type: op_type.to_owned(),
            domain: domain.to_owned(),
            input: vec![input.to_owned()],
            output: vec![format!("{name}.out")],
            ..Default::default()
        }
    }

    #[test]
    fn functions_of_the_model_are_refused_as_such() {
        let function = FunctionId { name: "Block".to_owned(), domain: "own".to_owned() };
        let graph = GraphProto {
            node: vec![node("a", "Block", "own", "x"), node("b", "Other", "own", "a.out")],
            ..Default::default()
        };
        let functions = vec![function.encode_to_vec(), b"not a message".to_vec()];
        let model = ModelProto { graph: Some(graph), functions, ..Default::default() };
        let report = inspect(&model, HashMap::new(), true);
        let reasons: Vec<_> = report.refused.iter().map(|one| (one.op.as_str(), one.reason.as_str())).collect();
        assert_eq!(reasons[0], ("own:Block", "a function of the model's own, which is not looked into"));
        assert_eq!(reasons[1].0, "own:Other");
        assert!(reasons[1].1.starts_with("an operator of own:"), "{}", reasons[1].1);
    }

    #[test]
    fn constants_are_no_nodes() {
        let constant = NodeProto {
            attribute: vec![AttributeProto::int("value_int", 1)],
            input: Vec::new(),
            ..node("one", "Constant", "", "")
        };
        let graph = GraphProto { node: vec![constant, node("a", "Exp", "ai.onnx", "one.out")], ..Default::default() };
        let model = ModelProto { graph: Some(graph), ..Default::default() };
        let info = TensorInfo { element: 1, shape: Some(vec![]) };
        let inferred = ["one.out", "a.out"].map(|name| (name.to_owned(), info.clone()));
        let report = inspect(&model, HashMap::from(inferred), true);
        assert_eq!((report.nodes, report.taken, report.partitions, report.share), (1, 1, 1, 1.0));
        assert_eq!(report.ops, BTreeMap::from([("Exp".to_owned(), 1)]));
    }

    #[test]
    fn a_model_without_a_graph_is_an_empty_one() {
        let report = inspect(&ModelProto::default(), HashMap::new(), true);
        assert_eq!((report.nodes, report.taken, report.partitions, report.share), (0, 0, 0, 1.0));
    }
}
