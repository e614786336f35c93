//! What `rules.rs` asks of single operators: a node in, nothing or the reason for its refusal out.

use super::LARGE;
use super::elements::element_name;
use super::operands::Operands;

type Check = Result<(), String>;

/// The highest rank of an output.
const MAX_RANK: usize = 5;

fn check(holds: bool, reason: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(reason()) }
}

fn constant(node: &Operands<'_>, index: usize, what: &str) -> Check {
    check(node.is_absent(index) || node.is_constant(index), || format!("{what} is not constant"))
}

/// No condition.
pub fn anything(_: &Operands<'_>) -> Check {
    Ok(())
}

pub fn both_at_least_2d(node: &Operands<'_>) -> Check {
    check((0..2).all(|index| node.rank(index).is_some_and(|rank| rank >= 2)), || {
        "an input has fewer than 2 dimensions".to_owned()
    })
}

pub fn gemm_plain(node: &Operands<'_>) -> Check {
    check((0..2).all(|index| node.rank(index) == Some(2)), || "A or B does not have 2 dimensions".to_owned())?;
    check(node.int("transA").unwrap_or(0) == 0, || "transA is not 0".to_owned())?;
    for name in ["alpha", "beta"] {
        let factor = node.float(name).unwrap_or(1.0);
        check(factor == 1.0, || format!("{name} is {factor}, not 1"))?;
    }
    Ok(())
}

pub fn one_type(node: &Operands<'_>) -> Check {
    let [base, exponent] = [0, 1].map(|index| node.element(index).unwrap_or(0));
    check(base == exponent, || format!("inputs are {} and {}", element_name(base), element_name(exponent)))
}

/// Axes in input 1 (they were attributes before opset 13 or 18).
pub fn constant_axes(node: &Operands<'_>) -> Check {
    constant(node, 1, "axes")
}

pub fn constant_scale_and_bias(node: &Operands<'_>) -> Check {
    constant(node, 1, "the scale")?;
    constant(node, 2, "the bias")?;
    check(node.is_absent(2) || node.element(1) == node.element(2), || {
        let [scale, bias] = [1, 2].map(|index| element_name(node.element(index).unwrap_or(0)));
        format!("the scale is {scale}, the bias {bias}")
    })?;
    check(node.output_count() == 1, || "it has more than one output".to_owned())
}

pub fn at_least_two_inputs(node: &Operands<'_>) -> Check {
    check(node.present_inputs().count() >= 2, || "fewer than 2 inputs".to_owned())
}

/// Sizes are in input 1, or an attribute before opset 13; without them the parts are equal.
pub fn at_least_two_outputs(node: &Operands<'_>) -> Check {
    check(node.output_count() >= 2, || "fewer than 2 outputs".to_owned())?;
    constant(node, 1, "split")?;
    let sizes = node.integers(1).or_else(|| node.ints("split"));
    check(!sizes.is_some_and(|sizes| sizes.contains(&0)), || "split has a size of 0".to_owned())
}

pub fn known_parameters(node: &Operands<'_>) -> Check {
    known_data(node)?;
    ["starts", "ends", "axes", "steps"].iter().zip(1..).try_for_each(|(name, index)| constant(node, index, name))
}

pub fn known_shape(node: &Operands<'_>) -> Check {
    known_data(node)?;
    constant(node, 1, "the shape")?;
    let rank = node.integers(1).map_or(0, <[i64]>::len);
    check(rank <= MAX_RANK, || format!("the output has rank {rank}, more than {MAX_RANK}"))
}

fn known_data(node: &Operands<'_>) -> Check {
    check(node.shape(0).is_some_and(|shape| !shape.iter().any(|dim| dim.is_dynamic())), || {
        "the data has a dynamic dimension".to_owned()
    })
}

pub fn known_approximation(node: &Operands<'_>) -> Check {
    let approximation = node.text("approximate").unwrap_or_else(|| "none".to_owned());
    check(matches!(approximation.as_str(), "none" | "tanh"), || format!("approximate is {approximation:?}"))
}

pub fn cast_target(node: &Operands<'_>) -> Check {
    let target = node.int("to").unwrap_or(0);
    // float32, int32, int64, float16
    let name = || element_name(i32::try_from(target).unwrap_or(0));
    check(matches!(target, 1 | 6 | 7 | 10), || format!("it casts to {}", name()))
}

pub fn gather_small(node: &Operands<'_>) -> Check {
    let rank = node.rank(0).unwrap_or(0) + node.rank(1).unwrap_or(0);
    check(rank <= MAX_RANK + 1, || format!("the output has rank {}, more than {MAX_RANK}", rank - 1))?;
    let large = node.shape(0).into_iter().flatten().find(|dim| dim.size() > Some(LARGE));
    check(large.is_none(), || format!("its table has a dimension over {LARGE}, which stays on the CPU in practice"))
}
