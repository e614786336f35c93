//! A node and what is known of its inputs in, whether the CoreML provider takes it out, and if not, why: the provider's
//! rules for `ModelFormat=MLProgram`, read from ONNX Runtime's sources (1.24). None of it was run on Apple hardware.

use super::conditions::anything;
use super::elements::element_name;
use super::operands::Operands;
use super::table::{Condition, LISTED, NOT_TAKEN, TABLE, Types};
use super::values::{Dim, is_standard};
use crate::lowering::onnx::proto::ElementType;

const FLOAT32: i32 = ElementType::Float32 as i32;
const FLOAT16: i32 = ElementType::Float16 as i32;
const INT32: i32 = ElementType::Int32 as i32;
const INT64: i32 = ElementType::Int64 as i32;
const BOOL: i32 = 9;

/// The highest rank of any input.
const MAX_RANK: usize = 5;

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
                Dim::Size(..0) | Dim::Unnamed if static_shapes => {
                    return Err(format!("input {index} has a dynamic dimension"));
                }
                Dim::Size(_) | Dim::Symbol(_) | Dim::Unnamed => {}
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
    use std::collections::HashMap;

    use super::*;
    use crate::inspect::TensorInfo;
    use crate::inspect::values::Values;
    use crate::lowering::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

    /// Judges a node whose inputs are `a`, `b`, … of these types and shapes; those in upper case are constants.
    fn judged(op_type: &str, inputs: &[(&str, i32, &[i64])], attributes: &[AttributeProto]) -> Verdict {
        let tensor = |(name, element, dims): &(&str, i32, &[i64])| TensorProto {
            name: (*name).to_owned(),
            data_type: *element,
            dims: dims.to_vec(),
            ..Default::default()
        };
        let constant = |input: &&(&str, i32, &[i64])| input.0.chars().all(char::is_uppercase);
        let initializer = inputs.iter().filter(constant).map(tensor).collect();
        let graph = GraphProto { initializer, ..Default::default() };
        let info = |(name, element, dims): &(&str, i32, &[i64])| {
            let shape = Some(dims.iter().map(|size| Dim::Size(*size)).collect());
            ((*name).to_owned(), TensorInfo { element: *element, shape })
        };
        let inferred: HashMap<String, TensorInfo> = inputs.iter().map(info).collect();
        let node = NodeProto {
            op_type: op_type.to_owned(),
            input: inputs.iter().map(|input| input.0.to_owned()).collect(),
            output: vec!["y".to_owned()],
            attribute: attributes.to_vec(),
            ..Default::default()
        };
        let values = Values::new(&ModelProto::default(), &graph, inferred);
        judge(&Operands { node: &node, values: &values }, true)
    }

    fn refused(reason: &str) -> Verdict {
        Verdict::Refused(reason.to_owned())
    }

    // What follows cannot be tested through Python: ONNX Runtime refuses such graphs itself, or is too old for them.

    #[test]
    fn gemm_has_two_dimensions() {
        let trans_b = [AttributeProto::int("transB", 1)];
        let a_or_b = refused("A or B does not have 2 dimensions");
        assert_eq!(judged("Gemm", &[("a", 1, &[2, 3]), ("B", 1, &[4, 3])], &trans_b), Verdict::Taken(None));
        assert_eq!(judged("Gemm", &[("a", 1, &[1, 2, 3]), ("B", 1, &[4, 3])], &trans_b), a_or_b);
        assert_eq!(judged("Gemm", &[("a", 1, &[2, 3]), ("B", 1, &[3])], &trans_b), a_or_b);
    }

    #[test]
    fn layer_normalization_has_scale_and_bias_of_one_type() {
        let axis = [AttributeProto::int("axis", -1)];
        let inputs = |bias| [("a", 1, &[2, 4][..]), ("B", 1, &[4]), ("C", bias, &[4])];
        assert_eq!(judged("LayerNormalization", &inputs(1), &axis), Verdict::Taken(None));
        let reason = refused("the scale is float32, the bias float16");
        assert_eq!(judged("LayerNormalization", &inputs(10), &axis), reason);
    }

    #[test]
    fn gelu_has_a_known_approximation() {
        let named = |name: &str| [AttributeProto { s: Some(name.into()), ..AttributeProto::int("approximate", 0) }];
        assert_eq!(judged("Gelu", &[("a", 1, &[2])], &named("tanh")), Verdict::Taken(None));
        let reason = refused("approximate is \"sigmoid\"");
        assert_eq!(judged("Gelu", &[("a", 1, &[2])], &named("sigmoid")), reason);
    }

    #[test]
    fn the_operators_of_newer_sets_are_not_taken() {
        for name in NOT_TAKEN {
            assert_eq!(judged(name, &[("a", 1, &[2])], &[]), refused("the provider does not take this operator"));
        }
    }

    #[test]
    fn a_negative_dimension_is_a_dynamic_one() {
        assert_eq!(judged("Relu", &[("a", 1, &[-1])], &[]), refused("input 0 has a dynamic dimension"));
    }
}
