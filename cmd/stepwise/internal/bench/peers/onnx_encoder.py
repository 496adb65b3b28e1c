"""Times onnxruntime on the encoder of a model folder, beside
`go test ./cmd/stepwise/internal/bench -run '^$' -bench Encoder -encoder DIR`.

    python -m venv env
    env/bin/pip install torch==2.9.0 transformers==5.23.0 onnx==1.23.2 onnxruntime==1.32.0
    env/bin/python cmd/stepwise/internal/bench/peers/onnx_encoder.py DIR [-threads N]

DIR is a cross-encoder of BERT's kind, such as the student of a run whose encoder was
pretrained. torch exports it with mean pooling and the classifier, onnxruntime fuses
its attention, normalisation and GELU (onnxruntime.transformers, as for deployment)
and runs it in float32 on as many threads as there are cores. Inputs are those of the
Go benchmark: 1, 10 and 100 sequences of mixed lengths, the same tokens. A batch is
padded to its longest sequence; of batches of 2, 4, 8, 16 and all, sorted by
length, the fastest counts. Each line is the fastest of several rounds and their median; run the
two in turn. The logits of the first sequence show that both compute the same.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

import numpy as np
import onnxruntime
import torch
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

parser = argparse.ArgumentParser()
parser.add_argument("dir", type=pathlib.Path)
parser.add_argument("-threads", type=int, default=os.cpu_count())
args = parser.parse_args()


class Classifier(torch.nn.Module):
    def __init__(self, dir):
        super().__init__()
        config = json.loads((dir / "config.json").read_text())
        assert config["stepwise_encoder"]["pooling"] == "mean", "only mean pooling is exported"
        weights = load_file(dir / "model.safetensors")
        self.heads, self.dim, self.vocab = config["num_attention_heads"], config["hidden_size"], config["vocab_size"]
        self.score = torch.nn.Linear(self.dim, config["stepwise_encoder"]["classes"])
        self.score.load_state_dict({k: weights.pop("score." + k) for k in ("weight", "bias")})
        self.body = BertModel(BertConfig(**config), add_pooling_layer=False)
        self.body.load_state_dict({k.removeprefix("bert."): v for k, v in weights.items()})
        self.body.set_attn_implementation("eager")

    def forward(self, input_ids, attention_mask):
        y = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        m = attention_mask.unsqueeze(-1).to(y.dtype)
        return self.score((y * m).sum(1) / m.sum(1))


def inputs(n, vocab):
    """As in the Go benchmark: lengths from 16 to 135, half of them below 50."""
    for i in range(n):
        length = 16 + (i * 37 % 120) * (1 + i * 53 % 97) // 97
        yield [(7 + 31 * i + 13 * j) % (vocab - 1000) + 999 for j in range(length)]


def padded(sequences):
    longest = max(map(len, sequences))
    ids, mask = np.zeros((2, len(sequences), longest), np.int64)
    for i, s in enumerate(sequences):
        ids[i, : len(s)], mask[i, : len(s)] = s, 1
    return {"input_ids": ids, "attention_mask": mask}


net = Classifier(args.dir).eval()
with tempfile.TemporaryDirectory() as tmp:
    path = os.path.join(tmp, "model.onnx")
    example = tuple(torch.from_numpy(v) for v in padded([[1, 2, 3], [4, 5]]).values())
    axes = {k: {0: "batch", 1: "length"} for k in ("input_ids", "attention_mask")} | {"logits": {0: "batch"}}
    torch.onnx.export(net, example, path, input_names=["input_ids", "attention_mask"], output_names=["logits"],
                      dynamic_axes=axes, opset_version=17, dynamo=False)
    fused = optimizer.optimize_model(path, "bert", num_heads=net.heads, hidden_size=net.dim, optimization_options=FusionOptions("bert"))
    print("fused:", {k: v for k, v in fused.get_fused_operator_statistics().items() if v})
    fused.save_model_to_file(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

for n in (1, 10, 100):
    sequences = list(inputs(n, net.vocab))
    best = None
    for size in sorted({min(s, n) for s in (2, 4, 8, 16, n)}):
        order = sorted(sequences, key=len)
        batches = [padded(order[i : i + size]) for i in range(0, n, size)]
        session.run(None, batches[0])
        times = []
        while len(times) < 5 or sum(times) < 3:
            start = time.perf_counter()
            for b in batches:
                session.run(None, b)
            times.append(time.perf_counter() - start)
        if best is None or min(times) < best[0]:
            best = min(times), sorted(times)[len(times) // 2], size
    logits = session.run(None, padded(sequences[:1]))[0][0]
    tokens = sum(map(len, sequences))
    print(f"{n} sequences, {tokens} tokens: {best[0] * 1e3:.2f} ms, median {best[1] * 1e3:.2f} ms, {n / best[0]:.0f} sequences/s "
          f"in batches of {best[2]}; logits {np.round(logits, 4)}", flush=True)
