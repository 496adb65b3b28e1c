"""Writes the goldens of the decoder: tiny random Llama, Qwen2 and Qwen3
checkpoints as transformers saves them, and what transformers computes on them
in float64: logits, log-probs, loss, and the gradient of every tensor.

    pip install torch==2.9.0 transformers==5.23.0 safetensors==0.8.0
    python golden.py

Each directory holds config.json and model.safetensors (the checkpoint),
golden.json (token ids, log-prob of every token but the first, mean loss) and
golden.safetensors (`logits.<sequence>` and `grad.<tensor>`).
"""

import json
import os
import shutil

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
shape = dict(
    vocab_size=29,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=32,
    bos_token_id=None,
    eos_token_id=None,
)
models = {
    "llama": LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=2, rms_norm_eps=1e-5)),
    "qwen2": Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=4, tie_word_embeddings=True)),
    "qwen3": Qwen3ForCausalLM(
        Qwen3Config(**shape, num_key_value_heads=1, head_dim=6, tie_word_embeddings=True, rope_theta=1e6)
    ),
}
sequences = [[3, 14, 15, 9, 2, 6, 5], [28, 0, 27, 1], [7, 7, 7, 7, 7, 7, 7, 7, 7, 8]]

for name, model in models.items():
    torch.manual_seed(len(name) + ord(name[-1]))
    with torch.no_grad():
        for tensor, p in model.named_parameters():
            p.normal_(std=0.3)
            if "norm" in tensor:
                p.add_(1)
    out = os.path.join(here, name)
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    for extra in os.listdir(out):
        if extra not in ("config.json", "model.safetensors"):
            os.remove(os.path.join(out, extra))

    model = model.double().eval()
    tensors, logps = {}, []
    loss = 0
    count = sum(len(s) - 1 for s in sequences)
    for i, ids in enumerate(sequences):
        x = torch.tensor([ids])
        logits = model(x).logits[0]
        logp = logits.log_softmax(-1)[:-1].gather(1, x[0, 1:, None])[:, 0]
        loss = loss - logp.sum() / count
        tensors[f"logits.{i}"] = logits.detach().float()
        logps.append(logp.tolist())
    loss.backward()
    for tensor, p in model.named_parameters():
        tensors["grad." + tensor] = p.grad.float()
    save_file(tensors, os.path.join(out, "golden.safetensors"))
    with open(os.path.join(out, "golden.json"), "w") as f:
        json.dump({"ids": sequences, "logp": logps, "loss": loss.item()}, f, indent=1)
        f.write("\n")
for root, _, files in os.walk(here):
    for file in files:
        os.chmod(os.path.join(root, file), 0o644)
