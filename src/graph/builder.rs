//! Values in, values out: a graph under construction. Weights become external data that points into the checkpoint's
//! own file. Refused: a name given twice, a weight that is missing or of another shape than the config says.

use std::collections::HashSet;

use prost::Message;
use safetensors::tensor::Dtype;

use super::proto::{
    AttributeProto, Dimension, DimensionProto, ElementType, GraphProto, LOCATION_EXTERNAL, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use crate::error::{Error, Result};
use crate::quantize::Matrix;
use crate::weights::Weights;

/// ONNX Runtime's own operators (fused attention, skip + norm, …).
pub const CONTRIB: &str = "com.microsoft";
/// The standard operators' set. 20 is the newest that every supported ONNX Runtime has.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 9;

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

/// What matrix products with weights are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// As the reference does.
    #[default]
    Float32,
    /// The whole graph, on providers that compute in it.
    Float16,
    /// Weights with a scale for each output channel, activations with one for each row: see `quantized.rs`.
    Int8,
}

impl Arithmetic {
    /// The name that callers use.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Float32 => "float32",
            Arithmetic::Float16 => "float16",
            Arithmetic::Int8 => "int8",
        }
    }
}

/// A finished graph.
#[derive(Debug)]
pub struct Model {
    /// The ONNX model. Weights point into the checkpoint's files.
    pub proto: ModelProto,
    /// Weights that are not in any file: the session is to be given them.
    pub quantized: Vec<QuantizedWeight>,
}

impl Model {
    /// The ONNX model as a file has it.
    pub fn bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    /// Nodes of its graph.
    pub fn node_count(&self) -> usize {
        self.proto.graph.as_ref().map_or(0, |graph| graph.node.len())
    }
}

/// A weight that is made at load.
#[derive(Debug)]
pub struct QuantizedWeight {
    /// What it is made of.
    pub matrix: Matrix,
    /// Initializer (inputs, outputs), int8.
    pub values_name: String,
    /// Initializer (outputs), float32.
    pub scales_name: String,
}

/// A graph under construction over a checkpoint's weights.
pub struct GraphBuilder<'w> {
    weights: &'w Weights,
    arithmetic: Arithmetic,
    graph: GraphProto,
    names: HashSet<String>,
    quantized: Vec<QuantizedWeight>,
}

impl<'w> GraphBuilder<'w> {
    /// An empty graph.
    pub fn new(name: &str, weights: &'w Weights, arithmetic: Arithmetic) -> Self {
        let graph = GraphProto { name: name.to_owned(), ..Default::default() };
        GraphBuilder { weights, arithmetic, graph, names: HashSet::new(), quantized: Vec::new() }
    }

    /// What matrix products are computed in.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// The value of this name, where there is one already.
    pub fn existing(&self, name: &str) -> Option<Value> {
        self.names.contains(name).then(|| Value(name.to_owned()))
    }

    fn claim(&mut self, name: &str) -> Result<Value> {
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

    /// Whether the checkpoint has a tensor of this name.
    pub fn has_weight(&self, tensor: &str) -> bool {
        self.weights.contains(tensor)
    }

    /// A tensor of the checkpoint as float32; 16-bit tensors go through a Cast that the runtime folds at load.
    pub fn weight(&mut self, tensor: &str, shape: &[usize]) -> Result<Value> {
        let (value, element) = self.initializer(tensor, shape)?;
        if element == ElementType::Float32 {
            return Ok(value);
        }
        let to_float32 = AttributeProto::int("to", ElementType::Float32 as i64);
        self.op(&format!("{tensor}.float32"), "Cast", &[&value], &[to_float32])
    }

    /// A tensor of the checkpoint in its own type, which stays mapped: for tables that are read by row.
    pub fn table(&mut self, tensor: &str, shape: &[usize]) -> Result<Value> {
        Ok(self.initializer(tensor, shape)?.0)
    }

    fn initializer(&mut self, tensor: &str, shape: &[usize]) -> Result<(Value, ElementType)> {
        let place = self.weights.tensor(tensor, shape)?;
        let element = match place.dtype {
            Dtype::F16 => ElementType::Float16,
            Dtype::BF16 => ElementType::BFloat16,
            _ => ElementType::Float32,
        };
        let proto = TensorProto {
            dims: dims(shape),
            data_type: element as i32,
            name: tensor.to_owned(),
            external_data: external_data(&self.weights.location(place)?, place.offset, place.length),
            data_location: Some(LOCATION_EXTERNAL),
            ..Default::default()
        };
        Ok((self.tensor(proto)?, element))
    }

    /// An initializer as it is given.
    pub fn tensor(&mut self, proto: TensorProto) -> Result<Value> {
        let value = self.claim(&proto.name)?;
        self.graph.initializer.push(proto);
        Ok(value)
    }

    /// A matrix of the checkpoint in int8, (inputs, outputs), and the scale of each output. Their numbers are made when
    /// the session is: see [`Model::quantized`].
    pub fn quantized_weight(&mut self, tensor: &str, [outputs, inputs]: [usize; 2]) -> Result<[Value; 2]> {
        self.weights.tensor(tensor, &[outputs, inputs])?;
        let matrix = Matrix { tensor: tensor.to_owned(), outputs, inputs };
        let values = self.claim(&format!("{tensor}.int8"))?;
        let scales = self.claim(&format!("{tensor}.scales"))?;
        for (value, element, shape) in
            [(&values, ElementType::Int8, &[inputs, outputs][..]), (&scales, ElementType::Float32, &[outputs])]
        {
            let location =
                StringStringEntryProto { key: "location".to_owned(), value: "given to the session".to_owned() };
            self.graph.initializer.push(TensorProto {
                dims: dims(shape),
                data_type: element as i32,
                name: value.name().to_owned(),
                external_data: vec![location],
                data_location: Some(LOCATION_EXTERNAL),
                ..Default::default()
            });
        }
        self.quantized.push(QuantizedWeight {
            matrix,
            values_name: values.name().to_owned(),
            scales_name: scales.name().to_owned(),
        });
        Ok([values, scales])
    }

    /// A constant of one number, the same value wherever its name is asked for.
    pub fn scalar(&mut self, name: &str, element: ElementType, bytes: &[u8]) -> Result<Value> {
        if let Some(value) = self.existing(name) {
            return Ok(value);
        }
        let value = self.claim(name)?;
        self.graph.initializer.push(TensorProto {
            data_type: element as i32,
            name: name.to_owned(),
            raw_data: Some(bytes.to_vec()),
            ..Default::default()
        });
        Ok(value)
    }

    /// A constant list of integers (axes, sizes).
    pub fn integers(&mut self, name: &str, values: &[i64]) -> Result<Value> {
        let value = self.claim(name)?;
        self.graph.initializer.push(TensorProto {
            dims: dims(&[values.len()]),
            data_type: ElementType::Int64 as i32,
            name: name.to_owned(),
            raw_data: Some(values.iter().flat_map(|number| number.to_le_bytes()).collect()),
            ..Default::default()
        });
        Ok(value)
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
        if self.graph.node.iter().any(|node| node.domain == CONTRIB) {
            opset_import.push(opset(CONTRIB, 1));
        }
        let proto = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "ironvec".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import,
            ..Default::default()
        };
        Model { proto, quantized: self.quantized }
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
    use crate::weights::testing::weights_of;

    #[test]
    fn a_name_given_twice_is_an_error() {
        let (_folder, weights) = weights_of(&[("w", &[2, 3])]);
        let mut builder = GraphBuilder::new("test", &weights, Arithmetic::Float32);
        builder.weight("w", &[2, 3]).unwrap();
        let message = builder.weight("w", &[2, 3]).unwrap_err().to_string();
        assert!(message.contains("the name `w` is given twice"), "{message}");
    }

    #[test]
    fn weights_point_into_the_checkpoint() {
        let (_folder, weights) = weights_of(&[("a", &[4]), ("b", &[2, 3])]);
        let mut builder = GraphBuilder::new("test", &weights, Arithmetic::Float32);
        builder.weight("b", &[2, 3]).unwrap();
        let model = ModelProto::decode(builder.finish().bytes().as_slice()).unwrap();
        let tensor = &model.graph.unwrap().initializer[0];
        let external: Vec<_> =
            tensor.external_data.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        let place = weights.tensor("b", &[2, 3]).unwrap();
        let offset = place.offset.to_string();
        assert_eq!(external, [("location", "model.safetensors"), ("offset", offset.as_str()), ("length", "24")]);
        assert_eq!(tensor.raw_data, None);
        assert_eq!(tensor.dims, [2, 3]);
    }

    #[test]
    fn a_wrong_shape_is_named() {
        let (_folder, weights) = weights_of(&[("a", &[4])]);
        let mut builder = GraphBuilder::new("test", &weights, Arithmetic::Float32);
        let message = builder.weight("a", &[5]).unwrap_err().to_string();
        assert!(message.contains("tensor `a`: found shape [4], expected shape [5]"), "{message}");
        let message = builder.weight("missing", &[5]).unwrap_err().to_string();
        assert!(message.contains("tensor `missing`: found nothing of that name"), "{message}");
    }
}
