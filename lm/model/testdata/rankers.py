"""Writes the goldens of the encoders that golden.py lacks, in its form: ModernBERT,
and Qwen3 as an embedder and as a classifier.

    pip install torch==2.9.0 transformers==5.23.0 safetensors==0.8.0
    python rankers.py

    modernbert            ModernBertForMaskedLM, with the config.json of transformers 4
    modernbert-model      ModernBertModel, with tensors that lack "model."
    modernbert-cls        ModernBertForSequenceClassification, 3 classes, pooling cls
    modernbert-score      the same with 1 class, pooling mean, all layers global
    qwen3-embedding       Qwen3Model in a folder of sentence-transformers, F16
    qwen3-cls             Qwen3ForSequenceClassification, 3 classes

golden.json has token ids and, of classifiers, labels, mean loss and the loss before
each of ten AdamW steps. The loss is the cross-entropy, or the mean square of logits
less labels if there is 1 class. golden.safetensors has states.<sequence> of what has no
classifier (pooled: mean or last token), and logits, grad.<tensor> and after.<tensor>.
"""

import json
import os

import torch
from safetensors.torch import load_file
from transformers import (
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
    ModernBertModel,
    Qwen3Config,
    Qwen3ForSequenceClassification,
    Qwen3Model,
)

from golden import adamw, randomise, save, shape, write

sequences = [[3, 14, 15, 9, 2, 6, 5], [28, 0, 27, 1], [i * i % 29 for i in range(30)]]
labels = [2, 0, 1]
# Without a padding token, whose embedding would get no gradient.
modern = shape | dict(
    num_hidden_layers=5, local_attention=4, pad_token_id=None, cls_token_id=None, sep_token_id=None
)
qwen3 = shape | dict(num_key_value_heads=1, head_dim=6, rope_theta=1e6, tie_word_embeddings=True)


def old_config(out):
    """Rewrites a config.json as transformers 4 wrote it, and as the hub has it."""
    path = os.path.join(out, "config.json")
    with open(path) as f:
        config = json.load(f)
    for name in ("layer_types", "rope_parameters", "dtype"):
        config.pop(name, None)
    config |= dict(
        global_attn_every_n_layers=3,
        global_rope_theta=160000.0,
        local_rope_theta=10000.0,
        layer_norm_eps=1e-05,
        position_embedding_type="absolute",
        reference_compile=None,
        repad_logits_with_grad=False,
        torch_dtype="float32",
    )
    with open(path, "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


def body(name, model, pool, edit=None, files={}, **options):
    randomise(name, model)
    out, model = save(name, model, **options)
    if edit:
        edit(out)
        again = type(model).from_pretrained(out, dtype=torch.float32).double().eval()
        for (n, a), (m, b) in zip(model.named_parameters(), again.named_parameters(), strict=True):
            assert n == m and torch.equal(a, b)
        model = again
    for path, content in files.items():
        os.makedirs(os.path.dirname(os.path.join(out, path)), exist_ok=True)
        with open(os.path.join(out, path), "w") as f:
            json.dump(content, f, indent=1)
            f.write("\n")
    inner = model.model if hasattr(model, "model") else model
    with torch.no_grad():
        states = {f"states.{i}": pool(inner(torch.tensor([ids])).last_hidden_state[0]) for i, ids in enumerate(sequences)}
    write(out, {"ids": sequences}, states)


def classifier(name, model, **options):
    randomise(name, model)
    out, model = save(name, model, **options)

    def run():
        logits = torch.cat([model(torch.tensor([ids])).logits for ids in sequences])
        if logits.shape[1] == 1:
            return logits, (logits[:, 0] - torch.tensor(labels)).square().mean()
        return logits, torch.nn.functional.cross_entropy(logits, torch.tensor(labels))

    logits, loss = run()
    loss.backward()
    tensors = {"logits": logits} | {"grad." + n: p.grad.clone() for n, p in model.named_parameters()}
    steps = adamw(model.named_parameters(), lambda: run()[1])
    tensors |= {"after." + n: p for n, p in model.named_parameters()}
    write(out, {"ids": sequences, "labels": labels, "loss": loss.item(), "steps": steps}, tensors)


def mean(x):
    return x.mean(0)


def last(x):
    return x[-1]


def pooling(mode):
    modes = {f"pooling_mode_{m}": m == mode for m in ("cls_token", "mean_tokens", "lasttoken")}
    return {"word_embedding_dimension": 16, "include_prompt": True} | modes


def modules(*kinds):
    return [
        {"idx": i, "name": str(i), "path": f"{i}_{k}" if i else "", "type": "sentence_transformers.models." + k}
        for i, k in enumerate(kinds)
    ]


body("modernbert", ModernBertForMaskedLM(ModernBertConfig(**modern, classifier_pooling="mean")), mean, old_config)
body("modernbert-model", ModernBertModel(ModernBertConfig(**modern, classifier_pooling="mean")), mean)
classifier("modernbert-cls", ModernBertForSequenceClassification(ModernBertConfig(**modern, num_labels=3)))
classifier(
    "modernbert-score",
    ModernBertForSequenceClassification(
        ModernBertConfig(
            **modern | {"num_hidden_layers": 2},
            layer_types=["full_attention"] * 2,
            num_labels=1,
            classifier_pooling="mean",
        )
    ),
    dtype=torch.bfloat16,
)
body(
    "qwen3-embedding",
    Qwen3Model(Qwen3Config(**qwen3)),
    last,
    files={
        "1_Pooling/config.json": pooling("lasttoken"),
        "modules.json": modules("Transformer", "Pooling", "Normalize"),
        "config_sentence_transformers.json": {
            "prompts": {
                "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
                "document": "",
            },
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    },
    dtype=torch.float16,
)
classifier("qwen3-cls", Qwen3ForSequenceClassification(Qwen3Config(**qwen3, num_labels=3)))
for name, key in [("modernbert-model", "embeddings.tok_embeddings.weight"), ("qwen3-embedding", "embed_tokens.weight")]:
    weights = load_file(os.path.join(os.path.dirname(os.path.abspath(__file__)), name, "model.safetensors"))
    assert key in weights, sorted(weights)
for root, _, files in os.walk(os.path.dirname(os.path.abspath(__file__))):
    for file in files:
        os.chmod(os.path.join(root, file), 0o644)
