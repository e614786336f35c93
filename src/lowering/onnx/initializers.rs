//! The constants of a graph: tensors of the checkpoint, which become external data that points into its own files, and
//! the few numbers that the graph itself brings.

use std::ops::Range;

use safetensors::tensor::Dtype;

use super::builder::{GraphBuilder, Value, dims, external_data};
use super::model::RoundedWeight;
use super::proto::{AttributeProto, ElementType, LOCATION_EXTERNAL, StringStringEntryProto, TensorProto};
use crate::error::Result;
use crate::transformer::{Matrix, Vector};

impl GraphBuilder<'_> {
    /// A matrix of the checkpoint as float32; 16-bit ones go through a Cast that the runtime folds at load.
    pub fn matrix(&mut self, matrix: &Matrix) -> Result<Value> {
        let stored = self.stored_matrix(matrix)?;
        self.widened(matrix.name(), stored)
    }

    /// A vector of the checkpoint as float32.
    pub fn vector(&mut self, vector: &Vector) -> Result<Value> {
        let stored = self.stored(&vector.name(), &vector.tensor, &[vector.tensor_size], &vector.range)?;
        self.widened(vector.name(), stored)
    }

    /// A matrix of the checkpoint in its own type, which stays mapped: for tables that are read by row.
    pub fn table(&mut self, matrix: &Matrix) -> Result<Value> {
        Ok(self.stored_matrix(matrix)?.0)
    }

    fn stored_matrix(&mut self, matrix: &Matrix) -> Result<(Value, ElementType)> {
        self.stored(&matrix.name(), &matrix.tensor, &[matrix.tensor_rows, matrix.inputs], &matrix.rows)
    }

    fn widened(&mut self, name: String, (value, element): (Value, ElementType)) -> Result<Value> {
        match element {
            ElementType::Float32 => return Ok(value),
            ElementType::Float16 | ElementType::BFloat16 | ElementType::Int32 | ElementType::Int64 => {}
        }
        let name = format!("{name}.float32");
        if let Some(known) = self.named(&name) {
            return Ok(known);
        }
        self.op(&name, "Cast", &[&value], &[AttributeProto::int("to", ElementType::Float32 as i64)])
    }

    /// A range of a tensor's rows, pointing into the checkpoint's file; the same value wherever it is asked for.
    fn stored(
        &mut self,
        name: &str,
        tensor: &str,
        shape: &[usize],
        rows: &Range<usize>,
    ) -> Result<(Value, ElementType)> {
        let place = self.weights.tensor(tensor, shape)?;
        let element = match place.dtype {
            Dtype::F16 => ElementType::Float16,
            Dtype::BF16 => ElementType::BFloat16,
            _ => ElementType::Float32,
        };
        if let Some(known) = self.named(name) {
            return Ok((known, element));
        }
        let row_bytes = place.length / (shape[0] as u64).max(1);
        let proto = TensorProto {
            dims: dims(&[&[rows.len()], &shape[1..]].concat()),
            data_type: element as i32,
            name: name.to_owned(),
            external_data: external_data(
                &self.weights.location(place)?,
                place.offset + rows.start as u64 * row_bytes,
                rows.len() as u64 * row_bytes,
            ),
            data_location: Some(LOCATION_EXTERNAL),
            ..Default::default()
        };
        Ok((self.tensor(proto)?, element))
    }

    /// An initializer as it is given.
    pub fn tensor(&mut self, proto: TensorProto) -> Result<Value> {
        let value = self.claim(&proto.name)?;
        self.graph.initializer.push(proto);
        Ok(value)
    }

    /// A matrix of the checkpoint that the session holds quantized: its place in [`Model::quantized`](super::model::Model::quantized).
    pub fn quantized_matrix(&mut self, matrix: &Matrix) -> Result<i64> {
        self.weights.tensor(&matrix.tensor, &[matrix.tensor_rows, matrix.inputs])?;
        let place = self.quantized.iter().position(|known| known == matrix).unwrap_or(self.quantized.len());
        if place == self.quantized.len() {
            self.quantized.push(matrix.clone());
        }
        Ok(place as i64)
    }

    /// A matrix of the checkpoint in bfloat16, (outputs, inputs): where it lies, or made of wider numbers when the session is
    /// ([`Model::rounded`](super::model::Model::rounded)).
    pub fn rounded_weight(&mut self, matrix: &Matrix) -> Result<Value> {
        let place = self.weights.tensor(&matrix.tensor, &[matrix.tensor_rows, matrix.inputs])?;
        if place.dtype == Dtype::BF16 {
            return self.table(matrix);
        }
        let name = format!("{}.bfloat16", matrix.name());
        if let Some(known) = self.named(&name) {
            return Ok(known);
        }
        let value = self.claim(&name)?;
        self.given(&value, ElementType::BFloat16, &[matrix.outputs(), matrix.inputs]);
        self.rounded.push(RoundedWeight { matrix: matrix.clone(), name });
        Ok(value)
    }

    /// Makes a value an initializer that the session is given.
    fn given(&mut self, value: &Value, element: ElementType, shape: &[usize]) {
        let location = StringStringEntryProto { key: "location".to_owned(), value: "given to the session".to_owned() };
        self.graph.initializer.push(TensorProto {
            dims: dims(shape),
            data_type: element as i32,
            name: value.name().to_owned(),
            external_data: vec![location],
            data_location: Some(LOCATION_EXTERNAL),
            ..Default::default()
        });
    }

    /// A constant of one number, the same value wherever its name is asked for.
    pub fn scalar(&mut self, name: &str, element: ElementType, bytes: &[u8]) -> Result<Value> {
        if let Some(value) = self.named(name) {
            return Ok(value);
        }
        let value = self.claim(name)?;
        self.graph.initializer.push(TensorProto {
            data_type: element as i32,
            name: name.to_owned(),
            raw_data: Some(bytes.to_vec()),
            ..Default::default()
        });
        Ok(value)
    }

    /// A constant list of equal numbers, the same value wherever its name is asked for.
    pub fn filled(&mut self, name: &str, size: usize, number: f32) -> Result<Value> {
        if let Some(value) = self.named(name) {
            return Ok(value);
        }
        self.tensor(TensorProto {
            dims: dims(&[size]),
            data_type: ElementType::Float32 as i32,
            name: name.to_owned(),
            raw_data: Some(number.to_le_bytes().repeat(size)),
            ..Default::default()
        })
    }

    /// A constant list of integers (axes, sizes); equal lists are one initializer.
    pub fn sizes(&mut self, values: &[i64]) -> Result<Value> {
        let name = format!("sizes.{}", values.iter().map(i64::to_string).collect::<Vec<_>>().join("x"));
        self.named(&name).map_or_else(|| self.integers(&name, values), Ok)
    }

    /// A constant list of integers.
    pub fn integers(&mut self, name: &str, values: &[i64]) -> Result<Value> {
        let value = self.claim(name)?;
        self.graph.initializer.push(TensorProto {
            dims: dims(&[values.len()]),
            data_type: ElementType::Int64 as i32,
            name: name.to_owned(),
            raw_data: Some(values.iter().flat_map(|number| number.to_le_bytes()).collect()),
            ..Default::default()
        });
        Ok(value)
    }
}
