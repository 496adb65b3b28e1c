"""Goldens of SkyRL 0.4.0; see README.md for how to run it.

Ratios go through float32 inside (safe_exp_delta), KL estimators do not.
"""

import dataclasses

import numpy
import torch

import peer

peer.stub(
    "ray",
    "omegaconf",
    "hydra",
    "vllm",
    "peft",
    "tensordict",
    "fastapi",
    "flash_attn",
    "cloudpickle",
    "jaxtyping",
    "skyrl_gym",
)
import ray  # noqa: E402

ray.is_initialized = lambda: False
root = peer.location("skyrl", "skyrl")
for name in ("backends", "backends.skyrl_train", "backends.skyrl_train.utils", "train", "train.config"):
    peer.package(f"skyrl.{name}", root / name.replace(".", "/"))

import skyrl.train.config as package  # noqa: E402
from skyrl.train.config import config as settings  # noqa: E402

package.AlgorithmConfig = settings.AlgorithmConfig

from skyrl.backends.skyrl_train.utils import off_policy_correction_utils as correction  # noqa: E402
from skyrl.backends.skyrl_train.utils import ppo_utils as P  # noqa: E402
from skyrl.backends.skyrl_train.utils.torch_utils import masked_mean  # noqa: E402

torch.set_default_dtype(torch.float64)
golden = peer.Golden("skyrl-0.4.0", "skyrl")
data = peer.inputs()

settings_file = root / "train/config/config.py"
golden.default(
    settings_file,
    root.parent,
    "AlgorithmConfig",
    """
    advantage_estimator grpo_norm_by_std kl_estimator_type use_kl_in_reward use_kl_loss kl_loss_coef
    use_entropy_loss policy_loss_type loss_reduction eps_clip_low eps_clip_high clip_ratio_c
    zero_variance_filter
    """,
)
golden.default(settings_file, root.parent, "OffPolicyCorrectionConfig", "tis_ratio_type sequence_mask_metric")
golden.default(settings_file, root.parent, "GeneratorConfig", "apply_overlong_filtering")
golden.default(settings_file, root.parent, "SamplingParams", "temperature")

# Advantages.


def advantages(name, fn, batch_name, dtype="float64", **kwargs):
    b = data["advantages"][batch_name]
    rewards, tokens = peer.flat(b["rewards"]), peer.flat(b["tokens"])
    width = max(tokens)
    mask = torch.tensor([[1.0] * n + [0.0] * (width - n) for n in tokens])
    index = numpy.array([i for i, g in enumerate(b["rewards"]) for _ in g])
    r = torch.zeros_like(mask)
    for i, (x, n) in enumerate(zip(rewards, tokens)):
        r[i, max(n - 1, 0)] = x
    for i, s in enumerate(peer.flat(b.get("shaping", []))):
        r[i, : len(s)] += torch.tensor(s)
    adv, _ = fn(token_level_rewards=r, response_mask=mask, index=index, **kwargs)
    result = [x[:n] for x, n in zip(peer.rows(adv), tokens)]
    golden.add("advantages", name, fn, dtype, batch=batch_name, advantages=result)


for b in ("ragged", "noise", "shaped"):
    advantages("grpo", P.compute_grpo_outcome_advantage, b)
with peer.float32():
    advantages("grpo", P.compute_grpo_outcome_advantage, "constant", "float32")
advantages("grpo-no-std", P.compute_grpo_outcome_advantage, "ragged", grpo_norm_by_std=False)
advantages("rloo", P.compute_rloo_outcome_advantage, "ragged")
advantages("maxrl", P.compute_maxrl_advantage, "ragged")
for b in ("ragged", "shaped"):
    advantages("reinforce++", P.compute_reinforce_plus_plus_outcome_advantage, b, gamma=1.0)
    advantages("reinforce++-gamma-0.9", P.compute_reinforce_plus_plus_outcome_advantage, b, gamma=0.9)

# Losses.


def loss(
    name,
    fn=P.ppo_policy_loss,
    reduction="token_mean",
    batch_name="step",
    adv="adv",
    rollout=False,
    kl=None,
    dtype="float32",
    off=None,
    **options,
):
    b = data["losses"][batch_name]
    t = {k: torch.tensor(b[k]) for k in ("logp", "old", "ref", "rollout", adv)}
    mask = torch.tensor(b["mask"], dtype=torch.float64)
    logp = t["logp"].requires_grad_()
    a = t[adv] if adv == "adv" else t[adv].unsqueeze(1).expand_as(logp)
    prompts, bounds = b["prompt"], []
    for p in sorted(set(prompts)):
        first = prompts.index(p)
        bounds.append((first, first + prompts.count(p)))
    fns = [fn]
    if reduction != "sum":
        reduce = P.apply_loss_reduction_to_advantages_minibatch
        a = reduce(a, mask, reduction, micro_batch_size=len(mask), max_seq_len=10, prompt_boundaries=bounds)
        fns.append(reduce)
    config = dataclasses.replace(settings.AlgorithmConfig(), loss_reduction=reduction, **options)
    if off:
        config.off_policy_correction = dataclasses.replace(config.off_policy_correction, **off)
        fns.append(correction.apply_off_policy_correction)
    value, _ = fn(logp, t["old"], a, config, mask, t["rollout"] if rollout or off else None)
    if kl:
        # As worker.py adds it, with one micro-batch.
        value = (
            value + kl["coef"] * masked_mean(P.compute_approx_kl(logp, t["ref"], mask, kl["kind"]), mask, dim=-1).mean()
        )
        fns += [P.compute_approx_kl, masked_mean]
    value.backward()
    golden.add("losses", name, fns, dtype, batch=batch_name, adv=adv, loss=value.item(), grad=peer.rows(logp.grad))


for reduction in ("token_mean", "sequence_mean", "seq_mean_token_sum_norm", "prompt_mean"):
    loss(f"regular-{reduction}", reduction=reduction)
loss("regular-token_mean", batch_name="far")
loss("regular-kl", kl={"kind": "k3", "coef": 0.001})
loss("regular-kl-big", kl={"kind": "k3", "coef": 0.5})
loss("dual_clip", policy_loss_type="dual_clip")
GSPO = {"eps_clip_low": 0.03, "eps_clip_high": 0.04, "dtype": "float64", "fn": P.gspo_policy_loss}
loss("gspo", reduction="sequence_mean", **GSPO)
loss("gspo-uniform", reduction="sequence_mean", adv="row_adv", **GSPO)
for batch_name in ("step", "far"):
    loss("sapo", P.sapo_policy_loss, "sequence_mean", batch_name, dtype="float64")
    loss("cispo", P.compute_policy_loss_cispo, batch_name=batch_name)
loss(
    "cispo-narrow",
    P.compute_policy_loss_cispo,
    cispo=settings.CISPOConfig(cispo_eps_clip_low=0.2, cispo_eps_clip_high=0.25),
)
loss("cispo-rollout", P.compute_policy_loss_cispo, rollout=True, cispo=settings.CISPOConfig(cispo_anchor="rollout"))
loss("rollout_is", P.rollout_is_policy_loss, rollout=True)
loss("dppo-tv", P.dppo_policy_loss, rollout=True, dppo=settings.DPPOConfig(delta_low=0.2, delta_high=0.15))
loss("dppo-tv-old", P.dppo_policy_loss, dppo=settings.DPPOConfig())
loss("dppo-tv-far", P.dppo_policy_loss, batch_name="far", dppo=settings.DPPOConfig(delta_low=2.0, delta_high=2.0))
loss("dppo-kl", P.dppo_policy_loss, rollout=True, dppo=settings.DPPOConfig("binary_kl", 0.05, 0.05))
loss("importance_sampling", P.importance_sampling_loss, "sum", dtype="float64")
for name, off in {
    "token-tis": {"tis_ratio_type": "token"},
    "sequence-tis": {"tis_ratio_type": "sequence"},
    "geometric": {"sequence_mask_metric": "geometric", "geo_mask_low": 0.95, "geo_mask_high": 1.25},
    "product": {"sequence_mask_metric": "product"},
    "token-mask": {"token_mask_is_threshold_low": 0.75, "token_mask_is_threshold_high": 1.5},
    "token-mask-tis-product": {
        "token_mask_is_threshold_low": 0.75,
        "token_mask_is_threshold_high": 2.5,
        "tis_ratio_type": "sequence",
        "sequence_tis_ratio_clip_high": 2.0,
        "sequence_mask_metric": "product",
        "product_mask_high": 2.5,
    },
}.items():
    loss(f"regular-{name}", off=off)

# KL estimators, per token.
for batch_name in ("step", "far"):
    for kind in ("k1", "abs", "k2", "k3"):
        b = data["losses"][batch_name]
        logp = torch.tensor(b["logp"]).requires_grad_()
        value = P.compute_approx_kl(logp, torch.tensor(b["ref"]), None, kind)
        value.sum().backward()
        golden.add(
            "kl",
            kind,
            P.compute_approx_kl,
            "float64",
            batch=batch_name,
            value=peer.rows(value),
            grad=peer.rows(logp.grad),
        )

golden.write()
