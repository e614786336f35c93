//! A model in, the types and shapes of all that its nodes make out, as ONNX Runtime infers them when it opens the model.
//! A session tells only of its outputs, so every value is made one, and none is optimised away. Nothing is run.

use std::collections::HashMap;
use std::path::Path;

use ort::session::Session;
use ort::sys::ONNXTensorElementDataType;
use ort::value::{Outlet, ValueType};
use prost::Message;

use crate::ending::Turn;
use crate::inspect::lean::everything_as_output;
use crate::inspect::{Dim, TensorInfo};
use crate::lowering::onnx::proto::{ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto};
use crate::sessions::runtime::Runtime;

/// Begins the names of outputs that hold another value's shape.
const SHAPE_OF: &str = "ironvec.shape_of.";
/// ONNX Runtime's names for dimensions that it could not relate to any other.
const UNNAMED: &str = "unk__";
/// The set of standard operators for a model that imports none.
const OPSET: i64 = 17;

/// What is known of the values that the main graph's nodes make. Values that are no tensors are left out.
pub fn infer(
    runtime: &Runtime,
    mut model: ModelProto,
    data_folder: &Path,
) -> Result<HashMap<String, TensorInfo>, ort::Error> {
    let _turn = Turn::take();
    let Some(graph) = model.graph.as_mut() else { return Ok(HashMap::new()) };
    everything_as_output(graph);
    let open = |model: &ModelProto| runtime.open_for_shapes(&model.encode_to_vec(), data_folder);
    let session = open(&model)?;
    let outputs = session.outputs().iter().filter_map(|output| Some((output.name().to_owned(), tensor_info(output)?)));
    let mut inferred: HashMap<String, TensorInfo> = outputs.collect();

    // A session gives no dimensions for a scalar, and none for a value of unknown rank.
    let unclear: Vec<String> = inferred
        .iter()
        .filter(|(_, info)| info.shape.as_ref().is_some_and(Vec::is_empty))
        .map(|one| one.0.clone())
        .collect();
    if !unclear.is_empty() {
        ask_for_ranks(&mut model, &unclear);
        for name in of_unknown_rank(&open(&model)?, &unclear) {
            inferred.entry(name.to_owned()).and_modify(|info| info.shape = None);
        }
    }
    Ok(inferred)
}

fn tensor_info(output: &Outlet) -> Option<TensorInfo> {
    let ValueType::Tensor { ty, shape, dimension_symbols } = output.dtype() else { return None };
    let dim = |(size, symbol): (&i64, &String)| match symbol.as_str() {
        _ if *size >= 0 => Dim::Size(*size),
        symbol if symbol.is_empty() || symbol.starts_with(UNNAMED) => Dim::Unnamed,
        symbol => Dim::Symbol(symbol.to_owned()),
    };
    let shape = shape.iter().zip(dimension_symbols.iter()).map(dim).collect();
    // ONNX Runtime's numbers for element types are those of `TensorProto.DataType`, up to the 8-bit floats.
    Some(TensorInfo { element: ONNXTensorElementDataType::from(*ty) as i32, shape: Some(shape) })
}

/// Adds a `Shape` of each of the values: its length is the rank, and not known where the rank is not.
fn ask_for_ranks(model: &mut ModelProto, names: &[String]) {
    if !model.opset_import.iter().any(|opset| matches!(opset.domain.as_str(), "" | "ai.onnx")) {
        model.opset_import.push(OperatorSetIdProto { domain: String::new(), version: OPSET });
    }
    let Some(graph) = model.graph.as_mut() else { return };
    for (index, name) in names.iter().enumerate() {
        let output = format!("{SHAPE_OF}{index}");
        graph.output.push(ValueInfoProto { name: output.clone(), r#type: None });
        graph.node.push(NodeProto {
            op_type: "Shape".to_owned(),
            input: vec![name.clone()],
            output: vec![output],
            ..Default::default()
        });
    }
}

/// Those of the values whose `Shape` has no known length.
fn of_unknown_rank<'n>(session: &Session, names: &'n [String]) -> impl Iterator<Item = &'n str> {
    let lengths: HashMap<String, TensorInfo> = session
        .outputs()
        .iter()
        .filter(|output| output.name().starts_with(SHAPE_OF))
        .filter_map(|output| Some((output.name().to_owned(), tensor_info(output)?)))
        .collect();
    names.iter().enumerate().filter_map(move |(index, name)| {
        let shape = lengths.get(&format!("{SHAPE_OF}{index}"))?.shape.as_ref()?;
        shape.iter().all(Dim::is_dynamic).then_some(name.as_str())
    })
}
