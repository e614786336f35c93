//! A node and the graph's values in, what the rules ask of it out: an input's type, shape, numbers; an attribute.

use super::values::{Dim, Values};
use crate::lowering::onnx::proto::{AttributeProto, NodeProto};

/// A node with what is known of its inputs.
pub struct Operands<'g> {
    /// The node.
    pub node: &'g NodeProto,
    /// Every value of the graph.
    pub values: &'g Values,
}

impl<'g> Operands<'g> {
    /// The indices of the inputs that are not left out.
    pub fn present_inputs(&self) -> impl Iterator<Item = usize> {
        self.node.input.iter().enumerate().filter(|(_, name)| !name.is_empty()).map(|(index, _)| index)
    }

    /// How many outputs are not left out.
    pub fn output_count(&self) -> usize {
        self.node.output.iter().filter(|name| !name.is_empty()).count()
    }

    fn input(&self, index: usize) -> Option<&'g str> {
        self.node.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// An input's element type.
    pub fn element(&self, index: usize) -> Option<i32> {
        Some(self.values.tensor(self.input(index)?)?.element)
    }

    /// An input's shape.
    pub fn shape(&self, index: usize) -> Option<&'g [Dim]> {
        self.values.tensor(self.input(index)?)?.shape.as_deref()
    }

    /// An input's rank.
    pub fn rank(&self, index: usize) -> Option<usize> {
        self.shape(index).map(<[Dim]>::len)
    }

    /// Whether an input is left out.
    pub fn is_absent(&self, index: usize) -> bool {
        self.input(index).is_none()
    }

    /// Whether an input is a constant.
    pub fn is_constant(&self, index: usize) -> bool {
        self.input(index).is_some_and(|name| self.values.is_constant(name))
    }

    /// An input's numbers, where it is a small constant of int64.
    pub fn integers(&self, index: usize) -> Option<&'g [i64]> {
        self.values.integers(self.input(index)?)
    }

    fn attribute(&self, name: &str) -> Option<&'g AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.i
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name)?.f
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Option<&'g [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// A text attribute.
    pub fn text(&self, name: &str) -> Option<String> {
        self.attribute(name)?.s.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}
