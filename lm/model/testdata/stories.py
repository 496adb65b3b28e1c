"""Writes stories.json: what transformers generates greedily with stories260K, a
small trained model.

    pip install torch==2.9.0 transformers==5.23.0
    python stories.py STORIES260K [CHECKPOINT]

STORIES260K is the folder of the model. Its checkpoint is llama2.c's, version 0; the
rotary pairs are interleaved. The text is the pieces of tok512.bin put end to end.
"""

import json
import os
import struct
import sys

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

source = sys.argv[1]
with open(os.path.join(source, "stories260K.bin"), "rb") as f:
    dim, ff, layers, heads, kv, vocab, length = struct.unpack("7i", f.read(28))

    def take(*shape):
        n = int(np.prod(shape))
        return torch.from_numpy(np.frombuffer(f.read(4 * n), dtype="<f4").reshape(shape).copy())

    def half_split(w, n):
        return w.view(n, w.shape[0] // n // 2, 2, w.shape[1]).transpose(1, 2).reshape(w.shape)

    size = dim // heads
    weights = {"model.embed_tokens.weight": take(vocab, dim)}
    for name, shape, turn in [
        ("input_layernorm", (dim,), 0),
        ("self_attn.q_proj", (dim, dim), heads),
        ("self_attn.k_proj", (kv * size, dim), kv),
        ("self_attn.v_proj", (kv * size, dim), 0),
        ("self_attn.o_proj", (dim, dim), 0),
        ("post_attention_layernorm", (dim,), 0),
        ("mlp.gate_proj", (ff, dim), 0),
        ("mlp.down_proj", (dim, ff), 0),
        ("mlp.up_proj", (ff, dim), 0),
    ]:
        for i, w in enumerate(take(layers, *shape)):
            weights[f"model.layers.{i}.{name}.weight"] = half_split(w, turn) if turn else w
    weights["model.norm.weight"] = take(dim)
weights["lm_head.weight"] = weights["model.embed_tokens.weight"]

config = LlamaConfig(
    vocab_size=vocab,
    hidden_size=dim,
    intermediate_size=ff,
    num_hidden_layers=layers,
    num_attention_heads=heads,
    num_key_value_heads=kv,
    max_position_embeddings=length,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
)
model = LlamaForCausalLM(config).eval()
model.load_state_dict(weights)
if len(sys.argv) > 2:  # where to save the checkpoint, and do nothing else
    model.save_pretrained(sys.argv[2])
    sys.exit()

pieces = []
with open(os.path.join(source, "tok512.bin"), "rb") as f:
    f.read(4)
    while head := f.read(8):
        pieces.append(f.read(struct.unpack("fi", head)[1]).replace(b"<0x0A>", b"\n"))

with open(os.path.join(source, "golden.json")) as f:
    prompt = json.load(f)["ids"][:6]
ids = list(prompt)
with torch.no_grad():
    for _ in range(200):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
out = {"prompt": prompt, "ids": ids[len(prompt) :], "text": b"".join(pieces[i] for i in ids[len(prompt) :]).decode()}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "stories.json"), "w") as f:
    json.dump(out, f)
    f.write("\n")
