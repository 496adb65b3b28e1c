"""Writes golden.safetensors with the reference implementation.

    pip install safetensors==0.8.0 torch==2.9.0
    python golden.py

The values of the BF16 tensors are those that torch rounds `exact` and
`rounding` to; the test rounds them itself and compares the bytes.
"""

import os

import torch
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
exact = torch.tensor([[1.0, -2.5, 0.0], [65280.0, -0.0, 1e-40]])
rounding = torch.tensor([1.00390625, 1.01171875, 3.3895314e38, 3.4028235e38, float("inf"), -float("inf"), 0.1, -0.3])
save_file(
    {
        "exact": exact,
        "rounding": rounding,
        "exact.bf16": exact.bfloat16(),
        "rounding.bf16": rounding.bfloat16(),
        "scalar": torch.tensor(7.0),
        "ids": torch.tensor([1, 2, 3]),
        "none": torch.zeros(0, 4),
    },
    os.path.join(here, "golden.safetensors"),
    metadata={"format": "pt", "note": "naïve"},
)
