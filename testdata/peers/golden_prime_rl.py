"""Goldens of prime-rl at the commit COMMIT; see README.md for how to run it.

prime-rl is on no registry: the argument is the folder of a checkout. Its losses
are functions and run as they are; its advantages are methods of algorithm
classes, which run on stand-ins for episodes.
"""

import asyncio
import hashlib
import pathlib
import sys
import types

import torch

import peer

COMMIT = "559b44772e471d1538537b8805cc77f3824a5e64"
SOURCES = {
    "src/prime_rl/trainer/rl/loss.py": "102b14539a2aa7e4b807967f9c9caeaaa974373391a21602ce45b24414fb7863",
    "src/prime_rl/orchestrator/train_sink.py": "321161ff4b89cfb9391fd8ab1071db63464d8e3c0889fab51a51576ab0841013",
    "src/prime_rl/orchestrator/algo/base.py": "65ed56bf38ed657e99f7508c9727ad0ad4995b0a8f4fefbebc12a0d24b727f48",
    "src/prime_rl/orchestrator/algo/grpo.py": "7ef8ff7b7c640ae9e551354f8c9f82bc7510664efeef179ca7df812bf86d7c5f",
    "src/prime_rl/orchestrator/algo/max_rl.py": "d128d53f51ccfdeca0bd41b7aa1a1af4764f11c338f461c6fe06f258ec751a87",
    "src/prime_rl/orchestrator/algo/routing.py": "982f3727cb3bdb59999ed2dcba74bedd25cab6e5d580b27b9c84509af7b84ec4",
    "packages/prime-rl-configs/src/prime_rl/configs/trainer.py": (
        "8e9dfae7baf22c7eecd0238ddde47f2f2073763b6b9ef6315a0878f9d287c4d6"
    ),
    "packages/prime-rl-configs/src/prime_rl/configs/algorithm.py": (
        "2419eea0245c3074b76798eb3fd9229c09becf651e24ee5687e12a394ce492e2"
    ),
    "packages/prime-rl-configs/src/prime_rl/configs/orchestrator.py": (
        "f2a2dee148cab2ae88617aed5c15eea7e55b6ac98a751e7de858e17e0667c830"
    ),
}

if len(sys.argv) != 2:
    sys.exit(f"usage: golden_prime_rl.py CHECKOUT, a folder with prime-rl at {COMMIT}")
checkout = pathlib.Path(sys.argv[1]).resolve()
for name, want in SOURCES.items():
    if hashlib.sha256((checkout / name).read_bytes()).hexdigest() != want:
        sys.exit(f"{checkout / name} is not that of commit {COMMIT}")

peer.stub(
    "beartype",
    "jaxtyping",
    "verifiers",
    "prime_rl.configs",
    "prime_rl.transports",
    "prime_rl.utils",
    "prime_rl.orchestrator.envs",
    "prime_rl.orchestrator.metrics",
    "prime_rl.orchestrator.trajectories",
    "prime_rl.orchestrator.types",
    "prime_rl.orchestrator.utils",
)
source = checkout / "src/prime_rl"
for name in ("", "trainer", "trainer.rl", "orchestrator", "orchestrator.algo"):
    peer.package(f"prime_rl.{name}".rstrip("."), source / name.replace(".", "/"))
import jaxtyping  # noqa: E402

# Decorators of functions that are not called.
jaxtyping.jaxtyped = torch.compile = lambda **_: lambda f: f

from prime_rl.orchestrator import train_sink  # noqa: E402
from prime_rl.orchestrator.algo import grpo, max_rl, routing  # noqa: E402
from prime_rl.trainer.rl import loss as L  # noqa: E402

torch.set_default_dtype(torch.float64)
golden = peer.Golden("prime-rl-559b447", **{"prime-rl": COMMIT})
data = peer.inputs()

configs = checkout / "packages/prime-rl-configs/src/prime_rl/configs"
for file, owner, names in (
    ("trainer", "DefaultLossConfig", "dppo_mask_low dppo_mask_high adv_tau kl_tau"),
    ("trainer", "IPOLossConfig", "ipo_threshold adv_tau kl_tau"),
    ("algorithm", "GRPOAlgoConfig", "length_penalty"),
    ("algorithm", "LinearLengthPenaltyConfig", "num_output_tokens_weight num_input_tokens_weight num_turns_weight"),
    ("orchestrator", "TrainConfig", "filter_zero_advantages"),
    ("orchestrator", "TrainSamplingConfig", "temperature"),
):
    golden.default(configs / f"{file}.py", configs.parents[1], owner, names)

# Advantages, float32 inside.


def advantages(name, cls, batch_name, length_penalty=golden.defaults["length_penalty"]):
    b = data["advantages"][batch_name]
    algorithm = cls.__new__(cls)
    algorithm.length_penalty = length_penalty
    result = []
    for rewards, tokens in zip(b["rewards"], b["tokens"]):
        traces = [
            types.SimpleNamespace(
                id=str(i),
                reward=r,
                has_error=False,
                agent=types.SimpleNamespace(trainable=True),
                nodes=[types.SimpleNamespace(mask=[True] * n, token_ids=[1] * n, advantages=[])],
                num_output_tokens=n,
                num_total_tokens=n + 11,
                num_turns=1,
            )
            for i, (r, n) in enumerate(zip(rewards, tokens))
        ]
        asyncio.run(algorithm.score_group([types.SimpleNamespace(traces=traces)]))
        result += [t.nodes[0].advantages for t in traces]
    golden.add("advantages", name, cls.score_group, "float32", batch=batch_name, advantages=result)


for b in ("ragged", "ones", "noise", "constant"):
    advantages("grpo", grpo.GRPOAlgorithm, b)
    advantages("max_rl", max_rl.MaxRLAlgorithm, b)

# The prompt and the number of turns are those of the whole group.
penalty = types.SimpleNamespace(**{k: v for k, v in golden.defaults.items() if k.startswith("num_")})
advantages("grpo-length_penalty", grpo.GRPOAlgorithm, "lengths", penalty)
penalty.num_output_tokens_weight = 1.5
advantages("grpo-length_penalty-1.5", grpo.GRPOAlgorithm, "lengths", penalty)

# Losses, divided by the number of tokens as in trainer/rl/train.py.


def loss(name, fn, batch_name="step", action="rl", filtered=False, **options):
    """Runs the real compute_loss, with the action tokens in the given component
    and, if filtered, those of advantage 0 left out."""
    b = data["losses"][batch_name]
    config = (L.IPOLossConfig if fn is L.ipo_loss_fn else L.DefaultLossConfig)()
    vars(config).update(golden.defaults | options)
    fns = [fn, L.compute_loss]
    fields = {}
    samples = [
        types.SimpleNamespace(
            token_ids=[1] * len(mask),
            mask=[m == 1 for m in mask],
            advantages=adv,
            rl_weights=None,
            ce_weights=None,
            ref_kl_weights=None,
        )
        for mask, adv in zip(b["mask"], b["adv"])
    ]
    for s in samples:
        routing.stamp_loss_routing(s, action)
        if filtered:
            train_sink._prune_zero_advantages(s)
    if filtered:
        fns.append(train_sink._prune_zero_advantages)

    def stream(field, absent):
        rows = [getattr(s, field) or [absent] * len(s.mask) for s in samples]
        return list(torch.tensor(rows).unbind())

    mask = torch.tensor(b["mask"]).bool()
    rl, ce, ref_kl = stream("rl_weights", 1.0), stream("ce_weights", 0.0), stream("ref_kl_weights", 0.0)
    trained = mask & (torch.stack(rl) != 0)
    if filtered:
        fields["mask"] = trained.int().tolist()
    logp = torch.tensor(b["logp"], requires_grad=True)
    rows = {k: list(torch.tensor(b[k]).unbind()) for k in ("rollout", "ref", "adv")}
    value, _ = L.compute_loss(
        list(logp.unbind()),
        rows["rollout"],
        rows["ref"],
        rows["adv"],
        list(mask.unbind()),
        rl,
        ce,
        ref_kl,
        L.setup_rl_loss_fn(config),
        max(int(trained.sum()), 1),
        max(sum(int((w != 0).sum()) for w in ce), 1),
        max(sum(int((w != 0).sum()) for w in ref_kl), 1),
    )
    value.backward()
    golden.add(
        "losses",
        name,
        fns,
        "float64",
        batch=batch_name,
        adv="adv",
        loss=value.item(),
        grad=peer.rows(logp.grad),
        **fields,
    )


for batch_name in ("step", "far"):
    loss("default", L.default_loss_fn, batch_name)
    loss("ipo", L.ipo_loss_fn, batch_name)
    loss("ref_kl", L.ref_kl_loss_fn, batch_name, action="ref_kl")
loss("default-narrow", L.default_loss_fn, dppo_mask_low=0.05, dppo_mask_high=0.025)
loss("default-taus", L.default_loss_fn, adv_tau=0.5, kl_tau=0.125)
loss("default-filtered", L.default_loss_fn, filtered=True)
loss("ce", L.ce_loss_fn, action="ce")

golden.write()
