//! What the CoreML provider takes (`ModelFormat=MLProgram`), one line for each operator: its types and its condition.
//! Read from ONNX Runtime's sources (1.24) and its published list.

use super::conditions::{
    anything, at_least_two_inputs, at_least_two_outputs, both_at_least_2d, cast_target, constant_axes,
    constant_scale_and_bias, gather_small, gemm_plain, known_approximation, known_parameters, known_shape, one_type,
};
use super::operands::Operands;

/// Which element types an operator takes.
#[derive(Clone, Copy)]
pub enum Types {
    /// Input 0 float32, float16 or int64, as for most; int64 becomes int32 at the boundary.
    Common,
    /// Input 0 those and int32.
    Castable,
    /// A bool, and two of float32 or float16.
    Select,
    /// Not known here.
    Unchecked,
}

/// What must be true of a node beside its shapes and types.
pub type Condition = fn(&Operands<'_>) -> Result<(), String>;

/// The operators that the provider takes, each with its types and its condition.
pub const TABLE: &[(&str, Types, Condition)] = &[
    ("Add", Types::Common, anything),
    ("Cast", Types::Castable, cast_target),
    ("Ceil", Types::Common, anything),
    ("Concat", Types::Common, at_least_two_inputs),
    ("Cos", Types::Common, anything),
    ("Div", Types::Common, anything),
    ("Erf", Types::Common, anything),
    ("Exp", Types::Common, anything),
    ("Gather", Types::Common, gather_small),
    ("Gelu", Types::Common, known_approximation),
    ("Gemm", Types::Common, gemm_plain),
    ("Identity", Types::Common, anything),
    ("LayerNormalization", Types::Common, constant_scale_and_bias),
    ("MatMul", Types::Common, both_at_least_2d),
    ("Max", Types::Common, anything),
    ("Mul", Types::Common, anything),
    ("Pow", Types::Common, one_type),
    ("Reciprocal", Types::Common, anything),
    ("ReduceMax", Types::Common, constant_axes),
    ("ReduceMean", Types::Common, constant_axes),
    ("ReduceMin", Types::Common, constant_axes),
    ("ReduceProd", Types::Common, constant_axes),
    ("ReduceSum", Types::Common, constant_axes),
    ("Relu", Types::Common, anything),
    ("Reshape", Types::Common, known_shape),
    ("Round", Types::Common, anything),
    ("Sigmoid", Types::Common, anything),
    ("Sin", Types::Common, anything),
    ("Slice", Types::Common, known_parameters),
    ("Softmax", Types::Common, anything), // its rank must be known, which every input's must
    ("Split", Types::Common, at_least_two_outputs),
    ("Sqrt", Types::Common, anything),
    ("Squeeze", Types::Common, constant_axes),
    ("Sub", Types::Common, anything),
    ("Tanh", Types::Common, anything),
    ("Tile", Types::Common, anything),
    ("Transpose", Types::Common, anything),
    ("Unsqueeze", Types::Common, constant_axes),
    ("Where", Types::Select, anything),
];

/// Operators that ONNX Runtime lists as taken (`coreml_supported_mlprogram_ops.md`, Flatten and Pad from its sources),
/// under conditions that are not known here: taken on the list's word, and reported as such.
pub const LISTED: [&str; 23] = [
    "And",
    "ArgMax",
    "AveragePool",
    "Clip",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "Elu",
    "Flatten",
    "GatherND",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GridSample",
    "GroupNormalization",
    "HardSigmoid",
    "InstanceNormalization",
    "LeakyRelu",
    "MaxPool",
    "PRelu",
    "Pad",
    "Resize",
    "Shape",
    "Softplus",
];

/// Standard operators of text models that the provider is known not to take.
pub const NOT_TAKEN: [&str; 14] = [
    "Abs",
    "Attention",
    "DequantizeLinear",
    "Einsum",
    "Equal",
    "Expand",
    "Min",
    "Neg",
    "Not",
    "RMSNormalization",
    "Range",
    "ReduceL2",
    "RotaryEmbedding",
    "SimplifiedLayerNormalization",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_is_on_one_list_once() {
        let mut names: Vec<&str> = TABLE.iter().map(|row| row.0).chain(LISTED).chain(NOT_TAKEN).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
