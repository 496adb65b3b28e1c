"""Writes ops.json: forward and backward of the operations, by PyTorch in float64.

Made with Python 3, torch 2.9.0 and transformers (its version is in the file):
    python lm/tensor/reference/testdata/ops.py

Each case has inputs, outputs, the gradients dout of the outputs, and the
gradients of the inputs that follow from them by autograd. Inputs are float32
values.
"""
import json
import pathlib

import torch
import transformers
from torch.nn import functional as F
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb, repeat_kv

torch.manual_seed(3)
cases = {}


def rand(*shape):
    return torch.randn(shape, dtype=torch.float32).double().requires_grad_()


def case(name, inputs, outputs):
    douts = [rand(*o.shape).detach() for o in outputs]
    grads = torch.autograd.grad(sum((o * d).sum() for o, d in zip(outputs, douts)), inputs)
    flat = lambda ts: [t.detach().flatten().tolist() for t in ts]
    cases[name] = {"in": flat(inputs), "out": flat(outputs), "dout": flat(douts), "grad": flat(grads)}


# RMSNorm: x [4×6], w [6], eps 2^-10. Llama's own module agrees, but computes
# in float32.
x, w = rand(4, 6), rand(6)
y = F.rms_norm(x, (6,), w, eps=2**-10)
module = LlamaRMSNorm(6, eps=2**-10)
module.weight.data = w.detach().float()
assert torch.allclose(module(x.detach().float()).double(), y, atol=1e-6)
case("RMSNorm", [x, w], [y])

# RoPE: Llama's function; x [4 rows × 2 heads × 6], positions 0 5 2 17,
# frequencies 1 1/2 1/8.
x = rand(4, 2, 6)
freq = torch.tensor([1, 0.5, 0.125], dtype=torch.float64)
angle = torch.tensor([0.0, 5, 2, 17], dtype=torch.float64)[:, None] * freq
angle = torch.cat([angle, angle], -1)[None]  # [1, rows, 6]
q = x.transpose(0, 1)[None]  # [1, heads, rows, 6]
rotated, _ = apply_rotary_pos_emb(q, q, angle.cos(), angle.sin())
case("RoPE", [x], [rotated[0].transpose(0, 1)])

# Attention: 7 rows, 4 query heads on 2 key heads of 3, scale 0.5. Rows 0-2 are
# a prompt, 3-4 and 5-6 its completions.
for name, causal in [("Attend causal", True), ("Attend bidirectional", False)]:
    q, k, v = rand(7, 4, 3), rand(7, 2, 3), rand(7, 2, 3)
    mask = torch.zeros(7, 7, dtype=torch.bool)
    for a, b in [(0, 3), (3, 5), (5, 7)]:
        own = torch.ones(b - a, b - a, dtype=torch.bool)
        mask[a:b, a:b] = own.tril() if causal else own
        if a:
            mask[a:b, :3] = True
    heads = lambda t: t.transpose(0, 1)[None]
    out = F.scaled_dot_product_attention(
        heads(q), repeat_kv(heads(k), 2), repeat_kv(heads(v), 2), attn_mask=mask, scale=0.5)
    case(name, [q, k, v], [out[0].transpose(0, 1)])

# SwiGLU: 9 elements.
gate, up = rand(9), rand(9)
case("SwiGLU", [gate, up], [F.silu(gate) * up])

# Log-prob of targets 6 0 3 and entropy under temperature 0.5: logits [3×7].
logits = rand(3, 7)
dist = torch.distributions.Categorical(logits=logits / 0.5)
case("LogProb", [logits], [dist.log_prob(torch.tensor([6, 0, 3])), dist.entropy()])

# LayerNorm: x [4×6], w and bias [6], eps 2^-10.
x, w, bias = rand(4, 6), rand(6), rand(6)
case("LayerNorm", [x, w, bias], [F.layer_norm(x, (6,), w, bias, eps=2**-10)])

# GELU: 9 elements.
x = rand(9)
case("GELU", [x], [F.gelu(x)])

# Attention with a window of 2: 7 rows, rows 0-4 and 5-6 are sequences.
for name, causal in [("Attend causal window", True), ("Attend window", False)]:
    q, k, v = rand(7, 4, 3), rand(7, 2, 3), rand(7, 2, 3)
    i, j = torch.arange(7)[:, None], torch.arange(7)[None]
    mask = ((i < 5) == (j < 5)) & ((i - j).abs() <= 2)
    if causal:
        mask &= j <= i
    heads = lambda t: t.transpose(0, 1)[None]
    out = F.scaled_dot_product_attention(
        heads(q), repeat_kv(heads(k), 2), repeat_kv(heads(v), 2), attn_mask=mask, scale=0.5)
    case(name, [q, k, v], [out[0].transpose(0, 1)])

# GeGLU: 9 elements.
gate, up = rand(9), rand(9)
case("GeGLU", [gate, up], [F.gelu(gate) * up])

# Tanh: 9 elements.
x = rand(9)
case("Tanh", [x], [torch.tanh(x)])

out = {"torch": torch.__version__, "transformers": transformers.__version__, "cases": cases}
pathlib.Path(__file__).with_name("ops.json").write_text(json.dumps(out) + "\n")
