//! A batch in, what an ONNX file's inputs are filled with out. Inputs are known by their names and types. Refused: an input
//! of another name, type or shape, and positions that count from an unknown place.

use std::path::Path;

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use crate::batches::plan::PaddedBatch;
use crate::checkpoint::onnx_file::{OnnxFile, Positions};
use crate::error::{Error, Result};
use crate::sessions::arguments::Arguments;

/// The inputs of an export's graph.
pub struct Inputs {
    list: Vec<Input>,
    positions: Positions,
}

struct Input {
    name: String,
    role: Role,
    element: TensorElementType,
}

/// What an input is filled with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    InputIds,
    AttentionMask,
    PositionIds,
    TokenTypeIds,
    /// Keys or values of earlier tokens: none. Heads and D.
    Past(usize, usize),
}

impl Role {
    fn is_past(self) -> bool {
        match self {
            Role::Past(..) => true,
            Role::InputIds | Role::AttentionMask | Role::PositionIds | Role::TokenTypeIds => false,
        }
    }
}

impl Inputs {
    /// Reads what a graph asks for.
    pub fn read(file: &OnnxFile, outlets: &[Outlet]) -> Result<Self> {
        let list = outlets.iter().map(|input| read_input(&file.path, input)).collect::<Result<Vec<_>>>()?;
        let mut inputs = Inputs { list, positions: Positions::From(0) };
        if !inputs.has(Role::InputIds) {
            return Err(Error::unsupported(&file.path, "inputs", described(outlets), "input_ids among them"));
        }
        match file.positions {
            Some(positions) => inputs.positions = positions,
            // A decoder's are rotations, from 0; of other families only config.json tells.
            None if inputs.has(Role::PositionIds) && !inputs.take_cache() => {
                let found = "of unknown meaning: no config.json tells where the family's positions begin";
                let supported = "a config.json with model_type in the model's folder";
                return Err(Error::unsupported(&file.path, "input `position_ids`", found, supported));
            }
            None => {}
        }
        Ok(inputs)
    }

    fn has(&self, role: Role) -> bool {
        self.list.iter().any(|input| input.role == role)
    }

    /// Whether they tell which tokens are padding.
    pub fn tell_padding(&self) -> bool {
        self.has(Role::AttentionMask)
    }

    /// Whether they take keys and values of earlier tokens, as decoders' do.
    pub fn take_cache(&self) -> bool {
        self.list.iter().any(|input| input.role.is_past())
    }

    /// All of them, filled for a batch.
    pub fn arguments(&self, batch: &PaddedBatch) -> Result<Arguments<'static>, ort::Error> {
        self.list.iter().map(|input| Ok((input.name.clone(), fill(input, batch, self.positions)?))).collect()
    }
}

/// Inputs or outputs with their types, for a message.
pub fn described(outlets: &[Outlet]) -> String {
    let described: Vec<String> =
        outlets.iter().map(|outlet| format!("{}: {}", outlet.name(), outlet.dtype())).collect();
    described.join("; ")
}

fn read_input(path: &Path, input: &Outlet) -> Result<Input> {
    use TensorElementType::{Float16, Float32, Int32, Int64};
    let name = input.name();
    let refusal =
        |supported: &str| Error::unsupported(path, format!("input `{name}`"), input.dtype().to_string(), supported);
    let ValueType::Tensor { ty, shape, .. } = input.dtype() else { return Err(refusal("tensors")) };
    let role = match name {
        "input_ids" => Role::InputIds,
        "attention_mask" => Role::AttentionMask,
        "position_ids" => Role::PositionIds,
        "token_type_ids" => Role::TokenTypeIds,
        _ if name.starts_with("past") => match shape[..] {
            [_, heads, _, width] if heads > 0 && width > 0 && matches!(ty, Float32 | Float16) => {
                Role::Past(heads as usize, width as usize)
            }
            _ => return Err(refusal("a float cache of shape (batch, heads, past, head size), heads and size known")),
        },
        _ => {
            return Err(refusal("input_ids, attention_mask, position_ids, token_type_ids and past_key_values.*"));
        }
    };
    if !role.is_past() {
        if !matches!(ty, Int64 | Int32) {
            return Err(refusal("int64 or int32"));
        }
        if shape.len() != 2 || shape.iter().any(|size| *size >= 0) {
            return Err(refusal("two dynamic dimensions, batch and sequence"));
        }
    }
    Ok(Input { name: name.to_owned(), role, element: *ty })
}

fn fill(input: &Input, batch: &PaddedBatch, positions: Positions) -> Result<SessionInputValue<'static>, ort::Error> {
    let shape = [batch.rows, batch.length];
    let integers = |values: Vec<i32>| -> Result<SessionInputValue<'static>, ort::Error> {
        Ok(match input.element {
            TensorElementType::Int32 => Tensor::from_array((shape, values))?.into(),
            _ => Tensor::from_array((shape, values.into_iter().map(i64::from).collect::<Vec<_>>()))?.into(),
        })
    };
    match input.role {
        Role::InputIds => integers(batch.input_ids.clone()),
        Role::AttentionMask => integers(batch.attention_mask.clone()),
        Role::PositionIds => integers(position_ids(positions, batch)),
        Role::TokenTypeIds => integers(vec![0; batch.rows * batch.length]),
        Role::Past(heads, width) => {
            let shape = [batch.rows, heads, 0, width];
            Ok(match input.element {
                TensorElementType::Float16 => Tensor::from_array((shape, Vec::<f16>::new()))?.into(),
                _ => Tensor::from_array((shape, Vec::<f32>::new()))?.into(),
            })
        }
    }
}

/// (B, L): the position of every token.
fn position_ids(positions: Positions, batch: &PaddedBatch) -> Vec<i32> {
    let mut ids = Vec::with_capacity(batch.rows * batch.length);
    for (row, tokens) in batch.input_ids.chunks_exact(batch.length.max(1)).zip(&batch.lengths) {
        match positions {
            // Rows are padded on the right, so a token's place among the positions is its index.
            Positions::From(first) => ids.extend((first..first + row.len()).map(|position| position as i32)),
            Positions::AfterPadding(padding) => {
                let padding = padding as i32;
                let mut last = padding;
                ids.extend(row.iter().enumerate().map(|(index, id)| {
                    if index >= *tokens || *id == padding {
                        return padding;
                    }
                    last += 1;
                    last
                }));
            }
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_as_the_family_does() {
        let batch = PaddedBatch {
            rows: 2,
            length: 4,
            lengths: vec![4, 2],
            input_ids: vec![5, 1, 6, 7, 5, 6, 0, 0],
            attention_mask: vec![1, 1, 1, 1, 1, 1, 0, 0],
            frees_memory: false,
        };
        assert_eq!(position_ids(Positions::From(0), &batch), [0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!(position_ids(Positions::From(2), &batch), [2, 3, 4, 5, 2, 3, 4, 5]);
        assert_eq!(position_ids(Positions::AfterPadding(1), &batch), [2, 1, 3, 4, 2, 3, 1, 1]);
    }
}
