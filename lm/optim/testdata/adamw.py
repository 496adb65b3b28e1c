"""Writes adamw.json: torch.optim.AdamW with clip_grad_norm_, in float64.

Made with Python 3, torch 2.9.0:  python lm/optim/testdata/adamw.py
The gradients are data, not of a loss: each step's are in the file. The norm
is below max_norm in some steps and above in others.
"""
import json
import pathlib

import torch

STEPS, MAX_NORM = 12, 2.5
torch.manual_seed(1)
shapes = {"matrix": [3, 5], "bias": [5], "scalar": []}
params = {k: torch.nn.Parameter(torch.randn(s).double()) for k, s in shapes.items()}
settings = dict(betas=(0.9, 0.95), eps=1e-8)
optimiser = torch.optim.AdamW(
    [
        {"params": [params["matrix"], params["scalar"]], "weight_decay": 0.1},
        {"params": [params["bias"]], "weight_decay": 0.0},
    ],
    lr=1.0,
    **settings,
)


def flat(tensors):
    return {k: t.detach().flatten().tolist() for k, t in tensors.items()}


out = {
    "torch": torch.__version__,
    "beta1": 0.9,
    "beta2": 0.95,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "max_norm": MAX_NORM,
    "shapes": shapes,
    "start": flat(params),
    "steps": [],
}
for step in range(STEPS):
    lr = 0.01 * (step + 1)
    for group in optimiser.param_groups:
        group["lr"] = lr
    # float32 values, so that every backend starts from the same gradients
    grads = {k: (torch.randn(s) * (0.2 if step % 3 == 0 else 1.0)).double() for k, s in shapes.items()}
    for k, p in params.items():
        p.grad = grads[k].clone()
    norm = torch.nn.utils.clip_grad_norm_(params.values(), MAX_NORM)
    optimiser.step()
    out["steps"].append({"lr": lr, "grads": flat(grads), "norm": norm.item(), "params": flat(params)})
path = pathlib.Path(__file__).with_name("adamw.json")
path.write_text(json.dumps(out) + "\n")
