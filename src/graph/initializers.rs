//! The constants of a graph: tensors of the checkpoint, which become external data that points into its own files, and
//! the few numbers that the graph itself brings.

use safetensors::tensor::Dtype;

use super::builder::{GraphBuilder, Value, dims, external_data};
use super::model::QuantizedWeight;
use super::proto::{AttributeProto, ElementType, LOCATION_EXTERNAL, StringStringEntryProto, TensorProto};
use crate::error::Result;
use crate::quantize::Matrix;

impl GraphBuilder<'_> {
    /// Whether the checkpoint has a tensor of this name.
    pub fn has_weight(&self, tensor: &str) -> bool {
        self.weights.contains(tensor)
    }

    /// A tensor of the checkpoint as float32; 16-bit tensors go through a Cast that the runtime folds at load.
    pub fn weight(&mut self, tensor: &str, shape: &[usize]) -> Result<Value> {
        let (value, element) = self.initializer(tensor, shape)?;
        match element {
            ElementType::Float32 => Ok(value),
            ElementType::Float16
            | ElementType::BFloat16
            | ElementType::Uint8
            | ElementType::Int8
            | ElementType::Int32
            | ElementType::Int64 => {
                let to_float32 = AttributeProto::int("to", ElementType::Float32 as i64);
                self.op(&format!("{tensor}.float32"), "Cast", &[&value], &[to_float32])
            }
        }
    }

    /// A tensor of the checkpoint in its own type, which stays mapped: for tables that are read by row.
    pub fn table(&mut self, tensor: &str, shape: &[usize]) -> Result<Value> {
        Ok(self.initializer(tensor, shape)?.0)
    }

    fn initializer(&mut self, tensor: &str, shape: &[usize]) -> Result<(Value, ElementType)> {
        let place = self.weights.tensor(tensor, shape)?;
        let element = match place.dtype {
            Dtype::F16 => ElementType::Float16,
            Dtype::BF16 => ElementType::BFloat16,
            _ => ElementType::Float32,
        };
        let proto = TensorProto {
            dims: dims(shape),
            data_type: element as i32,
            name: tensor.to_owned(),
            external_data: external_data(&self.weights.location(place)?, place.offset, place.length),
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

    /// A matrix of the checkpoint in int8, (inputs, outputs), and the scale of each output. Their numbers are made when
    /// the session is: see [`Model::quantized`].
    pub fn quantized_weight(&mut self, tensor: &str, [outputs, inputs]: [usize; 2]) -> Result<[Value; 2]> {
        self.weights.tensor(tensor, &[outputs, inputs])?;
        let matrix = Matrix { tensor: tensor.to_owned(), outputs, inputs };
        let values = self.claim(&format!("{tensor}.int8"))?;
        let scales = self.claim(&format!("{tensor}.scales"))?;
        for (value, element, shape) in
            [(&values, ElementType::Int8, &[inputs, outputs][..]), (&scales, ElementType::Float32, &[outputs])]
        {
            let location =
                StringStringEntryProto { key: "location".to_owned(), value: "given to the session".to_owned() };
            self.graph.initializer.push(TensorProto {
                dims: dims(shape),
                data_type: element as i32,
                name: value.name().to_owned(),
                external_data: vec![location],
                data_location: Some(LOCATION_EXTERNAL),
                ..Default::default()
            });
        }
        self.quantized.push(QuantizedWeight {
            matrix,
            values_name: values.name().to_owned(),
            scales_name: scales.name().to_owned(),
        });
        Ok([values, scales])
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

    /// A constant list of integers (axes, sizes).
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
