"""Goldens of OpenRLHF 0.11.2; see README.md for how to run it.

Its packages import deepspeed, ray and flash-attention at the top; they are
stubbed, and only the modules under test are loaded.
"""

import types

import torch

import peer

peer.stub(
    "ray", "deepspeed", "flash_attn", "peft", "vllm", "datasets", "torchdata", "optree", "pandas", "accelerate", "PIL"
)
root = peer.location("openrlhf", "openrlhf")
for name in ("models", "trainer", "trainer.ppo_utils", "trainer.ray", "utils"):
    peer.package(f"openrlhf.{name}", root / name.replace(".", "/"))
peer.stub("openrlhf.trainer.ray.launcher")

from openrlhf.models.loss import PolicyLoss, aggregate_loss  # noqa: E402
from openrlhf.models.utils import compute_approx_kl, compute_reward  # noqa: E402
from openrlhf.trainer.ppo_utils import experience_maker  # noqa: E402

torch.set_default_dtype(torch.float64)
golden = peer.Golden("openrlhf-0.11.2", "openrlhf")
data = peer.inputs()
RemoteExperienceMaker = experience_maker.RemoteExperienceMaker

golden.default(
    root / "cli/train_ppo_ray.py",
    root.parent,
    None,
    """
    actor.eps_clip actor.eps_clip_low_high actor.dual_clip actor.loss_agg_mode actor.policy_loss_type
    actor.entropy_coef algo.kl.init_coef algo.kl.use_loss algo.kl.estimator algo.kl.target
    algo.advantage.estimator algo.advantage.gamma algo.advantage.is_correction_level reward.clip_range
    rollout.temperature
    """,
)

# Advantages.


def advantages(name, estimator, batch_name, dtype="float64", kl_coef=0.0, gamma=1.0, no_std_norm=False):
    b = data["advantages"][batch_name]
    rewards, tokens = peer.flat(b["rewards"]), peer.flat(b["tokens"])
    width = max(tokens)
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in tokens])
    kl = torch.zeros(len(tokens), width)
    if "shaping" in b:
        for i, s in enumerate(peer.flat(b["shaping"])):
            kl[i, : len(s)] = -torch.tensor(s) / kl_coef
    experience = types.SimpleNamespace(
        rewards=torch.tensor(rewards), index=list(range(len(rewards))), action_mask=mask, kl=kl, info={}, values=None
    )
    args = types.SimpleNamespace(
        rollout=types.SimpleNamespace(n_samples_per_prompt=len(b["rewards"][0])),
        algo=types.SimpleNamespace(
            advantage=types.SimpleNamespace(estimator=estimator, gamma=gamma, lambd=1.0, no_std_norm=no_std_norm)
        ),
        reward=types.SimpleNamespace(clip_range=(-10, 10), overlong_buffer_len=None, stop_properly_penalty_coef=None),
    )
    maker = RemoteExperienceMaker.__new__(RemoteExperienceMaker)
    maker.strategy = types.SimpleNamespace(args=args)
    maker.advantage_estimator = estimator
    maker.kl_ctl = types.SimpleNamespace(value=kl_coef)
    fn = RemoteExperienceMaker.compute_advantages_and_returns
    (out,) = fn(maker, [experience])
    result = [r[:n] for r, n in zip(peer.rows(out.advantages), tokens)]
    golden.add("advantages", name, [fn, compute_reward], dtype, batch=batch_name, advantages=result)


for estimator in ("group_norm", "dr_grpo", "rloo"):
    advantages(estimator, estimator, "equal")
    advantages(estimator, estimator, "shaped", kl_coef=0.25)
advantages("group_norm", "group_norm", "noise")
advantages("group_norm", "group_norm", "ones")
with peer.float32():
    advantages("group_norm", "group_norm", "constant", "float32")
# Whitening casts to float32.
for estimator in ("reinforce", "reinforce_baseline"):
    advantages(estimator, estimator, "equal", "float32")
    advantages(estimator, estimator, "shaped", "float32", kl_coef=0.25)
advantages("reinforce-gamma-0.9", "reinforce", "equal", "float32", gamma=0.9)

# Losses.


def loss(name, batch_name="step", adv="adv", counts=None, kl=None, entropy_coef=0.0, dtype="float64", **options):
    b = data["losses"][batch_name]
    t = {k: torch.tensor(b[k]) for k in ("logp", "old", "ref", "rollout", "entropy", adv)}
    mask = torch.tensor(b["mask"])
    logp, entropy = t["logp"].requires_grad_(), t["entropy"].requires_grad_()
    a = t[adv] if adv == "adv" else t[adv].unsqueeze(1).expand_as(logp)
    counts = {"batch_num_tokens": mask.sum(), "global_batch_size": len(mask)} if counts else {}
    fn = PolicyLoss(**options)
    value, *_ = fn(logp, t["old"], a, mask, t["rollout"], **counts)
    fns = [PolicyLoss.forward, aggregate_loss]
    if kl:
        # As ppo_actor.py's training_step adds it.
        coef = kl.pop("coef")
        value = value + coef * aggregate_loss(compute_approx_kl(logp, t["ref"], t["old"], **kl), mask, **counts)
        fns.append(compute_approx_kl)
    fields = {}
    if entropy_coef:
        value = value - entropy_coef * aggregate_loss(entropy, mask, **counts)
    value.backward()
    if entropy.grad is not None:
        fields["entropy_grad"] = peer.rows(entropy.grad)
    golden.add(
        "losses", name, fns, dtype, batch=batch_name, adv=adv, loss=value.item(), grad=peer.rows(logp.grad), **fields
    )


loss("ppo")
loss("ppo", batch_name="far")
loss("ppo-clip-higher", clip_eps_high=0.28)
loss("ppo-dual-clip", dual_clip=3.0)
loss("ppo-seq-mean", token_level_loss=False)
loss("ppo-seq-mean-global", token_level_loss=False, counts=True)
loss("ppo-kl-entropy", kl={"kl_estimator": "k3", "coef": 0.01}, entropy_coef=0.01, dtype="float32", counts=True)
loss("gspo", policy_loss_type="gspo", clip_eps_low=0.03, clip_eps_high=0.04, adv="row_adv")
loss(
    "gspo-rollout",
    policy_loss_type="gspo",
    clip_eps_low=0.03,
    clip_eps_high=0.04,
    adv="row_adv",
    is_correction_level="token",
)
loss("ppo-token-clip", is_correction_level="token", is_correction_mode="clip")
loss("ppo-token-mask", is_correction_level="token")
loss("ppo-token-mask-narrow", is_correction_level="token", is_correction_threshold=[0.9, 1.25])
loss("ppo-seq-mask", is_correction_level="seq", is_correction_threshold=[0.95, 1.25])

# KL estimators, per token; float32 inside.
for batch_name in ("step", "far"):
    for kind in ("k1", "k2", "k3"):
        for unbiased in (False, True):
            b = data["losses"][batch_name]
            logp = torch.tensor(b["logp"]).requires_grad_()
            value = compute_approx_kl(logp, torch.tensor(b["ref"]), torch.tensor(b["old"]), kind, unbiased)
            value.sum().backward()
            golden.add(
                "kl",
                kind + ("-unbiased" if unbiased else ""),
                compute_approx_kl,
                "float32",
                batch=batch_name,
                value=peer.rows(value),
                grad=peer.rows(logp.grad),
            )

golden.write()
