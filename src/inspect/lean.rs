//! A model in, the same model without its weights out, its dynamic dimensions fixed where asked: all that shapes are
//! inferred from. Refused: a dimension, input or size that the model does not have or that cannot be.

use std::collections::{BTreeMap, HashSet};

use crate::error::{Error, Result};
use crate::graph::proto::{
    Dimension, DimensionProto, GraphProto, LOCATION_EXTERNAL, ModelProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};

/// Constants of more elements are weights. Those of fewer may be axes or sizes, which shapes depend on.
const SMALL_ELEMENTS: i64 = 1024;

/// What dynamic dimensions are to be.
#[derive(Debug, Default)]
pub struct Fixed {
    /// By the name that the graph gives the dimension.
    pub dimensions: BTreeMap<String, i64>,
    /// All dimensions of an input; a named one is fixed wherever it occurs.
    pub shapes: BTreeMap<String, Vec<i64>>,
}

/// Fixes dynamic dimensions of the graph's inputs and wherever else the file names them.
pub fn fix_dimensions(model: &mut ModelProto, fixed: &Fixed) -> Result<()> {
    let Some(graph) = model.graph.as_mut() else { return Ok(()) };
    let mut sizes = BTreeMap::new();
    for (symbol, size) in &fixed.dimensions {
        if !graph.input.iter_mut().flat_map(dims_of).any(|dim| symbol_of(dim) == Some(symbol)) {
            return Err(refusal("dimensions", symbol, &symbols(&mut graph.input)));
        }
        sizes.insert(symbol.clone(), checked("dimensions", symbol, *size)?);
    }
    for (name, shape) in &fixed.shapes {
        let inputs: Vec<String> = graph.input.iter().map(|input| input.name.clone()).collect();
        let Some(input) = graph.input.iter_mut().find(|input| &input.name == name) else {
            return Err(refusal("shapes", name, &format!("one of the inputs {}", inputs.join(", "))));
        };
        fix_input(input, shape, &mut sizes)?;
    }
    let values = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    for dim in values.flat_map(dims_of) {
        if let Some(size) = symbol_of(dim).and_then(|symbol| sizes.get(symbol)) {
            dim.value = Some(Dimension::Size(*size));
        }
    }
    Ok(())
}

fn fix_input(input: &mut ValueInfoProto, shape: &[i64], sizes: &mut BTreeMap<String, i64>) -> Result<()> {
    let name = input.name.clone();
    let dims: Vec<&mut DimensionProto> = dims_of(input).collect();
    if dims.len() != shape.len() {
        let expected = format!("{} dimensions for input {name}", dims.len());
        return Err(refusal("shapes", &format!("{shape:?}"), &expected));
    }
    for (dim, size) in dims.into_iter().zip(shape) {
        let size = checked("shapes", &name, *size)?;
        match &dim.value {
            Some(Dimension::Size(already)) if *already != size => {
                let expected = format!("{already} in this place of input {name}, where the graph fixes it");
                return Err(refusal("shapes", &size.to_string(), &expected));
            }
            Some(Dimension::Symbol(symbol)) if !symbol.is_empty() => {
                let already = *sizes.entry(symbol.clone()).or_insert(size);
                if already != size {
                    let expected = format!("{symbol}={already} everywhere");
                    return Err(refusal("shapes", &format!("{symbol}={size}"), &expected));
                }
            }
            Some(Dimension::Size(_) | Dimension::Symbol(_)) | None => dim.value = Some(Dimension::Size(size)),
        }
    }
    Ok(())
}

fn refusal(argument: &'static str, found: &str, expected: &str) -> Error {
    Error::Argument { argument, found: found.to_owned(), expected: expected.to_owned() }
}

fn checked(argument: &'static str, name: &str, size: i64) -> Result<i64> {
    match size {
        0.. => Ok(size),
        _ => Err(refusal(argument, &format!("{name}={size}"), "a size of at least 0")),
    }
}

/// The names of the inputs' dynamic dimensions, for who named another.
fn symbols(inputs: &mut [ValueInfoProto]) -> String {
    let mut symbols: Vec<&str> =
        inputs.iter_mut().flat_map(dims_of).filter_map(|dim| symbol_of(dim).map(String::as_str)).collect();
    symbols.sort_unstable();
    symbols.dedup();
    match symbols[..] {
        [] => "none, since no dynamic dimension of an input has a name".to_owned(),
        _ => format!("one of {}", symbols.join(", ")),
    }
}

fn symbol_of(dim: &DimensionProto) -> Option<&String> {
    match &dim.value {
        Some(Dimension::Symbol(symbol)) if !symbol.is_empty() => Some(symbol),
        Some(Dimension::Symbol(_) | Dimension::Size(_)) | None => None,
    }
}

fn dims_of(value: &mut ValueInfoProto) -> impl Iterator<Item = &mut DimensionProto> {
    let tensor = value.r#type.iter_mut().filter_map(|kind| kind.tensor_type.as_mut());
    tensor.filter_map(|tensor| tensor.shape.as_mut()).flat_map(|shape| &mut shape.dim)
}

/// Frees the weights of the main graph and returns their names; small constants stay.
pub fn drop_weights(model: &mut ModelProto) -> HashSet<String> {
    let initializers = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    let mut names = HashSet::new();
    for tensor in initializers.filter(|tensor| is_weight(tensor)) {
        let TensorProto { dims, data_type, name, .. } = std::mem::take(tensor);
        names.insert(name.clone());
        *tensor = TensorProto { dims, data_type, name, ..Default::default() };
    }
    names
}

/// A tensor whose elements lie in another file is a weight whatever its size: no other file is read.
fn is_weight(tensor: &TensorProto) -> bool {
    let count = tensor.dims.iter().try_fold(1_i64, |count, size| count.checked_mul(*size));
    tensor.data_location == Some(LOCATION_EXTERNAL) || !count.is_some_and(|count| (0..=SMALL_ELEMENTS).contains(&count))
}

/// The model with those initializers as inputs of their shapes.
pub fn weights_as_inputs(model: &ModelProto, weights: &HashSet<String>) -> ModelProto {
    let mut model = model.clone();
    let Some(graph) = model.graph.as_mut() else { return model };
    let declared: HashSet<String> = graph.input.iter().map(|input| input.name.clone()).collect();
    let (free, small) = std::mem::take(&mut graph.initializer).into_iter().partition(|one| weights.contains(&one.name));
    graph.initializer = small;
    let free: Vec<TensorProto> = free;
    graph.input.extend(free.into_iter().filter(|weight| !declared.contains(&weight.name)).map(as_input));
    model
}

fn as_input(weight: TensorProto) -> ValueInfoProto {
    let dim = weight.dims.iter().map(|size| DimensionProto { value: Some(Dimension::Size(*size)) }).collect();
    let tensor = TensorTypeProto { elem_type: weight.data_type, shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { tensor_type: Some(tensor), ..Default::default() };
    ValueInfoProto { name: weight.name, r#type: Some(kind) }
}

/// Makes an output of every value that a node of the main graph makes, so that a session tells its type.
pub fn everything_as_output(graph: &mut GraphProto) {
    let mut named: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let made = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let missing: Vec<String> = made.filter(|name| named.insert((*name).clone())).cloned().collect();
    graph.output.extend(missing.into_iter().map(|name| ValueInfoProto { name, r#type: None }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, dims: &[i64]) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: 1,
            raw_data: Some(vec![1, 2, 3, 4]),
            ..Default::default()
        }
    }

    #[test]
    fn weights_become_inputs_and_small_constants_stay() {
        let external = TensorProto { data_location: Some(LOCATION_EXTERNAL), ..tensor("external", &[1]) };
        let declared = as_input(tensor("declared", &[2000]));
        let initializer = vec![
            tensor("small", &[1024]),
            tensor("large", &[1025]),
            external,
            tensor("hostile", &[i64::MAX, 2]),
            tensor("negative", &[-5]),
            tensor("declared", &[2000]),
        ];
        let graph = GraphProto { initializer, input: vec![declared], ..Default::default() };
        let mut model = ModelProto { graph: Some(graph), ..Default::default() };
        let weights = drop_weights(&mut model);
        let kept = model.graph.as_ref().unwrap().initializer.iter().filter(|one| one.raw_data.is_some());
        assert_eq!(kept.map(|one| one.name.as_str()).collect::<Vec<_>>(), ["small"]);
        let lean = weights_as_inputs(&model, &weights).graph.unwrap();
        assert_eq!(lean.initializer.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["small"]);
        let inputs: Vec<_> = lean.input.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(inputs, ["declared", "large", "external", "hostile", "negative"]);
        // The original still knows all of them as initializers.
        assert_eq!(model.graph.unwrap().initializer.len(), 6);
    }
}
