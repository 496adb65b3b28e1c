"""Writes the goldens of the encoders with BERT's blocks that golden.py lacks: cross-
encoders, RoBERTa and XLM-R, in the form of rankers.py.

    pip install torch==2.9.0 transformers==5.24.0 safetensors==0.8.0
    python crossencoders.py

    bert-cls      BertForSequenceClassification, 3 classes, with token types
    bert-score    the same with 1 class, F16, as ms-marco-MiniLM is
    roberta       RobertaForMaskedLM
    roberta-cls   RobertaForSequenceClassification, 3 classes, another padding token
    xlmr          XLMRobertaModel in a folder of sentence-transformers as BGE-M3's, F16
    xlmr-score    XLMRobertaForSequenceClassification, 1 class, BF16, as BGE's rerankers
"""

import json
import os

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

from golden import adamw, here, randomise, save, shape, write

# Without the padding tokens 1 and 4, whose embeddings get no gradient.
sequences = [[3, 14, 15, 9, 2, 6, 5], [28, 0, 27, 11], [7, 7, 7, 7, 7, 7, 7, 7, 7, 8]]
types = [[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1], [0] * 10]
labels = [2, 0, 1]
bert = shape | dict(type_vocab_size=2, pad_token_id=None)
roberta = shape | dict(type_vocab_size=1, pad_token_id=1, max_position_embeddings=34, layer_norm_eps=1e-5)


def body(name, model, pool, files={}, **options):
    randomise(name, model)
    out, model = save(name, model, **options)
    for path, content in files.items():
        os.makedirs(os.path.dirname(os.path.join(out, path)), exist_ok=True)
        with open(os.path.join(out, path), "w") as f:
            json.dump(content, f, indent=1)
            f.write("\n")
    inner = getattr(model, "roberta", model)
    with torch.no_grad():
        states = {f"states.{i}": pool(inner(torch.tensor([ids])).last_hidden_state[0]) for i, ids in enumerate(sequences)}
    write(out, {"ids": sequences}, states)


def classifier(name, model, types=None, **options):
    randomise(name, model)
    out, model = save(name, model, **options)

    def run():
        logits = torch.cat(
            [
                model(torch.tensor([ids]), token_type_ids=torch.tensor([types[i]]) if types else None).logits
                for i, ids in enumerate(sequences)
            ]
        )
        if logits.shape[1] == 1:
            return logits, (logits[:, 0] - torch.tensor(labels)).square().mean()
        return logits, torch.nn.functional.cross_entropy(logits, torch.tensor(labels))

    logits, loss = run()
    loss.backward()
    tensors = {"logits": logits} | {"grad." + n: p.grad.clone() for n, p in model.named_parameters()}
    steps = adamw(model.named_parameters(), lambda: run()[1])
    tensors |= {"after." + n: p for n, p in model.named_parameters()}
    golden = {"ids": sequences, "labels": labels, "loss": loss.item(), "steps": steps}
    write(out, golden | ({"types": types} if types else {}), tensors)


classifier("bert-cls", BertForSequenceClassification(BertConfig(**bert, num_labels=3)), types)
classifier("bert-score", BertForSequenceClassification(BertConfig(**bert, num_labels=1)), types, dtype=torch.float16)
body("roberta", RobertaForMaskedLM(RobertaConfig(**roberta)), lambda x: x.mean(0))
other = roberta | dict(pad_token_id=4, max_position_embeddings=37)
classifier("roberta-cls", RobertaForSequenceClassification(RobertaConfig(**other, num_labels=3)))
modules = ["Transformer", "Pooling", "Normalize"]
body(
    "xlmr",
    XLMRobertaModel(XLMRobertaConfig(**roberta)),
    lambda x: x[0],
    files={
        "1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        "modules.json": [{"idx": i, "name": str(i), "path": "", "type": "sentence_transformers.models." + m} for i, m in enumerate(modules)],
    },
    dtype=torch.float16,
)
classifier("xlmr-score", XLMRobertaForSequenceClassification(XLMRobertaConfig(**roberta, num_labels=1)), dtype=torch.bfloat16)
for root, _, files in os.walk(here):
    for file in files:
        os.chmod(os.path.join(root, file), 0o644)
