//! Fields of config.json that several families read alike, and those that are known to change nothing.

use serde_json::Value;

use crate::checkpoint::json::{JsonFile, MAX_ROWS, MAX_WIDTH};
use crate::error::Result;
use crate::transformer::Activation;

/// Fields that say how a model was made, trained, named, loaded or sampled from, or what heads beside the encoder do; not
/// what its hidden states are.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "_commit_hash",
    "_flash_attn_2_enabled", "_name_or_path", "add_pooling_layer", "architectures", "attention_dropout",
    "attention_probs_dropout_prob", "attn_pdrop", "bos_token_id", "classifier_activation",
    "classifier_bias", "classifier_dropout", "classifier_dropout_prob", "classifier_pooling", "clf_pooling",
    "cls_token_id", "decoder_bias", "decoder_start_token_id", "dense_seq_output", "deterministic_flash_attn", "directionality", "dropout",
    "dtype", "embd_pdrop", "embedding_dropout", "eos_token_id", "final_logit_softcapping", "finetuning_task",
    "fused_bias_fc", "fused_dropout_add_ln", "generator", "gradient_checkpointing", "hidden_dropout_prob", "id2label",
    "initializer_cutoff_factor", "initializer_range", "is_llama_config", "keys_to_ignore_at_inference", "label2id",
    "mask_token_id", "matryoshka_dimensions", "max_length", "mlp_dropout", "model_type", "name_or_path", "num_labels",
    "output_attentions", "output_hidden_states", "output_past", "pad_token_id", "pad_vocab_size_multiple", "parallel_block_tied_norm",
    "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type",
    "pretraining_tp", "problem_type", "qa_dropout", "reference_compile", "reorder_and_upcast_attn", "repad_logits_with_grad", "resid_pdrop",
    "sbert_ce_default_activation_function", "sentence_transformers", "sep_token_id", "seq_classif_dropout",
    "sparse_pred_ignore_index", "sparse_prediction", "summary_activation", "summary_first_dropout",
    "summary_proj_to_labels", "summary_type", "summary_use_proj", "tie_weights_", "tie_word_embeddings", "tokenizer_class",
    "torch_dtype", "transformers_version", "unk_token_id", "unpad_inputs", "use_cache", "use_flash_attn",
    "use_memory_efficient_attention", "use_pytorch_attn", "use_xentropy", "vocab_size_padded",
];

/// Refuses a field that was not read and may matter: unknown ones that are set to something. Null, false, nothing and what
/// is empty ask for nothing.
pub fn refuse_unknown(config: &JsonFile) -> Result<()> {
    let unread: Vec<&str> = config.unread().collect();
    for field in unread {
        if field == "auto_map" {
            refuse_own_code(config)?;
            continue;
        }
        let idle = match config.peek(field) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Bool(true) | Value::Number(_)) => false,
        };
        if !idle && !HARMLESS.contains(&field) {
            let supported = "absent; ironvec does not know this field, which may change what the model computes";
            return Err(config.unsupported(field, supported));
        }
    }
    Ok(())
}

/// Refuses `auto_map`: the checkpoint's own code decides what is computed, under the name of a family that is computed
/// otherwise (jina-embeddings-v2 calls itself `bert`). Families whose published code is what is described here read the
/// field with [`accept_own_code`] instead.
pub fn refuse_own_code(config: &JsonFile) -> Result<()> {
    let supported = "absent, null or empty; it names code of the checkpoint's own, which ironvec does not run";
    config.refuse_present("auto_map").map_err(|_| config.unsupported("auto_map", supported))
}

/// Notes that `auto_map` names code that computes as the family does.
pub fn accept_own_code(config: &JsonFile) {
    config.get("auto_map");
}

/// `hidden_size`-like numbers: of columns.
pub fn width(config: &JsonFile, field: &str, default: usize) -> Result<usize> {
    config.integer_or(field, 1..=MAX_WIDTH, Some(default))
}

/// Numbers of rows: vocabularies, positions.
pub fn rows(config: &JsonFile, field: &str, default: usize) -> Result<usize> {
    config.integer_or(field, 1..=MAX_ROWS, Some(default))
}

/// A number of layers.
pub fn layers(config: &JsonFile, field: &str, default: usize) -> Result<usize> {
    config.integer_or(field, 1..=1024, Some(default))
}

/// Refuses a number of heads that does not divide the size.
pub fn head_size(config: &JsonFile, field: &str, hidden_size: usize, heads: usize) -> Result<usize> {
    if hidden_size.is_multiple_of(heads) {
        return Ok(hidden_size / heads);
    }
    Err(config.unsupported(field, format!("a divisor of the hidden size, which is {hidden_size}")))
}

/// A feed-forward activation by transformers' names.
pub fn activation(config: &JsonFile, field: &str, default: &str) -> Result<Activation> {
    Ok(match config.text_or(field, default)? {
        "gelu" => Activation::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        "silu" | "swish" => Activation::Silu,
        _ => return Err(config.unsupported(field, "gelu, gelu_new, gelu_pytorch_tanh, relu, silu")),
    })
}

/// Refuses what no family here does: adapters, quantized weights, pruned heads, decoders of translation models.
pub fn refuse_foreign(config: &JsonFile) -> Result<()> {
    for flag in ["is_decoder", "add_cross_attention"] {
        config.refuse_flag(flag)?;
    }
    for field in ["pruned_heads", "quantization_config"] {
        config.refuse_present(field)?;
    }
    Ok(())
}
