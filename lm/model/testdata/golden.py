"""Writes the goldens of the models: tiny random checkpoints of every family as
transformers saves them, and what transformers and torch compute on them in
float64.

    pip install torch==2.9.0 transformers==5.23.0 safetensors==0.8.0
    python golden.py

Each directory holds a checkpoint, and

  golden.json         token ids; a decoder's log-probs of every token but the
                      first and mean loss, or an encoder's token types, labels,
                      and mean cross-entropy of labels; the loss before each of
                      ten AdamW steps
  golden.safetensors  logits.<sequence> of a decoder, or states.<sequence> (the
                      pooled states), logits and head.{weight,bias} of an
                      encoder; the gradient grad.<tensor> of the loss; the
                      tensors after.<tensor> ten AdamW steps

AdamW: learning rate 0.01, betas 0.9 and 0.95, eps 1e-6, decay 0.1 of matrices.
"""

import json
import os
import shutil

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

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
sequences = [[3, 14, 15, 9, 2, 6, 5], [28, 0, 27, 1], [7, 7, 7, 7, 7, 7, 7, 7, 7, 8]]


def llama(**options):
    options = {"num_key_value_heads": 2, "rms_norm_eps": 1e-5} | options
    return LlamaForCausalLM(LlamaConfig(**shape, **options))


def rope(**options):
    return {"rope_theta": 10000.0} | options


# Name: model, and how it is saved.
decoders = {
    "llama": (llama(), {}),
    "llama-linear": (llama(rope_parameters=rope(rope_type="linear", factor=2.5)), {}),
    "llama-dynamic": (llama(rope_parameters=rope(rope_type="dynamic", factor=4.0)), {}),
    "llama3": (
        llama(
            rope_parameters=rope(
                rope_type="llama3",
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=16,
            )
        ),
        {"dtype": torch.bfloat16, "max_shard_size": "4KB"},
    ),
    "smollm": (llama(tie_word_embeddings=True, num_key_value_heads=1), {"dtype": torch.float16}),
    "mistral": (
        MistralForCausalLM(
            MistralConfig(**shape, num_key_value_heads=2, head_dim=6, rope_theta=1e6, sliding_window=None)
        ),
        {},
    ),
    "qwen2": (Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=4, tie_word_embeddings=True)), {}),
    "qwen3": (
        Qwen3ForCausalLM(
            Qwen3Config(**shape, num_key_value_heads=1, head_dim=6, tie_word_embeddings=True, rope_theta=1e6)
        ),
        {},
    ),
}
# Without a padding token, whose embedding would get no gradient.
bert = shape | dict(hidden_act="gelu", type_vocab_size=3, pad_token_id=None)
# Name: model, how it is saved, how it pools.
encoders = {
    "bert": (BertModel(BertConfig(**bert)), {}, "mean_tokens"),
    "bert-mlm": (BertForMaskedLM(BertConfig(**bert, layer_norm_eps=1e-5)), {"dtype": torch.float16}, "cls_token"),
}
types = [[0, 0, 0, 1, 1, 2, 2], [0, 0, 1, 1], [0] * 10]
labels = [2, 0, 1]
classes = 3


def randomise(name, model):
    torch.manual_seed(len(name) + ord(name[-1]))
    with torch.no_grad():
        for tensor, p in model.named_parameters():
            p.normal_(std=0.3)
            if "norm" in tensor or "LayerNorm.weight" in tensor:
                p.add_(1)


def save(name, model, dtype=torch.float32, **options):
    """Saves the model, and returns the directory and what is loaded from it, in
    float64 (its rotary frequencies are float32)."""
    out = os.path.join(here, name)
    shutil.rmtree(out, ignore_errors=True)
    model.to(dtype).save_pretrained(out, **options)
    for extra in os.listdir(out):
        if extra != "config.json" and not extra.startswith("model"):
            os.remove(os.path.join(out, extra))
    return out, type(model).from_pretrained(out, dtype=torch.float32).double().eval()


def adamw(params, loss, steps=10):
    """Returns the loss before each step."""
    params = list(params)
    groups = [
        {"params": [p for _, p in params if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for _, p in params if p.dim() == 1], "weight_decay": 0.0},
    ]
    opt = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-6)
    losses = []
    for _ in range(steps):
        opt.zero_grad()
        value = loss()
        value.backward()
        losses.append(value.item())
        opt.step()
    return losses


def write(out, golden, tensors):
    save_file({k: v.detach().float().contiguous() for k, v in tensors.items()}, os.path.join(out, "golden.safetensors"))
    with open(os.path.join(out, "golden.json"), "w") as f:
        json.dump(golden, f, indent=1)
        f.write("\n")


def decoder(name, model, options):
    randomise(name, model)
    out, model = save(name, model, **options)
    count = sum(len(s) - 1 for s in sequences)

    def run():
        logits, logps = [], []
        for ids in sequences:
            x = torch.tensor([ids])
            logits.append(model(x).logits[0])
            logps.append(logits[-1].log_softmax(-1)[:-1].gather(1, x[0, 1:, None])[:, 0])
        return logits, logps, -sum(p.sum() for p in logps) / count

    logits, logps, loss = run()
    loss.backward()
    tensors = {f"logits.{i}": v for i, v in enumerate(logits)}
    tensors |= {"grad." + n: p.grad.clone() for n, p in model.named_parameters()}
    steps = adamw(model.named_parameters(), lambda: run()[2])
    tensors |= {"after." + n: p for n, p in model.named_parameters()}
    write(out, {"ids": sequences, "logp": [p.tolist() for p in logps], "loss": loss.item(), "steps": steps}, tensors)


def encoder(name, model, options, pooling):
    randomise(name, model)
    out, model = save(name, model, **options)
    os.mkdir(os.path.join(out, "1_Pooling"))
    with open(os.path.join(out, "1_Pooling", "config.json"), "w") as f:
        modes = {f"pooling_mode_{m}": m == pooling for m in ("cls_token", "mean_tokens", "max_tokens")}
        json.dump({"word_embedding_dimension": shape["hidden_size"]} | modes, f, indent=1)
        f.write("\n")
    body = getattr(model, "bert", model)
    head = torch.nn.Linear(shape["hidden_size"], classes).double()
    with torch.no_grad():
        for p in head.parameters():
            p.normal_(std=0.3)
    tensors = {"head." + n: p.detach().clone() for n, p in head.named_parameters()}

    def run():
        states = []
        for ids, t in zip(sequences, types):
            hidden = body(torch.tensor([ids]), token_type_ids=torch.tensor([t])).last_hidden_state[0]
            states.append(hidden.mean(0) if pooling == "mean_tokens" else hidden[0])
        logits = head(torch.stack(states))
        return states, logits, torch.nn.functional.cross_entropy(logits, torch.tensor(labels))

    states, logits, loss = run()
    loss.backward()
    tensors |= {f"states.{i}": v for i, v in enumerate(states)} | {"logits": logits}
    named = [(n, p) for n, p in body.named_parameters() if not n.startswith("pooler.")]
    named += [("score." + n, p) for n, p in head.named_parameters()]
    tensors |= {"grad." + n: p.grad.clone() for n, p in named}
    steps = adamw(named, lambda: run()[2])
    tensors |= {"after." + n: p for n, p in named}
    write(out, {"ids": sequences, "types": types, "labels": labels, "loss": loss.item(), "steps": steps}, tensors)


if __name__ == "__main__":
    for name, (model, options) in decoders.items():
        decoder(name, model, options)
    for name, (model, options, pooling) in encoders.items():
        encoder(name, model, options, pooling)
    for root, _, files in os.walk(here):
        for file in files:
            os.chmod(os.path.join(root, file), 0o644)
