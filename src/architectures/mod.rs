//! A config.json and the names of a checkpoint's tensors in, a [`Transformer`] out: one file for each family, and one
//! table. Refused: a field that changes what is computed in a way that is not described, and any field that nobody here
//! knows to be harmless.

mod bert;
mod distilbert;
mod embedding_gemma2;
mod encoder;
mod fields;
mod gemma3;
mod gte;
mod llama;
mod modernbert;
mod mpnet;
mod names;
mod nomic;
mod rope;

use crate::checkpoint::json::JsonFile;
use crate::checkpoint::weights::Weights;
use crate::error::Result;
use crate::transformer::Transformer;
use names::Names;

type Reader = fn(&JsonFile, &Names<'_>) -> Result<Transformer>;

/// `model_type` to what reads it.
const FAMILIES: [(&str, Reader); 18] = [
    ("bert", bert::read),
    ("camembert", bert::read_roberta),
    ("distilbert", distilbert::read),
    ("embedding_gemma2", embedding_gemma2::read_wrapped),
    ("embedding_gemma2_text", embedding_gemma2::read),
    ("eurobert", llama::read_eurobert),
    ("gemma3_text", gemma3::read),
    ("gte", gte::read_gte),
    ("llama", llama::read_llama),
    ("mistral", llama::read_mistral),
    ("modernbert", modernbert::read),
    ("mpnet", mpnet::read),
    ("new", gte::read_new),
    ("nomic_bert", nomic::read),
    ("qwen2", llama::read_qwen2),
    ("qwen3", llama::read_qwen3),
    ("roberta", bert::read_roberta),
    ("xlm-roberta", bert::read_roberta),
];

/// The `model_type`s that run from their checkpoints.
pub fn model_types() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|(name, _)| *name)
}

/// Whether a `model_type` is one of them.
pub fn is_known(model_type: &str) -> bool {
    model_types().any(|known| known == model_type)
}

/// Reads a config whose `model_type` is known; the error of one that is not names those that are.
pub fn read(config: &JsonFile, weights: &Weights) -> Result<Transformer> {
    let model_type = config.text_or("model_type", "")?;
    let Some((_, reader)) = FAMILIES.iter().find(|(name, _)| *name == model_type) else {
        return Err(unknown(config));
    };
    let network = reader(config, &Names::of(weights))?;
    fields::refuse_unknown(config)?;
    check_rotated(config, &network)?;
    Ok(network)
}

/// Rotation turns pairs: refuses heads of an odd size, in every family.
fn check_rotated(config: &JsonFile, network: &Transformer) -> Result<()> {
    let rotated = network.layers.iter().map(|layer| &layer.attention).filter(|attention| attention.rotation.is_some());
    let Some(odd) = rotated.map(|attention| attention.head_size).find(|size| !size.is_multiple_of(2)) else {
        return Ok(());
    };
    let fields = ["head_dim", "n_head", "num_attention_heads"];
    let stated = |field: &&str| config.peek(field).is_some_and(|value| !value.is_null());
    let field = fields.into_iter().find(stated).unwrap_or("num_attention_heads");
    Err(config.unsupported(
        field,
        match field {
            "head_dim" => "an even number, for rotation".to_owned(),
            _ => format!("heads of an even size, for rotation; not {odd}"),
        },
    ))
}

/// What a config of an unknown family is called.
pub fn unknown(config: &JsonFile) -> crate::error::Error {
    let known = model_types().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    config.unsupported("model_type", format!("{known}, or any with a model.onnx"))
}
