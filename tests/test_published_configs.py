"""Configs as models are published with, every field of them, at tiny sizes: they load."""

import json

import numpy as np
import pytest

from ironvec import Embedder
from kit.checkpoints import write_json
from kit.families import CASES

TEXTS = ["the river", "a cat and a dog of the city"]

_XLM_ROBERTA = {
    "architectures": ["XLMRobertaModel"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
    "classifier_dropout": None, "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02, "layer_norm_eps": 1e-05, "model_type": "xlm-roberta", "output_past": True,
    "pad_token_id": 1, "position_embedding_type": "absolute", "torch_dtype": "float32",
    "transformers_version": "4.33.0", "type_vocab_size": 1, "use_cache": True,
}  # fmt: skip
_NEW = {
    "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
    "id2label": {"0": "LABEL_0"}, "initializer_range": 0.02, "label2id": {"LABEL_0": 0}, "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm", "logn_attention_clip1": False, "logn_attention_scale": False,
    "max_position_embeddings": 8192, "pack_qkv": True, "pad_token_id": 1, "position_embedding_type": "rope",
    "torch_dtype": "float16", "transformers_version": "4.41.2", "type_vocab_size": 1,
    "auto_map": {"AutoConfig": "configuration.NewConfig", "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"},
}  # fmt: skip
_QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643,
    "hidden_act": "silu", "initializer_range": 0.02, "max_position_embeddings": 131072, "max_window_layers": 21,
    "model_type": "qwen2", "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 131072,
    "tie_word_embeddings": False, "torch_dtype": "float32", "transformers_version": "4.41.2", "use_cache": True,
    "use_sliding_window": False,
}  # fmt: skip
# Model: the case whose sizes and tensors it takes, and its own fields.
PUBLISHED = {
    "bge-m3": ("xlm-roberta", _XLM_ROBERTA | {"_name_or_path": ""}),
    "multilingual-e5": ("xlm-roberta", _XLM_ROBERTA | {"_name_or_path": "multilingual-e5-base"}),
    "all-mpnet-base-v2": ("mpnet", {
        "_name_or_path": "mpnet-base", "architectures": ["MPNetForMaskedLM"], "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0, "eos_token_id": 2, "gradient_checkpointing": False, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "initializer_range": 0.02, "layer_norm_eps": 1e-05, "model_type": "mpnet",
        "pad_token_id": 1, "relative_attention_num_buckets": 32, "torch_dtype": "float32",
        "transformers_version": "4.8.2",
    }),
    "gte-modernbert-base": ("modernbert", {
        "architectures": ["ModernBertModel"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 50281,
        "classifier_activation": "gelu", "classifier_bias": False, "classifier_dropout": 0.0,
        "classifier_pooling": "mean", "cls_token_id": 50281, "decoder_bias": True, "deterministic_flash_attn": False,
        "embedding_dropout": 0.0, "eos_token_id": 50282, "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0, "gradient_checkpointing": False, "hidden_activation": "gelu",
        "initializer_cutoff_factor": 2.0, "initializer_range": 0.02, "layer_norm_eps": 1e-05, "local_attention": 128,
        "local_rope_theta": 10000.0, "max_position_embeddings": 8192, "mlp_bias": False, "mlp_dropout": 0.0,
        "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-05, "pad_token_id": 50283,
        "position_embedding_type": "absolute", "reference_compile": False, "repad_logits_with_grad": False,
        "sep_token_id": 50282, "sparse_pred_ignore_index": -100, "sparse_prediction": False, "torch_dtype": "float16",
        "transformers_version": "4.48.0",
    }),
    "nomic-embed-text-v1.5": ("nomic-published", {
        "activation_function": "swiglu", "architectures": ["NomicBertModel"], "attn_pdrop": 0.0,
        "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
        "bos_token_id": None, "causal": False, "dense_seq_output": True, "embd_pdrop": 0.0, "eos_token_id": None,
        "fused_bias_fc": True, "fused_dropout_add_ln": True, "initializer_range": 0.02, "layer_norm_epsilon": 1e-12,
        "max_trained_positions": 2048, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "model_type": "nomic_bert",
        "n_positions": 8192, "pad_vocab_size_multiple": 64, "parallel_block": False,
        "parallel_block_tied_norm": False, "prenorm": False, "qkv_proj_bias": False, "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.0, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None, "rotary_scaling_factor": None, "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True, "summary_activation": None, "summary_first_dropout": 0.0,
        "summary_proj_to_labels": True, "summary_type": "cls_index", "summary_use_proj": True,
        "torch_dtype": "float32", "transformers_version": "4.37.2", "type_vocab_size": 2, "use_cache": True,
        "use_flash_attn": True, "use_rms_norm": False, "use_xentropy": True,
    }),
    "gte-multilingual-base": ("new-ntk", _NEW | {
        "architectures": ["NewModel", "NewForTokenClassification"], "model_type": "new",
        "rope_scaling": {"factor": 8.0, "type": "ntk"}, "rope_theta": 20000, "unpad_inputs": False,
        "use_memory_efficient_attention": False,
    }),
    "snowflake-arctic-embed-m-v2.0": ("gte-published", _NEW | {
        "architectures": ["GteModel"], "model_type": "gte", "rope_scaling": None, "rope_theta": 160000,
        "matryoshka_dimensions": [256], "unpad_inputs": "true", "use_memory_efficient_attention": "true",
    }),
    "embeddinggemma-300m": ("gemma3-bidirectional-dense", {
        "_sliding_window_pattern": 6, "architectures": ["Gemma3TextModel"], "attention_bias": False,
        "attention_dropout": 0.0, "attn_logit_softcapping": None, "bos_token_id": 2, "dtype": "float32",
        "eos_token_id": 1, "final_logit_softcapping": None, "hidden_activation": "gelu_pytorch_tanh",
        "initializer_range": 0.02, "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
        "max_position_embeddings": 2048, "model_type": "gemma3_text", "pad_token_id": 0, "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000.0, "rope_scaling": None, "rope_theta": 1000000.0,
        "sliding_window": 512, "transformers_version": "4.57.0.dev0", "use_bidirectional_attention": True,
        "use_cache": True,
    }),
    # Whose code looks both ways; without `is_causal` nobody could tell.
    "gte-Qwen2-1.5B-instruct": ("qwen2", _QWEN2 | {
        "auto_map": {"AutoModel": "modeling_qwen.Qwen2Model", "AutoModelForCausalLM": "modeling_qwen.Qwen2ForCausalLM"},
        "is_causal": False,
    }),
    "e5-mistral-7b-instruct": ("mistral", {
        "_name_or_path": "e5-mistral", "architectures": ["MistralModel"], "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "initializer_range": 0.02, "max_position_embeddings": 32768, "model_type": "mistral",
        "pad_token_id": 2, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096,
        "tie_word_embeddings": False, "torch_dtype": "float16", "transformers_version": "4.34.0", "use_cache": False,
    }),
}  # fmt: skip
SIZES = {
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "intermediate_size", "head_dim", "n_embd", "n_head", "n_inner", "n_layer",
}  # fmt: skip
TABLES = {"xlm-roberta", "mpnet"}  # whose tables of positions have as many rows as the case says


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_configs_load(model, tmp_path):
    case, fields = PUBLISHED[model]
    CASES[case].write(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    sizes = SIZES | ({"max_position_embeddings"} if fields["model_type"] in TABLES else set())
    write_json(path, fields | {key: value for key, value in written.items() if key in sizes})
    vectors = Embedder(tmp_path / "m").encode(TEXTS)
    assert vectors.shape[0] == len(TEXTS)
    assert np.isfinite(vectors).all()
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
