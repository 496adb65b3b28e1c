"""Writes variants.json: ways in which published folders differ from what
transformers writes today, each as changes of a checkpoint of golden.py, and the
logits that transformers computes with it.

    pip install torch==2.9.0 transformers==5.23.0 safetensors==0.8.0
    python variants.py

A variant has a base folder; `config`, fields to set in config.json; `drop`,
fields to take out; `weights`, the name of a change of the tensors (see below);
and `logits` [tokens, vocabulary] of the ids, flattened.
"""

import json
import os
import shutil
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
ids = [3, 14, 15, 9, 2, 6, 5, 28, 0, 27, 1, 7, 7, 8, 21, 12]

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def reversed_head(tensors):
    """A stored output projection: the embedding's rows in reverse."""
    return tensors | {HEAD: tensors[EMBED].flip(0).contiguous()}


def same_head(tensors):
    return tensors | {HEAD: tensors[EMBED].clone()}


def only_head(tensors):
    return {HEAD if k == EMBED else k: v for k, v in tensors.items()}


def body(tensors):
    """The names of a body that was saved alone."""
    return {k.removeprefix("model."): v for k, v in tensors.items()}


def some_without(tensors):
    return {k.removeprefix("model.") if "layers.1" in k else k: v for k, v in tensors.items()}


def old_tables(tensors):
    """The tables of frequencies that old checkpoints hold."""
    return tensors | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}


def body_reversed_head(tensors):
    return body(reversed_head(tensors))


changes = [reversed_head, same_head, only_head, body, some_without, old_tables, body_reversed_head]
changes = {f.__name__: f for f in changes}

harmless = {
    "_name_or_path": "x/y",
    "auto_map": {"AutoModelForCausalLM": "modeling_x.X"},
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "torchscript": False,
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "is_decoder": True,
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "pruned_heads": {},
    "tie_encoder_decoder": False,
    "finetuning_task": None,
    "task_specific_params": None,
    "problem_type": None,
    "tokenizer_class": "LlamaTokenizerFast",
    "model_max_length": 4096,
    "max_sequence_length": 2048,
    "num_beams": 1,
    "do_sample": False,
    "temperature": 1.0,
    "suppress_tokens": None,
    "unsloth_version": "2026.1",
    "pretraining_tp": 2,
    "use_cache": False,
    "embd_pdrop": 0.0,
    "residual_dropout": 0.1,
    "quantization_config": None,
    "a_field_that_is_null": None,
}
llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)

variants = [
    ("linear rope with an original length", "llama", dict(config={"rope_theta": 5000.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0, "original_max_position_embeddings": 16}}, drop=["rope_parameters"])),
    ("dynamic rope with an original length", "llama", dict(config={"rope_theta": 5000.0, "rope_scaling": {"type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 8}}, drop=["rope_parameters"])),
    ("rope_scaling stands for rope_parameters", "llama", dict(config={"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "rope_scaling": {"type": "linear", "factor": 4.0}})),
    ("rope_theta beside rope_parameters without one", "llama", dict(config={"rope_theta": 300.0, "rope_parameters": {"rope_type": "linear", "factor": 4.0}})),
    ("rope_theta in rope_parameters and beside", "llama", dict(config={"rope_theta": 300.0, "rope_parameters": {"rope_type": "default", "rope_theta": 70.0}})),
    ("default rope with a factor", "llama", dict(config={"rope_scaling": {"rope_type": "default", "factor": 4.0, "attention_factor": 2.0}, "rope_theta": 900.0}, drop=["rope_parameters"])),
    ("rope_scaling empty", "llama", dict(config={"rope_scaling": {}, "rope_parameters": {"rope_theta": 40.0, "rope_type": "default"}})),
    ("llama3 rope without an original length", "llama", dict(config={"rope_scaling": llama3, "rope_theta": 10.0}, drop=["rope_parameters"])),
    ("llama3 rope, original length beside it", "llama", dict(config={"rope_scaling": llama3 | {"original_max_position_embeddings": 16}, "original_max_position_embeddings": 24, "rope_theta": 10.0}, drop=["rope_parameters"])),
    ("an original length without scaling", "llama", dict(config={"original_max_position_embeddings": 4})),
    ("old rotary tables", "llama", dict(weights="old_tables")),
    ("fields that are null", "qwen2", dict(config={"rope_scaling": None, "rope_theta": None, "layer_types": None, "sliding_window": None, "architectures": None, "bos_token_id": None, "quantization_config": None, "num_key_value_heads": None})),
    ("fields that are absent", "llama", dict(drop=["hidden_act", "attention_bias", "mlp_bias", "head_dim", "tie_word_embeddings", "dtype", "transformers_version", "architectures", "use_cache", "rope_parameters"])),
    ("fields that change nothing", "llama", dict(config=harmless)),
    ("another name of the activation", "llama", dict(config={"hidden_act": "swish"})),
    ("a window that llama does not know", "llama", dict(config={"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 0})),
    ("a window above all layers", "qwen2", dict(config={"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2, "layer_types": None})),
    ("a window of which layer_types knows none", "qwen3", dict(config={"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0})),
    ("a window that is null", "qwen3", dict(config={"use_sliding_window": True, "sliding_window": None, "max_window_layers": 0, "layer_types": None})),
    ("names without model., tied", "qwen3", dict(weights="body", config={"architectures": ["Qwen3Model"]})),
    ("names without model., of mistral", "mistral", dict(weights="body", config={"architectures": ["MistralModel"]})),
    ("some names without model.", "llama", dict(weights="some_without")),
    ("tied, another head", "qwen3", dict(weights="reversed_head")),
    ("tied, another head, names without model.", "smollm", dict(weights="body_reversed_head")),
    ("tied, the same head", "qwen2", dict(weights="same_head")),
    ("tied, only the head", "qwen3", dict(weights="only_head")),
    ("not tied, another head", "qwen3", dict(weights="reversed_head", config={"tie_word_embeddings": False})),
]

out = []
for name, base, change in variants:
    with tempfile.TemporaryDirectory() as d:
        config = json.load(open(os.path.join(here, base, "config.json")))
        config |= change.get("config", {})
        for field in change.get("drop", []):
            del config[field]
        json.dump(config, open(os.path.join(d, "config.json"), "w"))
        tensors = load_file(os.path.join(here, base, "model.safetensors"))
        if "weights" in change:
            tensors = changes[change["weights"]](tensors)
        save_file(tensors, os.path.join(d, "model.safetensors"), {"format": "pt"})
        model, info = AutoModelForCausalLM.from_pretrained(d, dtype=torch.float32, output_loading_info=True)
        assert not info["missing_keys"] and not info["mismatched_keys"], (name, info)
        with torch.no_grad():
            logits = model.double().eval()(torch.tensor([ids])).logits[0]
    out.append({"name": name, "base": base} | change | {"logits": [round(x, 6) for x in logits.flatten().tolist()]})

with open(os.path.join(here, "variants.json"), "w") as f:
    json.dump({"ids": ids, "variants": out}, f, separators=(",", ":"))
    f.write("\n")
