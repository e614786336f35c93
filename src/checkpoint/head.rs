//! The folders of sentence-transformers' modules after the pooling in, what runs them out: one line for each kind. Refused:
//! a field or an activation that ironvec does not do, tensors that do not fit the config.

use std::path::Path;
use std::sync::Arc;

use ndarray::{Array1, Array2};

use super::json::{JsonFile, MAX_WIDTH};
use super::tensors::TensorReader;
use super::weights::Weights;
use crate::batches::head::{Activation, Dense, HeadModule, LayerNorm, Normalize, Residual};
use crate::error::{Error, Result};

type Reader = fn(&Path) -> Result<Arc<dyn HeadModule>>;

/// The class's name to what reads its folder.
const KINDS: [(&str, Reader); 3] = [("Dense", dense), ("LayerNorm", layer_norm), ("Normalize", normalize)];

/// What reads the modules of a class.
pub fn reader(class: &str) -> Option<Reader> {
    KINDS.iter().find(|(known, _)| *known == class).map(|(_, reader)| *reader)
}

/// Newer releases let modules work on another tensor than the sentence's.
fn check_names(config: &JsonFile) -> Result<()> {
    for field in ["module_input_name", "module_output_name"] {
        if !["", "sentence_embedding"].contains(&config.text_or(field, "sentence_embedding")?) {
            return Err(config.unsupported(field, "\"sentence_embedding\""));
        }
    }
    Ok(())
}

/// Refuses a Normalize that works on something else.
pub fn check_normalize(folder: &Path) -> Result<()> {
    match JsonFile::read_optional(&folder.join("config.json"))? {
        Some(config) => check_names(&config),
        None => Ok(()),
    }
}

fn normalize(folder: &Path) -> Result<Arc<dyn HeadModule>> {
    check_normalize(folder)?;
    Ok(Arc::new(Normalize))
}

fn dense(folder: &Path) -> Result<Arc<dyn HeadModule>> {
    let config = JsonFile::read(&folder.join("config.json"), "modules.json names a Dense module")?;
    check_names(&config)?;
    let inputs = config.integer("in_features", 1..=MAX_WIDTH)?;
    let outputs = config.integer("out_features", 1..=MAX_WIDTH)?;
    let biased = config.flag_or("bias", true)?;
    let activation = match config.text_or("activation_function", "torch.nn.modules.activation.Tanh")? {
        "torch.nn.modules.activation.Tanh" => Activation::Tanh,
        "torch.nn.modules.linear.Identity" => Activation::Identity,
        "torch.nn.modules.activation.ReLU" => Activation::Relu,
        "torch.nn.modules.activation.Sigmoid" => Activation::Sigmoid,
        _ => {
            let supported = "torch's Tanh, Identity, ReLU or Sigmoid, by its full name";
            return Err(config.unsupported("activation_function", supported));
        }
    };
    let adds_input = config.flag_or("use_residual", false)?;
    let weights = Weights::open(folder)?;
    let mut tensors = TensorReader::new(&weights);
    let weight = matrix(&mut tensors, "linear.weight", [outputs, inputs])?;
    let bias = if biased { Some(Array1::from_vec(vector(&mut tensors, "linear.bias", outputs)?)) } else { None };
    let residual = match (adds_input, weights.contains("residual.weight")) {
        (false, _) => Residual::None,
        (true, true) => Residual::Projected(matrix(&mut tensors, "residual.weight", [outputs, inputs])?),
        (true, false) if inputs == outputs => Residual::Input,
        (true, false) => {
            let supported = format!("false: {inputs} components cannot be added to {outputs} without residual.weight");
            return Err(config.unsupported("use_residual", supported));
        }
    };
    Ok(Arc::new(Dense { weight, bias, activation, residual }))
}

fn layer_norm(folder: &Path) -> Result<Arc<dyn HeadModule>> {
    let config = JsonFile::read(&folder.join("config.json"), "modules.json names a LayerNorm module")?;
    check_names(&config)?;
    let size = config.integer("dimension", 1..=MAX_WIDTH)?;
    let weights = Weights::open(folder)?;
    let mut tensors = TensorReader::new(&weights);
    let weight = vector(&mut tensors, "norm.weight", size)?;
    Ok(Arc::new(LayerNorm { weight, bias: vector(&mut tensors, "norm.bias", size)? }))
}

fn vector(tensors: &mut TensorReader<'_>, name: &str, size: usize) -> Result<Vec<f32>> {
    Ok(tensors.tensor(name, &[size])?.rows(0..size))
}

fn matrix(tensors: &mut TensorReader<'_>, name: &str, shape: [usize; 2]) -> Result<Array2<f32>> {
    let values = tensors.tensor(name, &shape)?.rows(0..shape[0]);
    Array2::from_shape_vec(shape, values).map_err(|error| Error::Graph { problem: format!("{name}: {error}") })
}
