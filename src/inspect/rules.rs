//! A node and what is known of its inputs in, whether the CoreML provider takes it out, and if not, why: the provider's
//! rules for `ModelFormat=MLProgram`, read from ONNX Runtime's sources (1.24). None of it was run on Apple hardware.

use super::conditions::{
    anything, at_least_two_inputs, at_least_two_outputs, both_at_least_2d, cast_target, constant_axes,
    constant_scale_and_bias, gather_small, gemm_plain, known_approximation, known_parameters, known_shape, one_type,
};
use super::operands::Operands;
use super::values::{Dim, element_name, is_standard};
use crate::graph::proto::ElementType;

const FLOAT32: i32 = ElementType::Float32 as i32;
const FLOAT16: i32 = ElementType::Float16 as i32;
const INT32: i32 = ElementType::Int32 as i32;
const INT64: i32 = ElementType::Int64 as i32;
const BOOL: i32 = 9;

/// The highest rank of any input.
const MAX_RANK: usize = 5;

/// Which element types an operator takes.
#[derive(Clone, Copy)]
enum Types {
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
type Condition = fn(&Operands<'_>) -> Result<(), String>;

/// The operators that the provider takes, each with its types and its condition.
const TABLE: &[(&str, Types, Condition)] = &[
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
const LISTED: [&str; 23] = [
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
const NOT_TAKEN: [&str; 14] = [
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

/// What the provider makes of a node.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes it, but: a cost or a deviation that the caller should know.
    Taken(Option<&'static str>),
    /// It takes it, going by its published list alone.
    Listed,
    /// It does not, and why.
    Refused(String),
}

/// Judges one node of the main graph. `static_shapes` is the provider's option `RequireStaticInputShapes`.
pub fn judge(node: &Operands<'_>, static_shapes: bool) -> Verdict {
    let refused = |reason: &str| Verdict::Refused(reason.to_owned());
    let domain = node.node.domain.as_str();
    if !is_standard(domain) {
        return Verdict::Refused(format!("an operator of {domain}: the provider takes only those of ONNX itself"));
    }
    let name = node.node.op_type.as_str();
    let row = TABLE.iter().find(|row| row.0 == name);
    let (types, condition) = match row {
        Some((_, types, condition)) => (*types, *condition),
        None if LISTED.contains(&name) => (Types::Unchecked, anything as Condition),
        None if NOT_TAKEN.contains(&name) => return refused("the provider does not take this operator"),
        None => return refused("not among the operators that the provider is known to take"),
    };
    let judged =
        check_shapes(node, static_shapes).and_then(|()| check_types(node, types)).and_then(|()| condition(node));
    match judged {
        Err(reason) => Verdict::Refused(reason),
        Ok(()) if row.is_none() => Verdict::Listed,
        Ok(()) => Verdict::Taken(caution(node)),
    }
}

fn check_shapes(node: &Operands<'_>, static_shapes: bool) -> Result<(), String> {
    for index in node.present_inputs() {
        let Some(shape) = node.shape(index) else { return Err(format!("the shape of input {index} is not known")) };
        if shape.len() > MAX_RANK {
            return Err(format!("input {index} has rank {}, more than {MAX_RANK}", shape.len()));
        }
        for dim in shape {
            match dim {
                Dim::Size(0) => return Err(format!("input {index} has a dimension of 0")),
                Dim::Symbol(symbol) if static_shapes => {
                    return Err(format!("input {index} has a dynamic dimension, {symbol}"));
                }
                dim if static_shapes && dim.is_dynamic() => {
                    return Err(format!("input {index} has a dynamic dimension"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn check_types(node: &Operands<'_>, types: Types) -> Result<(), String> {
    let gate = |index: usize, allowed: &[i32]| match node.element(index) {
        Some(element) if allowed.contains(&element) => Ok(()),
        element => {
            let names: Vec<String> = allowed.iter().map(|element| element_name(*element)).collect();
            Err(format!("input {index} is {}, not {}", element_name(element.unwrap_or(0)), names.join(" or ")))
        }
    };
    match types {
        Types::Common => gate(0, &[FLOAT32, FLOAT16, INT64]),
        Types::Castable => gate(0, &[FLOAT32, FLOAT16, INT64, INT32]),
        Types::Select => {
            gate(0, &[BOOL]).and_then(|()| gate(1, &[FLOAT32, FLOAT16])).and_then(|()| gate(2, &[FLOAT32, FLOAT16]))
        }
        Types::Unchecked => Ok(()),
    }
}

/// What is wrong with a node although it is taken.
fn caution(node: &Operands<'_>) -> Option<&'static str> {
    match node.node.op_type.as_str() {
        "Gemm" if node.int("transB").unwrap_or(0) == 0 => Some(
            "transB=0 writes the weight into the model's text, which makes the first load slow: store it transposed",
        ),
        "LayerNormalization" if node.int("axis").is_none() && node.rank(0) != Some(2) => {
            Some("without axis the provider takes 1, ONNX -1: write axis=-1")
        }
        "Reciprocal" => Some("the provider adds 1e-4 to its input: use Div"),
        _ => None,
    }
}

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
