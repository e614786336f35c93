//! Values in, values out: a graph under construction. Weights become external data that points into the checkpoint's
//! own file. Refused: a name given twice, a weight that is missing or of another shape than the config says.

use std::collections::HashSet;

use super::model::{Model, RoundedWeight};
use super::proto::{
    AttributeProto, Dimension, DimensionProto, ElementType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};
use crate::options::Arithmetic;
use crate::transformer::Matrix;

/// ONNX Runtime's own operators (fused attention, skip + norm, …).
pub const CONTRIB: &str = "com.microsoft";
/// Operators of our own, registered with the sessions that we open.
pub const OWN: &str = "ironvec";
/// The standard operators' set. 20 is the newest that every supported ONNX Runtime has.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 9;

/// Whose operators a graph is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operators {
    /// ONNX's and ONNX Runtime's: anybody can run it.
    Usual,
    /// Attention is ours, products with weights are ONNX Runtime's.
    OwnAttention,
    /// Ours, attention and products.
    Own,
}

impl Operators {
    /// Whether attention is ours.
    pub fn attend(self) -> bool {
        match self {
            Operators::Usual => false,
            Operators::OwnAttention | Operators::Own => true,
        }
    }
}

/// A tensor that flows through the graph, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// An optional input that is left out.
    pub fn absent() -> Self {
        Value(String::new())
    }

    /// The tensor's name in the graph.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A dimension of an input or output: a number or a symbol ("B", "L").
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// Known when the graph is written.
    Fixed(usize),
    /// Known when it runs.
    Symbol(&'static str),
}

/// A graph under construction over a checkpoint's weights.
pub struct GraphBuilder<'w> {
    pub(super) weights: &'w Weights,
    arithmetic: Arithmetic,
    operators: Operators,
    pub(super) graph: GraphProto,
    names: HashSet<String>,
    pub(super) quantized: Vec<Matrix>,
    pub(super) rounded: Vec<RoundedWeight>,
}

impl<'w> GraphBuilder<'w> {
    /// An empty graph.
    pub fn new(name: &str, weights: &'w Weights, arithmetic: Arithmetic, operators: Operators) -> Self {
        let graph = GraphProto { name: name.to_owned(), ..Default::default() };
        let (quantized, rounded) = (Vec::new(), Vec::new());
        GraphBuilder { weights, arithmetic, operators, graph, names: HashSet::new(), quantized, rounded }
    }

    /// What matrix products are computed in.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Whose operators the graph may have.
    pub fn operators(&self) -> Operators {
        self.operators
    }

    pub(super) fn claim(&mut self, name: &str) -> Result<Value> {
        if self.names.insert(name.to_owned()) {
            Ok(Value(name.to_owned()))
        } else {
            Err(Error::Graph { problem: format!("the name `{name}` is given twice") })
        }
    }

    /// The value of this name, if there is one.
    pub fn named(&self, name: &str) -> Option<Value> {
        self.names.contains(name).then(|| Value(name.to_owned()))
    }

    /// A graph input.
    pub fn input(&mut self, name: &str, element: ElementType, shape: &[Size]) -> Result<Value> {
        let value = self.claim(name)?;
        self.graph.input.push(value_info(name, element, shape));
        Ok(value)
    }

    /// Makes a value a graph output.
    pub fn output(&mut self, value: &Value, element: ElementType, shape: &[Size]) {
        self.graph.output.push(value_info(value.name(), element, shape));
    }

    /// A node of the standard operators; its one output is named as the node.
    pub fn op(&mut self, name: &str, op_type: &str, inputs: &[&Value], attributes: &[AttributeProto]) -> Result<Value> {
        self.node("", name, op_type, inputs, attributes)
    }

    /// A node of ONNX Runtime's own operators.
    pub fn contrib(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[AttributeProto],
    ) -> Result<Value> {
        self.node(CONTRIB, name, op_type, inputs, attributes)
    }

    /// A node of our own operators.
    pub fn own(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[AttributeProto],
    ) -> Result<Value> {
        self.node(OWN, name, op_type, inputs, attributes)
    }

    fn node(
        &mut self,
        domain: &str,
        name: &str,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[AttributeProto],
    ) -> Result<Value> {
        let value = self.claim(name)?;
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|input| input.name().to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: op_type.to_owned(),
            attribute: attributes.to_vec(),
            domain: domain.to_owned(),
            ..Default::default()
        });
        Ok(value)
    }

    /// A further output of the node that made `first`.
    pub fn further_output(&mut self, first: &Value, suffix: &str) -> Result<Value> {
        let value = self.claim(&format!("{}.{suffix}", first.name()))?;
        self.node_of(first)?.output.push(value.name().to_owned());
        Ok(value)
    }

    /// Leaves out the next optional output of the node that made `first`.
    pub fn skip_output(&mut self, first: &Value) -> Result<()> {
        self.node_of(first)?.output.push(String::new());
        Ok(())
    }

    fn node_of(&mut self, first: &Value) -> Result<&mut NodeProto> {
        let makes = |node: &&mut NodeProto| node.output.first().is_some_and(|name| name == first.name());
        let node = self.graph.node.iter_mut().rfind(makes);
        node.ok_or_else(|| Error::Graph { problem: format!("no node makes `{}`", first.name()) })
    }

    /// The finished model.
    pub fn finish(self) -> Model {
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let mut opset_import = vec![opset("", OPSET)];
        for domain in [CONTRIB, OWN] {
            if self.graph.node.iter().any(|node| node.domain == domain) {
                opset_import.push(opset(domain, 1));
            }
        }
        let proto = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "ironvec".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import,
            ..Default::default()
        };
        Model { proto, quantized: self.quantized, rounded: self.rounded }
    }
}

/// The entries of a tensor that lies in a file.
pub fn external_data(location: &str, offset: u64, length: u64) -> Vec<StringStringEntryProto> {
    vec![
        StringStringEntryProto::new("location", location),
        StringStringEntryProto::new("offset", offset.to_string()),
        StringStringEntryProto::new("length", length.to_string()),
    ]
}

/// A shape as ONNX writes it.
pub fn dims(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|size| *size as i64).collect()
}

fn value_info(name: &str, element: ElementType, shape: &[Size]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|size| DimensionProto {
            value: Some(match size {
                Size::Fixed(size) => Dimension::Size(*size as i64),
                Size::Symbol(symbol) => Dimension::Symbol((*symbol).to_owned()),
            }),
        })
        .collect();
    let tensor_type = TensorTypeProto { elem_type: element as i32, shape: Some(TensorShapeProto { dim }) };
    let tensor = TypeProto { tensor_type: Some(tensor_type), ..Default::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(tensor) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::weights::testing::weights_of;
    use crate::transformer::Vector;

    #[test]
    fn a_name_given_twice_is_an_error() {
        let (_folder, weights) = weights_of(&[("w", &[2, 3])]);
        let mut builder = GraphBuilder::new("test", &weights, Arithmetic::Float32, Operators::Usual);
        builder.filled("x", 1, 0.0).unwrap();
        let message = builder.integers("x", &[1]).unwrap_err().to_string();
        assert!(message.contains("the name `x` is given twice"), "{message}");
        // A weight may be asked for wherever it is read.
        let matrix = Matrix::whole("w", [2, 3]);
        assert_eq!(builder.matrix(&matrix).unwrap(), builder.matrix(&matrix).unwrap());
        assert_eq!(builder.graph.initializer.len(), 2);
    }

    #[test]
    fn weights_point_into_the_checkpoint() {
        let (_folder, weights) = weights_of(&[("a", &[4]), ("b", &[2, 3])]);
        let mut builder = GraphBuilder::new("test", &weights, Arithmetic::Float32, Operators::Usual);
        let whole = Matrix::whole("b", [2, 3]);
        builder.matrix(&whole).unwrap();
        builder.matrix(&whole.part(1..2)).unwrap();
        let model = builder.finish().proto;
        let place = weights.tensor("b", &[2, 3]).unwrap();
        let parts = [([2, 3], place.offset, "24"), ([1, 3], place.offset + 12, "12")];
        for (tensor, (dims, offset, length)) in model.graph.unwrap().initializer.iter().zip(parts) {
            let external: Vec<_> =
                tensor.external_data.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
            let offset = offset.to_string();
            assert_eq!(external, [("location", "model.safetensors"), ("offset", offset.as_str()), ("length", length)]);
            assert_eq!(tensor.raw_data, None);
            assert_eq!(tensor.dims, dims);
        }
    }

    #[test]
    fn a_wrong_shape_is_named() {
        let (_folder, weights) = weights_of(&[("a", &[4])]);
        let mut builder = GraphBuilder::new("test", &weights, Arithmetic::Float32, Operators::Usual);
        let message = builder.vector(&Vector::whole("a", 5)).unwrap_err().to_string();
        assert!(message.contains("tensor `a`: found shape [4], expected shape [5]"), "{message}");
        let message = builder.vector(&Vector::whole("missing", 5)).unwrap_err().to_string();
        assert!(message.contains("tensor `missing`: found nothing of that name"), "{message}");
    }
}
