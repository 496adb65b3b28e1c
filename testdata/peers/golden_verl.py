"""Goldens of verl 0.9.1; see README.md for how to run it."""

import types

import numpy
import torch

import peer

peer.stub("ray", "pylatexenc", "wandb", "peft", "datasets", "accelerate", "pandas", "qwen_vl_utils", "PIL")

from verl.trainer.distillation import losses as distillation  # noqa: E402
from verl.trainer.ppo import core_algos, rollout_corr_helper  # noqa: E402
from verl.workers.config import ActorConfig, DistillationLossConfig, PolicyLossConfig  # noqa: E402
from verl.workers.utils import losses  # noqa: E402

DTYPE = torch.float64
torch.set_default_dtype(DTYPE)
golden = peer.Golden("verl-0.9.1", "verl")
data = peer.inputs()


def config(global_batch_info=None, loss_mode="vanilla", **options):
    policy = {k: options.pop(k) for k in ("dro_beta", "kl_cov_ratio", "ppo_kl_coef") if k in options}
    return ActorConfig(
        strategy="fsdp",
        rollout_n=1,
        use_dynamic_bsz=True,
        policy_loss=PolicyLossConfig(loss_mode=loss_mode, **policy),
        global_batch_info=global_batch_info or {},
        **options,
    )


def algo(**options):
    c = types.SimpleNamespace(**options)
    c.get = lambda name, default=None: getattr(c, name, default)
    return c


root = peer.location("verl", "verl")
golden.default(
    root / "workers/config/actor.py",
    root.parent,
    "ActorConfig",
    """
    clip_ratio_low clip_ratio_high clip_ratio_c loss_agg_mode entropy_coeff tau_pos tau_neg use_kl_loss
    kl_loss_coef kl_loss_type ppo_epochs
    """,
)
golden.default(root / "workers/config/actor.py", root.parent, "PolicyLossConfig", "loss_mode kl_cov_ratio ppo_kl_coef")
golden.default(
    root / "workers/config/distillation.py",
    root.parent,
    "DistillationLossConfig",
    "distillation_loss_coef loss_max_clamp",
)
golden.default(
    root / "trainer/config/algorithm.py",
    root.parent,
    "AlgoConfig",
    "adv_estimator norm_adv_by_std_in_grpo use_kl_in_reward kl_penalty gamma rollout_correction",
)
golden.default(root / "workers/config/rollout.py", root.parent, "RolloutConfig", "temperature")

# Advantages.


def batch(name):
    b = data["advantages"][name]
    tokens = peer.flat(b["tokens"])
    index = numpy.array([f"g{i}" for i, g in enumerate(b["rewards"]) for _ in g], dtype=object)
    width = max(tokens)
    mask = torch.tensor([[1.0] * n + [0.0] * (width - n) for n in tokens])
    return b, tokens, index, mask


def token_rewards(b, tokens, mask):
    """The outcome on the last token, and what there is on every token."""
    r = torch.zeros_like(mask)
    for i, (x, n) in enumerate(zip(peer.flat(b["rewards"]), tokens)):
        r[i, max(n - 1, 0)] = x
    for i, shaping in enumerate(peer.flat(b.get("shaping", []))):
        r[i, : len(shaping)] += torch.tensor(shaping)
    return r


def add_advantages(name, fn, dtype, batch_name, tokens, adv):
    result = [r[:n] for r, n in zip(peer.rows(adv), tokens)]
    golden.add("advantages", name, fn, dtype, batch=batch_name, advantages=result)


def advantages(name, fn, batch_name, dtype="float64", **kwargs):
    b, tokens, index, mask = batch(batch_name)
    adv, _ = fn(token_level_rewards=token_rewards(b, tokens, mask), response_mask=mask, index=index, **kwargs)
    add_advantages(name, fn, dtype, batch_name, tokens, adv)


A = core_algos
for b in ("ragged", "noise"):
    advantages("grpo", A.compute_grpo_outcome_advantage, b)
with peer.float32():
    advantages("grpo", A.compute_grpo_outcome_advantage, "constant", "float32")
advantages("grpo-no-std", A.compute_grpo_outcome_advantage, "ragged", norm_adv_by_std_in_grpo=False)
advantages("grpo_vectorized", A.compute_grpo_vectorized_outcome_advantage, "ragged", "float32")
advantages("grpo_passk", A.compute_grpo_passk_outcome_advantage, "pairs", config=algo(norm_adv_by_std_in_grpo=True))
advantages(
    "grpo_passk-no-std", A.compute_grpo_passk_outcome_advantage, "pairs", config=algo(norm_adv_by_std_in_grpo=False)
)
advantages("rloo", A.compute_rloo_outcome_advantage, "ragged")
advantages("rloo_vectorized", A.compute_rloo_vectorized_outcome_advantage, "ragged")
advantages("opo", A.compute_opo_outcome_advantage, "ragged")
for gamma in (1.0, 0.9):
    advantages(
        f"reinforce_plus_plus-gamma-{gamma}",
        A.compute_reinforce_plus_plus_outcome_advantage,
        "ragged",
        config=algo(gamma=gamma),
    )
advantages("grpo", A.compute_grpo_outcome_advantage, "shaped")
advantages("rloo", A.compute_rloo_outcome_advantage, "shaped")
advantages(
    "reinforce_plus_plus-gamma-0.9", A.compute_reinforce_plus_plus_outcome_advantage, "shaped", config=algo(gamma=0.9)
)
advantages("reinforce_plus_plus_baseline", A.compute_reinforce_plus_plus_baseline_outcome_advantage, "ragged")


def gdpo():
    b, tokens, index, mask = batch("scored")
    keys = [f"k{k}" for k in range(len(b["weights"]))]
    prompts = torch.ones(len(tokens), 1)
    fn = A.compute_gdpo_outcome_advantage
    adv, _ = fn(
        token_level_rewards=torch.zeros_like(mask),
        response_mask=mask,
        index=index,
        config=algo(gdpo_reward_keys=keys, gdpo_reward_weights=b["weights"]),
        non_tensor_batch={key: numpy.array([r[k] for r in peer.flat(b["rewards"])]) for k, key in enumerate(keys)},
        batch={"prompts": prompts, "attention_mask": torch.cat([prompts, mask], 1).long()},
    )
    add_advantages("gdpo", fn, "float32", "scored", tokens, adv)


gdpo()

# Losses.


def tensors(name, adv):
    b = data["losses"][name]
    t = {k: torch.tensor(b[k], dtype=DTYPE) for k in ("logp", "old", "ref", "rollout", "entropy", adv)}
    t["adv"] = t[adv]
    if adv == "row_adv":
        t["adv"] = t["adv"].unsqueeze(1).expand_as(t["logp"])
    t["mask"] = torch.tensor(b["mask"], dtype=DTYPE)
    t["logp"].requires_grad_()
    t["entropy"].requires_grad_()
    return t


def reject(t, rollout_rs, threshold):
    """What rejection leaves of the mask, which is the batch's from then on."""
    return rollout_corr_helper.compute_rollout_rejection_mask(
        t["old"] - t["rollout"], t["mask"], rollout_rs, threshold
    )[0]


def loss(name, fn, mode="token-mean", batch_name="step", adv="adv", weights=None, counts=None, rs=None, **options):
    t = tensors(batch_name, adv)
    is_weights, mask = None, t["mask"]
    fns = [fn, A.agg_loss]
    if weights is not None:
        correction = rollout_corr_helper.compute_rollout_correction_weights
        is_weights, _ = correction(t["old"] - t["rollout"], mask, **weights)
        fns.append(correction)
    if rs:
        mask = reject(t, *rs)
        fns.append(rollout_corr_helper.compute_rollout_rejection_mask)
    if counts:
        counts = {"dp_size": 1, "batch_num_tokens": int(mask.sum()), "global_batch_size": len(mask)} | counts
    value, _ = fn(
        old_log_prob=t["old"],
        log_prob=t["logp"],
        advantages=t["adv"],
        response_mask=mask,
        loss_agg_mode=mode,
        config=config(counts, **options),
        rollout_is_weights=is_weights,
    )
    value.backward()
    golden.add(
        "losses", name, fns, "float64", batch=batch_name, adv=adv, loss=value.item(), grad=peer.rows(t["logp"].grad)
    )


vanilla = A.compute_policy_loss_vanilla
loss("vanilla", vanilla)
loss("vanilla", vanilla, batch_name="far")
loss("vanilla-clip-higher", vanilla, clip_ratio_high=0.28)
for mode in ("token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"):
    loss(f"vanilla-{mode}", vanilla, mode)
    loss(f"vanilla-{mode}-global", vanilla, mode, counts={"loss_scale_factor": 10})
for name, weights in {
    "token-tis": {"rollout_is": "token", "rollout_is_threshold": 2.0},
    "sequence-tis": {"rollout_is": "sequence", "rollout_is_threshold": 2.0},
    "token-icepop": {"rollout_is": "token", "rollout_is_threshold": "0.5_2.0"},
    "sequence-icepop": {"rollout_is": "sequence", "rollout_is_threshold": "0.5_2.0"},
}.items():
    loss(f"vanilla-{name}", vanilla, weights=weights)
for name, rs in {
    "token_k1": ("token_k1", "0.75_1.5"),
    "token_k3": ("token_k3", 0.0078125),
    "seq_sum_k1": ("seq_sum_k1", "0.5_2.0"),
    "seq_sum_k2": ("seq_sum_k2", 0.25),
    "seq_mean_k1": ("seq_mean_k1", "0.9_1.02"),
    "seq_mean_k3": ("seq_mean_k3", 0.05),
    "seq_max_k2": ("seq_max_k2", 0.25),
    "seq_max_k2-token_k1": ("seq_max_k2,token_k1", "0.375,0.9_1.5"),
}.items():
    loss(f"vanilla-rs-{name}", vanilla, rs=rs)
    loss(f"vanilla-rs-{name}-seq-mean", vanilla, "seq-mean-token-mean", counts={"loss_scale_factor": 10}, rs=rs)
# The weights of the correction are those before the rejection.
TIS = {"rollout_is": "sequence", "rollout_is_threshold": 2.0}
loss("vanilla-rs-seq_mean_k3-sequence-tis", vanilla, weights=TIS, rs=("seq_mean_k3", 0.05))
loss("vanilla-far-tis", vanilla, batch_name="far", weights={"rollout_is": "token", "rollout_is_threshold": 1e9})
loss(
    "dppo_tv-far",
    A.compute_policy_loss_dppo_tv,
    batch_name="far",
    clip_ratio_low=2.0,
    clip_ratio_high=2.0,
    clip_ratio_c=1e9,
)
loss("gspo", A.compute_policy_loss_gspo, "seq-mean-token-mean", clip_ratio_low=0.03, clip_ratio_high=0.04)
loss(
    "gspo-uniform",
    A.compute_policy_loss_gspo,
    "seq-mean-token-mean",
    adv="row_adv",
    clip_ratio_low=0.03,
    clip_ratio_high=0.04,
)
loss("gspo-token-mean", A.compute_policy_loss_gspo, clip_ratio_low=0.03, clip_ratio_high=0.04)
for batch_name in ("step", "far"):
    loss("cispo", A.compute_policy_loss_cispo, batch_name=batch_name)
    loss("sapo", A.compute_policy_loss_sapo, batch_name=batch_name)
loss("cispo-wide", A.compute_policy_loss_cispo, clip_ratio_low=1.0, clip_ratio_high=1.5)
for kind in ("tv", "kl"):
    fn = getattr(A, f"compute_policy_loss_dppo_{kind}")
    loss(f"dppo_{kind}", fn, clip_ratio_low=0.2, clip_ratio_high=0.15)
    loss(f"dppo_{kind}-c-20", fn, clip_ratio_low=0.05, clip_ratio_high=0.05, clip_ratio_c=20.0)
loss("dro", A.compute_policy_loss_dro, dro_beta=0.05)
loss("gpg", A.compute_policy_loss_gpg)
kl_cov = A.compute_policy_loss_kl_cov
loss("kl_cov", kl_cov)
loss("kl_cov-0.25", kl_cov, kl_cov_ratio=0.25, ppo_kl_coef=0.5)
loss("kl_cov-0.25-seq-mean", kl_cov, "seq-mean-token-mean", kl_cov_ratio=0.25, ppo_kl_coef=0.5)
loss(
    "kl_cov-0.25-token-tis",
    kl_cov,
    kl_cov_ratio=0.25,
    ppo_kl_coef=0.5,
    weights={"rollout_is": "token", "rollout_is_threshold": 2.0},
)


def bypass(name, weights):
    """REINFORCE with the current policy's weight against the rollout."""
    t = tensors("step", "adv")
    correction = rollout_corr_helper.compute_rollout_correction_weights
    is_weights, _ = correction((t["logp"] - t["rollout"]).detach(), t["mask"], **weights)
    fn = A.compute_policy_loss_reinforce
    value, _ = fn(t["rollout"], t["logp"], t["adv"], t["mask"], "token-mean", config(), is_weights)
    value.backward()
    golden.add(
        "losses",
        name,
        [fn, correction],
        "float64",
        batch="step",
        adv="adv",
        loss=value.item(),
        grad=peer.rows(t["logp"].grad),
    )


bypass("bypass-reinforce-token-tis", {"rollout_is": "token", "rollout_is_threshold": 2.0})


losses.no_padding_2_padding = distillation.no_padding_2_padding = lambda x, _: x


class Data(dict):
    """A micro-batch, which is all of the step. The teacher is the reference."""

    def __init__(self, t):
        super().__init__(
            response_mask=t["mask"],
            old_log_probs=t["old"],
            advantages=t["adv"],
            ref_log_prob=t["ref"],
            teacher_logprobs=t["ref"].unsqueeze(-1),
            dp_size=1,
            batch_num_tokens=int(t["mask"].sum()),
            global_batch_size=len(t["mask"]),
        )

    def select(self, *_):
        return self

    def to_padded_tensor(self):
        return self


def whole(name, rs=None, **options):
    """The actor's whole loss: policy, entropy and KL, as in training."""
    t = tensors("step", "adv")
    if rs:
        t["mask"] = reject(t, *rs)
    batch = Data(t)
    value, _ = losses.ppo_loss(config(**options), {"log_probs": t["logp"], "entropy": t["entropy"]}, batch)
    value.backward()
    golden.add(
        "losses",
        name,
        [losses.ppo_loss, vanilla] + [rollout_corr_helper.compute_rollout_rejection_mask] * bool(rs),
        "float64",
        batch="step",
        adv="adv",
        loss=value.item(),
        grad=peer.rows(t["logp"].grad),
        entropy_grad=peer.rows(t["entropy"].grad),
    )


whole("ppo_loss", entropy_coeff=0.01, use_kl_loss=True)
whole(
    "ppo_loss-seq-mean",
    entropy_coeff=0.01,
    use_kl_loss=True,
    kl_loss_coef=0.5,
    kl_loss_type="k3+",
    loss_agg_mode="seq-mean-token-mean",
)
whole("ppo_loss-rs-token_k1", ("token_k1", "0.75_1.5"), entropy_coeff=0.01, use_kl_loss=True)



def distill(name, batch_name="step", fresh=False, **options):
    """The loss of distillation alone; if fresh, the policy is still the old one."""
    t = tensors(batch_name, "adv")
    logp = t["old"].clone().requires_grad_() if fresh else t["logp"]
    settings = types.SimpleNamespace(distillation_loss=DistillationLossConfig(**options))
    value, _ = distillation.distillation_loss(config(), settings, {"log_probs": logp}, Data(t))
    value.backward()
    golden.add(
        "losses",
        name,
        [distillation.distillation_loss, distillation.compute_distillation_loss_reverse_kl_estimator],
        "float64",
        batch=batch_name,
        adv="adv",
        fresh=fresh,
        loss=value.item(),
        grad=peer.rows(logp.grad),
    )


for batch_name in ("step", "far"):
    distill("distill-k1", batch_name, loss_mode="k1")
    distill("distill-k1-fresh", batch_name, fresh=True, loss_mode="k1")
    for kind in ("k2", "abs", "k3"):
        distill(f"distill-{kind}-supervised", batch_name, loss_mode=kind, use_policy_gradient=False)
distill("distill-k1-fresh-clamp-0.25", fresh=True, loss_mode="k1", loss_max_clamp=0.25)
distill("distill-k1-fresh-no-clamp", "far", fresh=True, loss_mode="k1", loss_max_clamp=None)

# KL estimators, per token.
for batch_name in ("step", "far"):
    for kind in ("k1", "abs", "k2", "low_var_kl", "k1+", "k3+"):
        t = tensors(batch_name, "adv")
        value = A.kl_penalty(t["logp"], t["ref"], kind)
        value.sum().backward()
        golden.add(
            "kl",
            kind,
            A.kl_penalty,
            "float64",
            batch=batch_name,
            value=peer.rows(value),
            grad=peer.rows(t["logp"].grad),
        )

golden.write()
