"""Trains with the official Tinker SDK (tinker 0.25.0), for TestSkyRL to compare with.

    skyrl/bin/python sdk.py URL < input.json > output.json

The input has model, rank, seed, lr, steps, prompts and completions (token ids). Each
step is one of supervised learning: the mean over the completions of the mean
cross-entropy of their tokens. The output has the loss before each step and the log-probs
of all completion tokens in the end.
"""

import json
import os
import sys

os.environ["TINKER_API_KEY"] = "tml-none"
os.environ["TINKER_TELEMETRY"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"

import tinker
from tinker import types

job = json.load(sys.stdin)
client = tinker.ServiceClient(base_url=sys.argv[1]).create_lora_training_client(
    base_model=job["model"], rank=job["rank"], seed=job["seed"]
)


def datum(prompt, completion):
    tokens = prompt + completion
    weights = [0.0] * (len(prompt) - 1) + [1.0] * len(completion)
    tensor = lambda data, dtype: types.TensorData(data=data, dtype=dtype, shape=[len(data)])
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tensor(tokens[1:], "int64"), "weights": tensor(weights, "float32")},
    )


data = [datum(job["prompts"][i], c) for i, c in enumerate(job["completions"])]


def completions(outputs, field):
    return [o[field].data[-len(c) :] for o, c in zip(outputs, job["completions"])]


losses = []
for _ in range(job["steps"]):
    loss = client.forward_backward(data, "cross_entropy")
    step = client.optim_step(types.AdamParams(learning_rate=job["lr"], beta1=0.9, beta2=0.95, eps=1e-8))
    outputs = loss.result().loss_fn_outputs
    step.result()
    rows = completions(outputs, "logprobs")
    losses.append(-sum(sum(r) / len(r) for r in rows) / len(rows))
outputs = client.forward(data, "cross_entropy").result().loss_fn_outputs
json.dump({"losses": losses, "logprobs": completions(outputs, "logprobs")}, sys.stdout)
