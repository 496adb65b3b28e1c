"""Writes the goldens of LoRA: adapters on the tiny checkpoints of golden.py as
PEFT saves them, and what PEFT and torch compute with them in float64.

    pip install torch==2.9.0 transformers==5.23.0 safetensors==0.8.0 \
        peft==0.21.2 accelerate==1.15.0 psutil==7.2.2
    python lora.py

lora/<name>/ holds adapter_config.json and adapter_model.safetensors (what PEFT
saved), golden.json (token ids, log-prob of every token but the first, mean
loss, losses before each of ten AdamW steps and after the last) and
golden.safetensors: `logits.<sequence>`, `base.<sequence>` (adapters disabled),
`grad.<tensor>`, and `trained.<tensor>` after the ten steps.

    python lora.py check <name> DIR

loads adapters that the Go program saved, on the checkpoint of that name, and
compares their logits with the golden ones.
"""

import json
import os
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
sequences = [[3, 14, 15, 9, 2, 6, 5], [28, 0, 27, 1], [7, 7, 7, 7, 7, 7, 7, 7, 7, 8]]
every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
configs = {
    "llama": dict(r=3, lora_alpha=6, target_modules=every),
    "qwen2": dict(r=2, lora_alpha=0.5, target_modules=["o_proj", "down_proj", "k_proj"]),
    "qwen3": dict(r=4, lora_alpha=4, target_modules=["q_proj", "v_proj"]),
}


def base(name):
    return AutoModelForCausalLM.from_pretrained(os.path.join(here, name), dtype=torch.float32)


def logits(model):
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0] for ids in sequences]


def log_probs(model):
    out = []
    for ids in sequences:
        lp = torch.log_softmax(model(torch.tensor([ids])).logits[0, :-1], dim=-1)
        out.append(lp.gather(1, torch.tensor(ids[1:])[:, None])[:, 0])
    return out


def adapters(model, value):
    # PEFT leaves the adapter's name, "default", out of what it saves.
    return {
        n.replace(".default.", "."): value(p).float().contiguous()
        for n, p in model.named_parameters()
        if "lora_" in n
    }


def write(name, config):
    torch.manual_seed(len(name) + ord(name[-1]))
    model = get_peft_model(base(name), LoraConfig(task_type="CAUSAL_LM", **config))
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "lora_" in n:
                p.normal_(std=0.3)
    out = os.path.join(here, "lora", name)
    shutil.rmtree(out, ignore_errors=True)
    model.base_model.peft_config["default"].base_model_name_or_path = "testdata/" + name
    model.save_pretrained(out)
    os.remove(os.path.join(out, "README.md"))

    model = model.double().eval()  # dropout is 0
    tensors = {f"logits.{i}": x.float() for i, x in enumerate(logits(model))}
    with model.disable_adapter():
        tensors |= {f"base.{i}": x.float() for i, x in enumerate(logits(model))}
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-2)
    golden, losses = {}, []
    for step in range(11):
        optimizer.zero_grad()
        lp = log_probs(model)
        loss = -torch.cat(lp).mean()
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            golden = {"ids": sequences, "logp": [x.tolist() for x in lp]}
            for n, g in adapters(model, lambda p: p.grad).items():
                tensors["grad." + n] = g
        if step < 10:
            optimizer.step()
    for n, p in adapters(model, lambda p: p.detach()).items():
        tensors["trained." + n] = p
    golden["losses"] = losses
    save_file({k: v.clone() for k, v in tensors.items()}, os.path.join(out, "golden.safetensors"))
    with open(os.path.join(out, "golden.json"), "w") as f:
        json.dump(golden, f)
        f.write("\n")
    for file in os.listdir(out):
        os.chmod(os.path.join(out, file), 0o644)


def check(name, directory):
    model = PeftModel.from_pretrained(base(name), directory).double().eval()
    golden = load_file(os.path.join(here, "lora", name, "golden.safetensors"))
    for i, x in enumerate(logits(model)):
        worst = (x.float() - golden[f"logits.{i}"]).abs().max().item()
        print(f"sequence {i}: largest difference of a logit {worst:.2e}")
        assert worst < 1e-5


if sys.argv[1:2] == ["check"]:
    check(*sys.argv[2:])
else:
    for name, config in configs.items():
        write(name, config)
