"""Goldens of TRL 1.16.0; see README.md for how to run it.

TRL's advantages and losses are inside methods of its trainers. They run here on
trainers that were never initialised: the attributes that the methods read are
set to the defaults of the release's own config classes, the model is replaced
by fixed log-probs, and the process is alone.
"""

import collections
import types

import torch
from trl.trainer import grpo_trainer, rloo_trainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.rloo_config import RLOOConfig

import peer

torch.set_default_dtype(torch.float64)
golden = peer.Golden("trl-1.16.0", "trl", "transformers")
data = peer.inputs()

root = peer.location("trl", "trl")
golden.default(
    root / "trainer/grpo_config.py",
    root.parent,
    "GRPOConfig",
    """
    beta epsilon epsilon_high delta loss_type scale_rewards importance_sampling_level entropy_coef
    vespo_k_pos vespo_lambda_pos vespo_k_neg vespo_lambda_neg
    temperature mask_truncated_completions multi_objective_aggregation use_bias_correction_kl
    top_entropy_quantile use_adaptive_entropy entropy_coef_min entropy_coef_max entropy_coef_delta entropy_target
    num_iterations use_vllm vllm_importance_sampling_mode vllm_importance_sampling_clip_max
    vllm_importance_sampling_clip_min
    """,
)


class Alone:
    """Stands in for accelerate's Accelerator in a single process."""

    device = torch.device("cpu")
    num_processes, process_index, sync_gradients = 1, 0, True

    def gather(self, x):
        return x

    gather_for_metrics = gather

    def reduce(self, x, reduction):
        return x

    def pad_across_processes(self, x, dim, pad_index):
        return x


for module in (grpo_trainer, rloo_trainer):
    module.gather = module.gather_object = lambda x: x


def trainer(cls, config_cls, **options):
    """A trainer with the attributes that its __init__ takes from its config."""
    fields = {k: f.default for k, f in config_cls.__dataclass_fields__.items()}
    unknown = set(options) - set(fields)
    assert not unknown, unknown
    args = types.SimpleNamespace(**(fields | options))
    args.steps_per_generation = args.gradient_accumulation_steps = 1
    t = cls.__new__(cls)
    for k, v in vars(args).items():
        if not hasattr(type(t), k):
            setattr(t, k, v)
    t.args = args
    t.accelerator = Alone()
    t.model = torch.nn.Identity()
    t.model.is_gradient_checkpointing = False
    t.epsilon_low = args.epsilon
    t.epsilon_high = args.epsilon_high if args.epsilon_high is not None else args.epsilon
    t.current_gradient_accumulation_steps = 1
    t._entropy_bonus_enabled = getattr(args, "entropy_coef", 0.0) != 0.0 or getattr(args, "use_adaptive_entropy", False)
    t._last_world_entropy, t._entropy_window_stats = float("inf"), None
    t.aux_loss_enabled = False
    t.environment_factories = t.environments = t.tools = t.ref_model = None
    t.pad_to_multiple_of = None
    t._tokenizer = types.SimpleNamespace(pad_token_id=0)
    t._metrics = collections.defaultdict(lambda: collections.defaultdict(list))
    t._logs = collections.defaultdict(list) | {
        "rewards": collections.defaultdict(list),
        "extra": collections.defaultdict(list),
    }
    t._pending_extra_logs, t._pending_metrics = {}, {}
    return t


def generate(t, rewards, ids, weights=None, logps=(), tool_mask=None, sampling=None):
    """Runs the real _generate_and_score_completions on given completions, their
    rewards, and the log-probs that a model would return, in order."""
    n = len(ids)
    t.reward_weights = torch.tensor(weights if weights else [1.0] * len(rewards[0]))
    t.reward_funcs = t.reward_func_names = [f"r{k}" for k in range(len(rewards[0]))]
    scores = torch.tensor([[float("nan") if x is None else x for x in r] for r in rewards])
    # The RLOO trainer's _generate returns fewer things.
    answer = ([[1]] * n, ids, tool_mask, ["a"] * n, sampling, {}, None, None)
    if isinstance(t, rloo_trainer.RLOOTrainer):
        answer = ([[1]] * n, ids, ["a"] * n)
    t._generate = lambda prompts: answer
    t._calculate_rewards = lambda *_: scores
    logps = iter(logps)
    t._get_per_token_logps_and_entropies = lambda *_, **__: (next(logps), None, None)
    return t._generate_and_score_completions([{"prompt": "p"} for _ in range(n)])


def advantages(name, batch_name, cls=grpo_trainer.GRPOTrainer, config_cls=GRPOConfig, dtype="float64", **options):
    b = data["advantages"][batch_name]
    rewards = [r if isinstance(r, list) else [r] for r in peer.flat(b["rewards"])]
    tokens = peer.flat(b["tokens"])
    sizes = {len(g) for g in b["rewards"]}
    assert len(sizes) == 1
    t = trainer(cls, config_cls, num_generations=sizes.pop(), **options)
    logps = []
    if cls is rloo_trainer.RLOOTrainer:
        width = max(tokens)
        shaping = peer.flat(b["shaping"]) if "shaping" in b else [[0.0] * n for n in tokens]
        old = torch.zeros(len(tokens), width)
        # A KL of -shaping/beta per token.
        ref = torch.tensor([[x / t.beta for x in s] + [9.0] * (width - len(s)) for s in shaping]) if t.beta else old
        logps = [old, ref]
        t.ref_model = t.model
    out = generate(t, rewards, [[1] * n for n in tokens], b.get("weights"), logps)
    result = [[a] * n for a, n in zip(out["advantages"].tolist(), tokens)]
    golden.add("advantages", name, cls._generate_and_score_completions, dtype, batch=batch_name, advantages=result)


for b in ("equal", "noise", "ones"):
    advantages("group", b)
with peer.float32():
    advantages("group", "constant", dtype="float32")
advantages("batch", "equal", scale_rewards="batch")
advantages("none", "equal", scale_rewards="none")
advantages("group", "multi")
advantages("batch", "multi", scale_rewards="batch")
advantages("none", "multi", scale_rewards="none")
advantages("normalize_then_sum", "multi", multi_objective_aggregation="normalize_then_sum")
RLOO = {"cls": rloo_trainer.RLOOTrainer, "config_cls": RLOOConfig}
for b in ("equal", "multi", "ones", "shaped"):
    advantages("rloo", b, **RLOO)


def loss(name, batch_name="step", adv="adv", max_completion_length=10, correction=None, **options):
    """Runs the real _compute_loss; with a correction, the importance ratio
    comes from the real _generate_and_score_completions."""
    b = data["losses"][batch_name]
    tensor = {k: torch.tensor(b[k]) for k in ("logp", "old", "ref", "rollout", "entropy", adv)}
    mask = torch.tensor(b["mask"])
    logp, entropy = tensor["logp"].requires_grad_(), tensor["entropy"].requires_grad_()
    if correction:
        options |= {"use_vllm": True} | correction
    t = trainer(grpo_trainer.GRPOTrainer, GRPOConfig, max_completion_length=max_completion_length, **options)
    fns = [grpo_trainer.GRPOTrainer._compute_loss]
    if t.top_entropy_quantile < 1:
        fns.append(grpo_trainer.GRPOTrainer.get_high_entropy_mask)
    inputs = {}
    if correction:
        fns.append(grpo_trainer.GRPOTrainer._generate_and_score_completions)
        # The mask comes in as that of tool tokens, which have gaps too.
        n, width = mask.shape
        t.num_generations = n
        inputs = generate(t, [[0.0]] * n, [[1] * width] * n, None, [tensor["old"]], b["mask"], b["rollout"])
    inputs |= {
        "prompt_ids": torch.ones(len(mask), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(mask), 1, dtype=torch.long),
        "completion_ids": torch.ones_like(mask),
        "completion_mask": mask,
        "advantages": tensor[adv],
        "num_items_in_batch": mask.sum(),
        "old_per_token_logps": tensor["old"],
        "ref_per_token_logps": tensor["ref"],
    }
    t._get_per_token_logps_and_entropies = lambda *_, **__: (logp, entropy, None)
    value = t._compute_loss(t.model, inputs)
    value.backward()
    fields = {}
    if entropy.grad is not None:
        fields["entropy_grad"] = peer.rows(entropy.grad)
    golden.add(
        "losses",
        name,
        fns,
        "float64",
        batch=batch_name,
        adv=adv,
        loss=value.item(),
        grad=peer.rows(logp.grad),
        **fields,
    )


loss("dapo")
loss("dapo-delta", delta=3.0)
loss("dapo-delta-below-high", delta=1.1)
loss("dapo-clip-higher", epsilon_high=0.28)
loss("dapo-beta", beta=0.04)
loss("dapo-beta-no-correction", beta=0.04, use_bias_correction_kl=False)
loss("dapo-entropy", entropy_coef=0.01)
loss("grpo-entropy", loss_type="grpo", entropy_coef=0.01)
for kind in ("grpo", "bnpo", "dr_grpo", "luspo", "sapo"):
    loss(kind, loss_type=kind)
loss("cispo", loss_type="cispo", epsilon_high=1.25)
for batch_name in ("step", "far"):
    loss("vespo", batch_name, loss_type="vespo")
loss("vespo-uniform", loss_type="vespo", adv="row_adv")
loss("vespo-wide", loss_type="vespo", vespo_k_pos=0.5, vespo_lambda_pos=0.25, vespo_k_neg=1.0, vespo_lambda_neg=0.5)
# The product of the ratios to the sampler, if its bounds are wide enough.
WIDE = {"vespo_k_pos": 0.25, "vespo_lambda_pos": 0.125, "vespo_k_neg": 0.5, "vespo_lambda_neg": 0.25}
loss(
    "vespo-sampler",
    loss_type="vespo",
    correction={"vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": 1e9},
    **WIDE,
)
loss("cispo-5", loss_type="cispo", epsilon_high=5.0)
SEQUENCE = {"importance_sampling_level": "sequence", "epsilon": 0.03, "epsilon_high": 0.04, "adv": "row_adv"}
loss("sequence-grpo", loss_type="grpo", **SEQUENCE)
loss("sequence-dapo", **SEQUENCE)
loss("sequence-luspo", loss_type="luspo", **SEQUENCE)
for mode in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"):
    loss(f"dapo-{mode}", correction={"vllm_importance_sampling_mode": mode})
    loss(
        f"dapo-{mode}-bounds",
        correction={
            "vllm_importance_sampling_mode": mode,
            "vllm_importance_sampling_clip_min": 0.75,
            "vllm_importance_sampling_clip_max": 1.75,
        },
    )
# The drift is the one from the sampler's log-probs.
UNCORRECTED = {"vllm_importance_sampling_correction": False}
TRUNCATED = {"vllm_importance_sampling_mode": "token_truncate"}
loss("dapo-off_policy_mask", correction=UNCORRECTED, off_policy_mask_threshold=0.05)
loss("dapo-off_policy_mask-token_truncate", correction=TRUNCATED, off_policy_mask_threshold=0.05)
loss(
    "cispo-off_policy_mask",
    "far",
    correction=UNCORRECTED,
    loss_type="cispo",
    epsilon_high=5.0,
    off_policy_mask_threshold=0.5,
)
# The denominators and the KL keep the tokens of low entropy, and so do a
# sequence's importance weight and drift.
for share in (0.2, 0.5):
    loss(f"dapo-top_entropy-{share}", top_entropy_quantile=share)
loss("grpo-top_entropy-0.2", loss_type="grpo", top_entropy_quantile=0.2)
loss("dapo-top_entropy-0.2-beta", top_entropy_quantile=0.2, beta=0.04)
for mode in ("token_truncate", "sequence_mask"):
    loss(
        f"dapo-top_entropy-0.2-{mode}",
        top_entropy_quantile=0.2,
        correction={"vllm_importance_sampling_mode": mode},
    )


def adaptive(name, entropies, **options):
    """The coefficient over optimiser steps of one trainer whose tokens all have
    the same entropy; that which a step applies is minus the sum of d(loss)/d(entropy)."""
    b = data["losses"]["step"]
    mask = torch.tensor(b["mask"])
    t = trainer(grpo_trainer.GRPOTrainer, GRPOConfig, use_adaptive_entropy=True, **options)
    steps = []
    for h in entropies:
        logp = torch.tensor(b["logp"]).requires_grad_()
        entropy = torch.full_like(logp, h).requires_grad_()
        t._get_per_token_logps_and_entropies = lambda *_, **__: (logp, entropy, None)
        value = t._compute_loss(
            t.model,
            {
                "prompt_ids": torch.ones(len(mask), 1, dtype=torch.long),
                "prompt_mask": torch.ones(len(mask), 1, dtype=torch.long),
                "completion_ids": torch.ones_like(mask),
                "completion_mask": mask,
                "advantages": torch.tensor(b["adv"]),
                "num_items_in_batch": mask.sum(),
            },
        )
        value.backward()
        applied = -entropy.grad.sum().item() if entropy.grad is not None else 0.0
        steps.append({"entropy": h, "applied": applied, "coef": t.entropy_coef})
    golden.add("entropy", name, grpo_trainer.GRPOTrainer._compute_loss, "float64", steps=steps)


adaptive("adaptive", [0.75, 0.375, 0.25, 0.1875, 0.25, 0.125, 0.5, 0.25, 1.0, 1.0, 0.125], entropy_target=0.25)
adaptive(
    "adaptive-bounds",
    [0.25, 0.25, 0.25, 0.25, 0.25, 1.0, 1.0, 1.0, 0.25],
    entropy_target=0.5,
    entropy_coef=0.01,
    entropy_coef_min=0.0075,
    entropy_coef_max=0.03,
    entropy_coef_delta=0.0075,
)

golden.write()
