//! Operators that the CoreML provider takes, over values of fixed shape: a [`GraphBuilder`] that knows B, L and the float
//! type, keeps constants, and collects the weights that are to be folded.

use std::collections::HashMap;

use super::{Draft, StaticShape};
use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};
use crate::lowering::onnx::builder::{GraphBuilder, Operators, Size, Value, dims, external_data};
use crate::lowering::onnx::folding::{FloatType, Folded, Part, encode};
use crate::lowering::onnx::proto::{AttributeProto, ElementType, LOCATION_EXTERNAL, TensorProto};
use crate::options::Arithmetic;
use crate::transformer::{Linear, Norm, NormKind, Vector};

/// What is added to a score or a component that must not be seen. Not -inf, which float16 arithmetic and the provider's
/// kernels turn into NaN; exp of it is 0 all the same.
pub const HIDDEN: f32 = -1e4;

/// A graph of fixed shapes under construction.
pub struct StaticGraph<'w> {
    builder: GraphBuilder<'w>,
    weights: &'w Weights,
    shape: StaticShape,
    folded: Vec<Folded>,
    integers: HashMap<Vec<i64>, Value>,
}

impl<'w> StaticGraph<'w> {
    /// An empty graph.
    pub fn new(weights: &'w Weights, shape: StaticShape) -> Self {
        let builder = GraphBuilder::new("ironvec", weights, Arithmetic::Float32, Operators::Usual);
        StaticGraph { builder, weights, shape, folded: Vec::new(), integers: HashMap::new() }
    }

    /// B.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// L.
    pub fn length(&self) -> usize {
        self.shape.length
    }

    /// A graph input of the graph's float type.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<Value> {
        let shape: Vec<Size> = shape.iter().map(|size| Size::Fixed(*size)).collect();
        self.builder.input(name, self.shape.element.element(), &shape)
    }

    /// Makes a value a graph output.
    pub fn output(&mut self, value: &Value, shape: &[usize]) {
        let shape: Vec<Size> = shape.iter().map(|size| Size::Fixed(*size)).collect();
        self.builder.output(value, self.shape.element.element(), &shape);
    }

    /// An initializer made of the checkpoint's tensors, one after the other.
    pub fn folded(&mut self, name: &str, shape: &[usize], parts: Vec<Part>) -> Result<Value> {
        for part in &parts {
            self.weights.tensor(&part.tensor, &part.shape)?;
            if let Some((scale, _)) = &part.column_scale {
                self.weights.tensor(&scale.tensor, &[scale.tensor_size])?;
            }
        }
        let end = self.folded.last().map_or(0, |last| last.offset + last.length);
        let folded = Folded::after(end, self.shape.element, parts);
        let value = self.builder.tensor(TensorProto {
            dims: dims(shape),
            data_type: self.shape.element.element() as i32,
            name: name.to_owned(),
            external_data: external_data(super::DATA_FILE, folded.offset, folded.length),
            data_location: Some(LOCATION_EXTERNAL),
            ..Default::default()
        })?;
        self.folded.push(folded);
        Ok(value)
    }

    /// A vector of the checkpoint, in the graph's float type.
    pub fn vector(&mut self, vector: &Vector) -> Result<Value> {
        self.folded(&vector.name(), &[vector.size()], vec![Part::vector(vector)])
    }

    /// `x · Wᵀ + b`, where a norm came before whose weight multiplies the columns of W.
    pub fn linear(&mut self, name: &str, x: &Value, linear: &Linear, norm: Option<&Norm>) -> Result<Value> {
        let Linear { weight, bias } = linear;
        let column_scale = norm.and_then(|norm| norm.weight.clone().map(|weight| (weight, norm.weight_offset)));
        let part = Part { column_scale, ..Part::matrix(weight) };
        let shape = [weight.outputs(), weight.inputs];
        let weight = self.folded(&weight.name(), &shape, vec![part])?;
        let bias = bias.as_ref().map(|bias| self.vector(bias)).transpose()?;
        self.gemm(name, x, &weight, bias.as_ref())
    }

    /// A constant that depends on no weight.
    pub fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<Value> {
        self.builder.tensor(TensorProto {
            dims: dims(shape),
            data_type: self.shape.element.element() as i32,
            name: name.to_owned(),
            raw_data: Some(encode(values, self.shape.element)),
            ..Default::default()
        })
    }

    /// A constant of whole numbers.
    pub fn indices(&mut self, name: &str, shape: &[usize], values: &[i64]) -> Result<Value> {
        self.builder.tensor(TensorProto {
            dims: dims(shape),
            data_type: ElementType::Int64 as i32,
            name: name.to_owned(),
            raw_data: Some(values.iter().flat_map(|number| number.to_le_bytes()).collect()),
            ..Default::default()
        })
    }

    /// A constant list of integers; equal lists are one initializer.
    fn integers(&mut self, values: &[i64]) -> Result<Value> {
        if let Some(known) = self.integers.get(values) {
            return Ok(known.clone());
        }
        let name = values.iter().map(i64::to_string).collect::<Vec<_>>().join("x");
        let value = self.builder.integers(&format!("integers.{name}"), values)?;
        self.integers.insert(values.to_vec(), value.clone());
        Ok(value)
    }

    /// A node without attributes.
    pub fn op(&mut self, name: &str, op_type: &str, inputs: &[&Value]) -> Result<Value> {
        self.builder.op(name, op_type, inputs, &[])
    }

    /// A node with attributes.
    pub fn op_with(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&Value],
        attribute: AttributeProto,
    ) -> Result<Value> {
        self.builder.op(name, op_type, inputs, &[attribute])
    }

    /// `x · Wᵀ (+ bias)` of 2-D values. With `transB`, the weight goes into CoreML's weight file; without, the provider
    /// writes it into the model's text.
    pub fn gemm(&mut self, name: &str, x: &Value, weight: &Value, bias: Option<&Value>) -> Result<Value> {
        let inputs: Vec<&Value> = [x, weight].into_iter().chain(bias).collect();
        self.op_with(name, "Gemm", &inputs, AttributeProto::int("transB", 1))
    }

    /// The same numbers in another shape.
    pub fn reshape(&mut self, name: &str, x: &Value, shape: &[usize]) -> Result<Value> {
        let shape = self.integers(&dims(shape))?;
        self.op(name, "Reshape", &[x, &shape])
    }

    /// The axes in another order.
    pub fn transpose(&mut self, name: &str, x: &Value, order: &[i64]) -> Result<Value> {
        self.op_with(name, "Transpose", &[x], AttributeProto::ints("perm", order))
    }

    /// Cuts a value along an axis into as many values as there are sizes, two at least.
    pub fn split<const N: usize>(
        &mut self,
        name: &str,
        x: &Value,
        axis: usize,
        sizes: [usize; N],
    ) -> Result<[Value; N]> {
        let sizes = self.integers(&dims(&sizes))?;
        let first = self.op_with(name, "Split", &[x, &sizes], AttributeProto::int("axis", axis as i64))?;
        let mut values = std::array::from_fn(|_| first.clone());
        for (index, value) in values.iter_mut().enumerate().skip(1) {
            *value = self.builder.further_output(&first, &index.to_string())?;
        }
        Ok(values)
    }

    /// Values one after the other along an axis.
    pub fn concat(&mut self, name: &str, parts: &[&Value], axis: usize) -> Result<Value> {
        self.op_with(name, "Concat", parts, AttributeProto::int("axis", axis as i64))
    }

    /// A reduction of one axis, which stays with size 1.
    pub fn reduce(&mut self, name: &str, op_type: &str, x: &Value, axis: usize) -> Result<Value> {
        let axes = self.integers(&[axis as i64])?;
        self.op_with(name, op_type, &[x, &axes], AttributeProto::int("keepdims", 1))
    }

    /// Attention weights over the last axis of scores of rank 4, applied to values.
    pub fn attend(&mut self, layer: &str, [query, key, value]: [&Value; 3], bias: &Value) -> Result<Value> {
        let scores = self.op(&format!("{layer}.scores"), "MatMul", &[query, key])?;
        let visible = self.op(&format!("{layer}.scores.visible"), "Add", &[&scores, bias])?;
        let last = AttributeProto::int("axis", -1);
        let weights = self.op_with(&format!("{layer}.attention"), "Softmax", &[&visible], last)?;
        self.op(&format!("{layer}.context"), "MatMul", &[&weights, value])
    }

    /// A whole norm over the last axis of a 2-D value.
    pub fn norm(&mut self, name: &str, x: &Value, norm: &Norm) -> Result<Value> {
        match (norm.kind, &norm.weight) {
            (NormKind::Layer, Some(weight)) => {
                let scale = self.vector(weight)?;
                let shift = match &norm.bias {
                    Some(bias) => self.vector(bias)?,
                    None => self.constant(&format!("{name}.no_shift"), &[weight.size()], &vec![0.0; weight.size()])?,
                };
                // The provider would take axis 1 if it were not said.
                let attributes = [AttributeProto::int("axis", -1), AttributeProto::float("epsilon", norm.epsilon)];
                self.builder.op(name, "LayerNormalization", &[x, &scale, &shift], &attributes)
            }
            (NormKind::RootMeanSquare, Some(weight)) => {
                let bare = self.rms_norm(&format!("{name}.bare"), x, 1, norm.epsilon)?;
                let part = Part { offset: norm.weight_offset, ..Part::vector(weight) };
                let gamma = self.folded(&weight.name(), &[weight.size()], vec![part])?;
                self.op(name, "Mul", &[&bare, &gamma])
            }
            (_, None) => Err(Error::Graph { problem: format!("the norm {name} has no weight") }),
        }
    }

    /// A norm whose weight may be left to the products that follow: the value, and the norm that is still owed.
    pub fn norm_before<'n>(
        &mut self,
        name: &str,
        x: &Value,
        norm: Option<&'n Norm>,
    ) -> Result<(Value, Option<&'n Norm>)> {
        match norm {
            None => Ok((x.clone(), None)),
            Some(norm) if norm.only_scales() => Ok((self.rms_norm(name, x, 1, norm.epsilon)?, Some(norm))),
            Some(norm) => Ok((self.norm(name, x, norm)?, None)),
        }
    }

    /// `x / √(mean(x²) + ε)` over an axis, without a scale. In float16 x² would overflow from 256 on, so there x is
    /// divided by its largest magnitude m (or √ε, whichever is more) first: with y = x/m, y / √(mean(y²) + (√ε/m)²).
    pub fn rms_norm(&mut self, name: &str, x: &Value, axis: usize, epsilon: f32) -> Result<Value> {
        let part = |step: &str| format!("{name}.{step}");
        let (x, epsilon) = match self.shape.element {
            FloatType::Float32 => (x.clone(), self.scalar(&format!("rms.epsilon.{epsilon:e}"), epsilon)?),
            FloatType::Float16 => {
                let root = self.scalar(&format!("rms.sqrt_epsilon.{epsilon:e}"), epsilon.sqrt())?;
                let minus_one = self.scalar("rms.minus_one", -1.0)?;
                let highest = self.reduce(&part("highest"), "ReduceMax", x, axis)?;
                let lowest = self.reduce(&part("lowest"), "ReduceMin", x, axis)?;
                let opposite = self.op(&part("opposite"), "Mul", &[&lowest, &minus_one])?;
                let magnitude = self.op(&part("magnitude"), "Max", &[&highest, &opposite])?;
                let guarded = self.op(&part("guarded"), "Max", &[&magnitude, &root])?;
                let share = self.op(&part("root_share"), "Div", &[&root, &guarded])?;
                let scaled = self.op(&part("scaled"), "Div", &[x, &guarded])?;
                (scaled, self.op(&part("epsilon"), "Mul", &[&share, &share])?)
            }
        };
        let squares = self.op(&part("squares"), "Mul", &[&x, &x])?;
        let mean = self.reduce(&part("mean"), "ReduceMean", &squares, axis)?;
        let sum = self.op(&part("variance"), "Add", &[&mean, &epsilon])?;
        let root = self.op(&part("root"), "Sqrt", &[&sum])?;
        self.op(name, "Div", &[&x, &root])
    }

    /// A constant of one number, shared by name.
    fn scalar(&mut self, name: &str, value: f32) -> Result<Value> {
        match self.builder.named(name) {
            Some(known) => Ok(known),
            None => self.constant(name, &[1], &[value]),
        }
    }

    /// The graph and what is to be written beside it.
    pub fn finish(self) -> Draft {
        Draft { model: self.builder.finish().proto, folded: self.folded }
    }
}
