"""Goldens of the Tinker protocol; see README.md for how to run it.

The losses that Tinker's servers compute are closed; skyrl.tinker of SkyRL
0.4.0 is an open server of the same protocol. Advantages and the KL penalty are
those of tinker-cookbook 0.6.1.
"""

import asyncio
import types
import typing

import jax
import typing_extensions

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import torch  # noqa: E402

import peer  # noqa: E402

typing.TypedDict = typing_extensions.TypedDict  # skyrl.tinker.types is written for Python 3.12
peer.stub(
    "tinker",
    "tinker_cookbook.rl.types",
    "tinker_cookbook.supervised",
    "tinker_cookbook.tokenizer_utils",
    "tinker_cookbook.display",
    "tinker_cookbook.utils.cost_estimation",
)
for distribution, top, names in (
    ("skyrl", "skyrl", ("", "tinker")),
    ("tinker-cookbook", "tinker_cookbook", ("", "rl", "utils")),
):
    root = peer.location(distribution, top)
    for name in names:
        peer.package(f"{top}.{name}".rstrip("."), root / name)

from skyrl.tinker import loss_fns  # noqa: E402
from tinker_cookbook.rl import data_processing, metrics  # noqa: E402

golden = peer.Golden("tinker", "tinker-cookbook", "skyrl")
data = peer.inputs()

root = peer.location("tinker-cookbook", "tinker_cookbook")
golden.default(root / "rl/train.py", root.parent, "Config", "loss_fn kl_penalty_coef kl_discount_factor temperature")

# Advantages, float32 inside.

for batch_name in ("ragged",):
    b = data["advantages"][batch_name]
    groups = [types.SimpleNamespace(get_total_rewards=lambda g=g: g) for g in b["rewards"]]
    out = data_processing.compute_advantages(groups)
    result = [[a] * n for g, ns in zip(out, b["tokens"]) for a, n in zip(g.tolist(), ns)]
    golden.add(
        "advantages", "centred", data_processing.compute_advantages, "float32", batch=batch_name, advantages=result
    )


class Tensor:
    """Stands in for tinker.TensorData."""

    def __init__(self, value):
        self.value = value

    def to_torch(self):
        return self.value

    from_torch = classmethod(lambda cls, x: cls(x))


metrics.tinker.TensorData = Tensor


def kl_penalty(name, coef, discount):
    """The penalty alone: advantages start at 0."""
    b = data["losses"]["step"]
    datums = [
        types.SimpleNamespace(
            loss_fn_inputs={
                "logprobs": Tensor(torch.tensor(row)),
                "mask": Tensor(torch.tensor(mask)),
                "advantages": Tensor(torch.zeros(len(row))),
            }
        )
        for row, mask in zip(b["old"], b["mask"])
    ]

    async def score_sequences(*_):
        return [[None, *row] for row in b["ref"]], None

    metrics.score_sequences, metrics._full_sequence_inputs = score_sequences, lambda d: d
    asyncio.run(metrics.incorporate_kl_penalty(datums, None, coef, discount))
    result = [d.loss_fn_inputs["advantages"].to_torch().tolist() for d in datums]
    golden.add("kl", name, metrics.incorporate_kl_penalty, "float32", batch="step", value=result)


kl_penalty("penalty", 0.1, 0.0)
kl_penalty("penalty-discount-0.9", 0.1, 0.9)

# Losses. The server sums them.


def loss(name, fn, batch_name="step", low=0.8, high=1.2):
    b = data["losses"][batch_name]
    logp, mask, old, adv = (jnp.array(b[k], dtype=jnp.float64) for k in ("logp", "mask", "old", "adv"))
    config = loss_fns.LossFnConfig(jnp.array(low), jnp.array(high))
    value, grad = jax.value_and_grad(lambda x: fn(x, mask, old, adv, config).sum())(logp)
    golden.add("losses", name, fn, "float64", batch=batch_name, adv="adv", loss=float(value), grad=grad.tolist())


for batch_name in ("step", "far"):
    loss("importance_sampling", loss_fns.importance_sampling_loss, batch_name)
loss("ppo", loss_fns.ppo_loss)
loss("cispo", loss_fns.cispo_loss)
loss("cispo-wide", loss_fns.cispo_loss, low=0.0, high=5.0)
loss("cross_entropy", loss_fns.cross_entropy_loss)

golden.write()
