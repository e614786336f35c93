//! A finished graph: the ONNX message, and the weights that no file holds.

use prost::Message;

use super::proto::ModelProto;
use crate::transformer::Matrix;

/// A finished graph.
#[derive(Debug)]
pub struct Model {
    /// The ONNX model. Weights point into the checkpoint's files.
    pub proto: ModelProto,
    /// Matrices whose nodes name them by their place here: the session is to be given them, quantized.
    pub quantized: Vec<Matrix>,
    /// Weights that are in no file: the session is to be given them, in bfloat16.
    pub rounded: Vec<RoundedWeight>,
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

/// A weight that is rounded to bfloat16 at load.
#[derive(Debug)]
pub struct RoundedWeight {
    /// What it is made of.
    pub matrix: Matrix,
    /// Initializer (outputs, inputs).
    pub name: String,
}
