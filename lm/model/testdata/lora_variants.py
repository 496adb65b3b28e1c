"""Writes lora_variants.json: adapters in all the ways in which PEFT selects
modules, ranks and scales, on the tiny checkpoints of golden.py.

    pip install torch==2.9.0 transformers==5.23.0 safetensors==0.8.0 \
        peft==0.21.2 accelerate==1.15.0 psutil==7.2.2
    python lora_variants.py

For each: base, config (adapter_config.json as PEFT saved it), tensors (names and
shapes of adapter_model.safetensors), the logits of ids with the value
0.3·sin(0.7·i + length of the name) for element i of each tensor, and grads: the
length of the gradient of the mean negative log-prob of ids for each tensor.

    python lora_variants.py check DIR

loads what `go test ./lm/model -run TestAdaptersSelectAsPEFTDoes -export DIR` saved
of each into a folder of its number, and compares the logits.
"""

import json
import math
import os
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
ids = [3, 14, 15, 9, 2, 6, 5, 28, 0, 27, 1, 7, 7, 8, 21, 12]
qv = ["q_proj", "v_proj"]

variants = [
    ("all-linear, as full paths", "llama", dict(target_modules="all-linear")),
    ("all-linear of a tied model", "qwen3", dict(target_modules="all-linear", exclude_modules=["mlp"])),
    ("suffixes", "qwen2", dict(target_modules=["layers.0.self_attn.k_proj", "1.mlp.up_proj", "o_proj", "nothing"])),
    ("a regular expression", "llama", dict(target_modules=r".*layers\.1\.(self_attn|mlp)\.(q|gate)_proj")),
    ("a regular expression with a look-ahead", "llama", dict(target_modules=r"(?P<all>.*)self_attn\.(?!o_proj).*_proj")),
    ("a regular expression with look-behind and classes", "llama", dict(target_modules=r".*[a-z]+_proj(?<!down_proj)(?<!k_proj)")),
    ("exclude by name", "llama", dict(target_modules=qv + ["up_proj"], exclude_modules=["layers.0.self_attn.q_proj", "up_proj"])),
    ("exclude by path", "qwen2", dict(target_modules="all-linear", exclude_modules=["down_proj", "model.layers.1.self_attn.q_proj"])),
    ("exclude by a regular expression", "llama", dict(target_modules=qv, exclude_modules=r".*\.0\..*")),
    ("rsLoRA", "llama", dict(target_modules=qv, use_rslora=True, r=4)),
    ("layers_to_transform", "llama", dict(target_modules=qv, layers_to_transform=[1])),
    ("layers_to_transform, one layer by a pattern", "qwen3", dict(target_modules=qv, layers_to_transform=0, layers_pattern="layers")),
    ("layers_to_transform, and a path", "llama", dict(target_modules=["model.layers.0.self_attn.q_proj", "v_proj"], layers_to_transform=[1])),
    ("rank_pattern", "llama", dict(target_modules=qv, rank_pattern={"layers.0.self_attn.q_proj": 5, r".*\.1\..*": 3})),
    ("rank_pattern from the start", "llama", dict(target_modules=qv, rank_pattern={"^model.layers.1.self_attn.v_proj": 7})),
    # PEFT sorts the patterns when it saves them.
    ("rank_pattern, the first of several", "llama", dict(target_modules=qv, rank_pattern={"layers.1.self_attn.v_proj": 6, "self_attn.v_proj": 4, "v_proj": 1})),
    ("alpha_pattern", "qwen2", dict(target_modules=["q_proj", "gate_proj"], alpha_pattern={"q_proj": 7, "1.mlp.gate_proj": 0.5}, lora_alpha=3)),
    ("all patterns, rsLoRA", "qwen2", dict(target_modules=qv, alpha_pattern={"q_proj": 7}, rank_pattern={"layers.1.*v_proj": 4}, use_rslora=True)),
    ("modules_to_save: lm_head", "llama", dict(target_modules=qv, modules_to_save=["lm_head"])),
    ("modules_to_save: embed_tokens", "llama", dict(target_modules=qv, modules_to_save=["embed_tokens"])),
    ("modules_to_save: both", "llama", dict(target_modules="all-linear", modules_to_save=["embed_tokens", "lm_head"])),
    ("modules_to_save: lm_head of a tied model", "qwen3", dict(target_modules=qv, modules_to_save=["lm_head"])),
    ("modules_to_save: embed_tokens of a tied model", "qwen3", dict(target_modules=qv, modules_to_save=["embed_tokens"])),
    ("modules_to_save: both of a tied model", "qwen3", dict(target_modules=qv, modules_to_save=["embed_tokens", "lm_head"])),
    ("modules_to_save: norms", "qwen3", dict(target_modules=qv, modules_to_save=["norm"])),
    ("modules_to_save: one norm", "llama", dict(target_modules=qv, modules_to_save=["model.norm"])),
    ("modules_to_save: a layer with its bias", "qwen2", dict(target_modules=qv, modules_to_save=["k_proj"])),
    ("modules_to_save before target_modules", "llama", dict(target_modules=qv + ["k_proj"], modules_to_save=["k_proj"])),
    ("modules_to_save: a part", "llama", dict(target_modules=qv + ["up_proj"], modules_to_save=["mlp"])),
    ("modules_to_save: a path", "llama", dict(target_modules=qv, modules_to_save=["layers.0.self_attn.o_proj"])),
    ("modules_to_save: nothing that is there", "llama", dict(target_modules=qv, modules_to_save=["score"])),
]


def saved_name(name):
    return name.replace(".modules_to_save.default.", ".").replace(".default.", ".")


if sys.argv[1:2] == ["check"]:
    golden = json.load(open(os.path.join(here, "lora_variants.json")))
    for i, v in enumerate(golden["variants"]):
        base = AutoModelForCausalLM.from_pretrained(os.path.join(here, v["base"]), dtype=torch.float32)
        model = PeftModel.from_pretrained(base, os.path.join(sys.argv[2], str(i))).double().eval()
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].flatten()
        worst = (logits - torch.tensor(v["logits"])).abs().max().item()
        print(f"{v['name']}: largest difference {worst:.1e}")
        assert worst < 1e-4, v["name"]
    sys.exit()

out = []
for name, base, options in variants:
    model = AutoModelForCausalLM.from_pretrained(os.path.join(here, base), dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **({"r": 2, "lora_alpha": 5} | options)))
    with tempfile.TemporaryDirectory() as d:
        model.save_pretrained(d)
        config = json.load(open(os.path.join(d, "adapter_config.json")))
        config["base_model_name_or_path"] = base
        tensors = {k: list(v.shape) for k, v in load_file(os.path.join(d, "adapter_model.safetensors")).items()}
    model = model.double().eval()
    trained = {saved_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    assert {n: list(p.shape) for n, p in trained.items()} == tensors, name
    with torch.no_grad():
        for n, p in trained.items():
            values = torch.tensor([0.3 * math.sin(0.7 * i + len(n)) for i in range(p.numel())], dtype=torch.float32)
            p.copy_(values.reshape(p.shape))
    logits = model(torch.tensor([ids])).logits[0]
    lp = torch.log_softmax(logits[:-1], dim=-1).gather(1, torch.tensor(ids[1:])[:, None])
    (-lp.mean()).backward()
    grads = {n: p.grad.norm().item() for n, p in trained.items()}
    out.append({"name": name, "base": base, "config": config, "tensors": tensors, "grads": grads,
                "logits": [round(x, 6) for x in logits.flatten().tolist()]})

with open(os.path.join(here, "lora_variants.json"), "w") as f:
    json.dump({"ids": ids, "variants": out}, f, separators=(",", ":"))
    f.write("\n")
