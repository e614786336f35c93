//! A graph and what is inferred of it in, what is known of each of its values out: element type, shape, whether it is
//! constant, and the numbers of small integer constants (axes, sizes), which decide whether a node is taken.

use std::collections::{HashMap, HashSet};

use serde::{Serialize, Serializer};

use super::elements::element_name;
use crate::lowering::onnx::proto::{
    Dimension, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto,
};

/// One dimension of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A number; negative ones are in nobody's right file and count as dynamic.
    Size(i64),
    /// Dynamic, with the name that the graph gives it.
    Symbol(String),
    /// Dynamic, without a name.
    Unnamed,
}

impl Dim {
    /// The number, where it is one.
    pub fn size(&self) -> Option<i64> {
        match self {
            Dim::Size(size) => Some(*size),
            Dim::Symbol(_) | Dim::Unnamed => None,
        }
    }

    /// Whether the dimension is known only when the graph runs.
    pub fn is_dynamic(&self) -> bool {
        match self {
            Dim::Size(size) => *size < 0,
            Dim::Symbol(_) | Dim::Unnamed => true,
        }
    }
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Dim::Size(size) => serializer.serialize_i64(*size),
            Dim::Symbol(symbol) => serializer.serialize_str(symbol),
            Dim::Unnamed => serializer.serialize_none(),
        }
    }
}

/// What is known of a tensor without running anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// `TensorProto.DataType`; 0 where it is not known.
    pub element: i32,
    /// Not even the rank is known of `None`.
    pub shape: Option<Vec<Dim>>,
}

impl TensorInfo {
    /// What a graph's input or output says of itself; nothing for what is no tensor.
    pub fn declared(value: &ValueInfoProto) -> Self {
        let Some(tensor) = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()) else {
            return TensorInfo { element: 0, shape: None };
        };
        TensorInfo { element: tensor.elem_type, shape: tensor.shape.as_ref().map(dims) }
    }

    fn of_constant(element: i32, dims: &[i64]) -> Self {
        TensorInfo { element, shape: Some(dims.iter().map(|size| Dim::Size(*size)).collect()) }
    }

    /// The element type's name.
    pub fn element_name(&self) -> String {
        element_name(self.element)
    }
}

fn dims(shape: &TensorShapeProto) -> Vec<Dim> {
    let dim = |value: &Option<Dimension>| match value {
        Some(Dimension::Size(size)) => Dim::Size(*size),
        Some(Dimension::Symbol(symbol)) if !symbol.is_empty() => Dim::Symbol(symbol.clone()),
        Some(Dimension::Symbol(_)) | None => Dim::Unnamed,
    };
    shape.dim.iter().map(|entry| dim(&entry.value)).collect()
}

/// What is known of every value of the main graph, by name.
#[derive(Debug, Default)]
pub struct Values {
    tensors: HashMap<String, TensorInfo>,
    /// Constants, with their numbers where they are integers and few.
    constants: HashMap<String, Option<Vec<i64>>>,
}

impl Values {
    /// Puts together what the graph declares, what its constants are, and what was inferred of its nodes' outputs.
    pub fn new(model: &ModelProto, graph: &GraphProto, inferred: HashMap<String, TensorInfo>) -> Self {
        let mut values = Values { tensors: inferred, constants: HashMap::new() };
        let inputs: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
        // Since IR version 4, an initializer that is an input too is only that input's default.
        let may_be_replaced = |name: &str| model.ir_version >= 4 && inputs.contains(name);
        for tensor in &graph.initializer {
            values.tensors.insert(tensor.name.clone(), TensorInfo::of_constant(tensor.data_type, &tensor.dims));
            if !may_be_replaced(&tensor.name) {
                values.constants.insert(tensor.name.clone(), integers(tensor));
            }
        }
        for (tensor, dense) in graph.sparse_initializer.iter().filter_map(|one| Some((one, one.values.as_ref()?))) {
            values.tensors.insert(dense.name.clone(), TensorInfo::of_constant(dense.data_type, &tensor.dims));
            values.constants.insert(dense.name.clone(), None);
        }
        for node in graph.node.iter().filter(|node| is_constant(node)) {
            if let Some(name) = node.output.first() {
                values.constants.insert(name.clone(), constant_integers(node));
            }
        }
        for input in &graph.input {
            values.tensors.entry(input.name.clone()).or_insert_with(|| TensorInfo::declared(input));
        }
        values
    }

    /// What is known of a value.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// Whether a value is the same in every run.
    pub fn is_constant(&self, name: &str) -> bool {
        self.constants.contains_key(name)
    }

    /// The numbers of a small integer constant.
    pub fn integers(&self, name: &str) -> Option<&[i64]> {
        self.constants.get(name)?.as_deref()
    }

    /// Every value.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }
}

/// Whether a node is a constant, which ONNX Runtime makes an initializer of before a provider sees the graph.
pub fn is_constant(node: &NodeProto) -> bool {
    node.op_type == "Constant" && is_standard(&node.domain)
}

/// Whether a domain is that of ONNX's own operators.
pub fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

fn constant_integers(node: &NodeProto) -> Option<Vec<i64>> {
    node.attribute.iter().find_map(|attribute| match attribute.name.as_str() {
        "value" => integers(attribute.t.as_ref()?),
        "value_int" => attribute.i.map(|number| vec![number]),
        "value_ints" => Some(attribute.ints.clone()),
        _ => None,
    })
}

/// An int64 tensor's numbers, where they are still there (weights are dropped on the way) and as many as its shape says.
fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    const INT64: i32 = crate::lowering::onnx::proto::ElementType::Int64 as i32;
    if tensor.data_type != INT64 {
        return None;
    }
    let count = tensor.dims.iter().try_fold(1_usize, |count, size| count.checked_mul(usize::try_from(*size).ok()?))?;
    let numbers = match &tensor.raw_data {
        Some(bytes) => bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        None => tensor.int64_data.clone(),
    };
    (numbers.len() == count).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lowering::onnx::proto::{AttributeProto, SparseTensorProto};

    fn int64(name: &str, dims: &[i64], numbers: &[i64], raw: bool) -> TensorProto {
        let bytes = || numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: 7,
            raw_data: raw.then(bytes),
            int64_data: if raw { Vec::new() } else { numbers.to_vec() },
            ..Default::default()
        }
    }

    #[test]
    fn numbers_are_read_however_they_are_stored() {
        let node = |name: &str, attribute| NodeProto {
            op_type: "Constant".to_owned(),
            output: vec![name.to_owned()],
            attribute: vec![attribute],
            ..Default::default()
        };
        let graph = GraphProto {
            initializer: vec![
                int64("raw", &[2], &[3, -1], true),
                int64("listed", &[2], &[3, -1], false),
                int64("dropped", &[2], &[], false),
                int64("short", &[2], &[3], true),
                int64("hostile", &[i64::MAX, i64::MAX], &[3], true),
                int64("negative", &[-1], &[3], true),
            ],
            node: vec![
                node("tensor", AttributeProto::tensor("value", int64("", &[1], &[5], true))),
                node("ints", AttributeProto::ints("value_ints", &[5])),
                node("int", AttributeProto::int("value_int", 5)),
            ],
            ..Default::default()
        };
        let values = Values::new(&ModelProto::default(), &graph, HashMap::new());
        for name in ["raw", "listed"] {
            assert_eq!(values.integers(name), Some(&[3, -1][..]), "{name}");
        }
        for name in ["tensor", "ints", "int"] {
            assert_eq!(values.integers(name), Some(&[5][..]), "{name}");
        }
        for name in ["dropped", "short", "hostile", "negative"] {
            assert_eq!((values.integers(name), values.is_constant(name)), (None, true), "{name}");
        }
    }

    #[test]
    fn an_initializer_that_is_an_input_is_constant_only_before_version_4() {
        let input = ValueInfoProto { name: "axes".to_owned(), ..Default::default() };
        let graph =
            GraphProto { initializer: vec![int64("axes", &[1], &[0], true)], input: vec![input], ..Default::default() };
        for (ir_version, constant) in [(3, true), (4, false)] {
            let model = ModelProto { ir_version, ..Default::default() };
            let values = Values::new(&model, &graph, HashMap::new());
            assert_eq!(values.is_constant("axes"), constant, "IR version {ir_version}");
            assert_eq!(values.tensor("axes").unwrap().shape, Some(vec![Dim::Size(1)]));
        }
    }

    #[test]
    fn a_sparse_initializer_is_constant_and_of_its_dense_shape() {
        let values = TensorProto { name: "w".to_owned(), data_type: 1, dims: vec![1], ..Default::default() };
        let tensor = SparseTensorProto { values: Some(values), dims: vec![30, 40], ..Default::default() };
        let graph = GraphProto { sparse_initializer: vec![tensor], ..Default::default() };
        let values = Values::new(&ModelProto::default(), &graph, HashMap::new());
        assert!(values.is_constant("w"));
        assert_eq!(values.tensor("w").unwrap().shape, Some(vec![Dim::Size(30), Dim::Size(40)]));
    }
}
