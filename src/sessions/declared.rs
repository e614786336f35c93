//! An ONNX file's graph in, what a session on it would take and give out, as far as the file declares it: nothing is
//! opened or run. Refused, as the session refuses it: an input that nobody here fills, a graph without vectors.

use ort::value::{Outlet, SymbolicDimensions, TensorElementType, ValueType};

use super::onnx_file::choose_output;
use super::onnx_inputs::Inputs;
use crate::checkpoint::onnx_file::OnnxFile;
use crate::error::Result;
use crate::inspect::{Dim, TensorInfo};
use crate::lowering::onnx::proto::{GraphProto, ValueInfoProto};

/// What is known before a file is opened.
pub struct Declared {
    /// Whether it takes keys and values of earlier tokens.
    pub takes_cache: bool,
    /// Whether it gives one vector a row. Nothing: shapes are not declared.
    pub pooled: Option<bool>,
    /// Components of a vector or state.
    pub width: Option<usize>,
}

/// Holds a graph against what can be run.
pub fn declared(file: &OnnxFile, graph: &GraphProto) -> Result<Declared> {
    let is_constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let inputs: Vec<Outlet> = graph.input.iter().filter(|input| !is_constant(&input.name)).map(outlet).collect();
    let outputs: Vec<Outlet> = graph.output.iter().map(outlet).collect();
    let takes_cache = Inputs::read(file, &inputs)?.take_cache();
    match choose_output(&file.path, &outputs) {
        Ok(output) => Ok(Declared { takes_cache, pooled: Some(output.pooled), width: output.width }),
        // ONNX Runtime infers what the file leaves out.
        Err(_) if graph.output.iter().any(|output| TensorInfo::declared(output).shape.is_none()) => {
            Ok(Declared { takes_cache, pooled: None, width: None })
        }
        Err(error) => Err(error),
    }
}

fn outlet(value: &ValueInfoProto) -> Outlet {
    let info = TensorInfo::declared(value);
    let dims = info.shape.unwrap_or_default();
    let symbol = |dim: &Dim| match dim {
        Dim::Symbol(symbol) => symbol.clone(),
        Dim::Size(_) | Dim::Unnamed => String::new(),
    };
    Outlet::new(
        &value.name,
        ValueType::Tensor {
            ty: element_type(info.element),
            shape: dims.iter().map(|dim| dim.size().unwrap_or(-1)).collect::<Vec<_>>().into(),
            dimension_symbols: SymbolicDimensions::new(dims.iter().map(symbol)),
        },
    )
}

/// The numbers are those of `TensorProto.DataType`.
fn element_type(element: i32) -> TensorElementType {
    use TensorElementType as E;
    match element {
        1 => E::Float32,
        2 => E::Uint8,
        3 => E::Int8,
        4 => E::Uint16,
        5 => E::Int16,
        6 => E::Int32,
        7 => E::Int64,
        8 => E::String,
        9 => E::Bool,
        10 => E::Float16,
        11 => E::Float64,
        12 => E::Uint32,
        13 => E::Uint64,
        16 => E::Bfloat16,
        _ => E::Undefined,
    }
}
