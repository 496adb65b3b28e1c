"""Times TRL's and verl's own loss functions on the work of BenchmarkObjective.

    python cmd/stepwise/internal/bench/peers/objective.py trl     (trl 1.16.0)
    python cmd/stepwise/internal/bench/peers/objective.py verl    (verl 0.9.1)

in the environments of testdata/peers/README.md, beside

    go test ./cmd/stepwise/internal/bench -run '^$' -bench Objective -count 10

1,024 completions of 1,024 tokens in groups of 8, float32, torch in eager mode
with as many threads as there are cores. Counted are the functions that turn
rewards and log-probs into a loss, and its backward pass down to the log-probs:

  trl   GRPOTrainer._compute_loss (loss_type "dapo"); its advantages are made
        inside a method that also handles texts, and are not counted
  verl  compute_grpo_outcome_advantage, compute_policy_loss_vanilla and, with a
        KL, kl_penalty and agg_loss

Neither has step credit, which BenchmarkObjective also does (its cases outcome/* mask nothing). Each line is the
best and the median of the runs: of the best there is nothing to subtract.
"""

import os
import pathlib
import statistics
import sys
import time
import types

import numpy
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[5] / "testdata" / "peers"))
import peer  # noqa: E402

COMPLETIONS, TOKENS, GROUP, RUNS = 1024, 1024, 8, 30
torch.set_num_threads(len(os.sched_getaffinity(0)))
torch.manual_seed(1)
SHAPE = (COMPLETIONS, TOKENS)
logp = (-2 * torch.rand(SHAPE)).requires_grad_()
old = logp.detach() + 0.1 * torch.randn(SHAPE)
ref = logp.detach() + 0.2 * torch.randn(SHAPE)
rewards = (torch.rand(COMPLETIONS) < 0.5).float()


def trl(beta):
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    fields = {k: f.default for k, f in GRPOConfig.__dataclass_fields__.items()} | {"beta": beta, "max_completion_length": TOKENS}
    args = types.SimpleNamespace(**fields)
    args.steps_per_generation = args.gradient_accumulation_steps = 1
    t = GRPOTrainer.__new__(GRPOTrainer)
    for k, v in vars(args).items():
        if not hasattr(GRPOTrainer, k):
            setattr(t, k, v)
    t.args = args
    t.model = torch.nn.Identity()
    t.accelerator = types.SimpleNamespace(num_processes=1, process_index=0, gather=lambda x: x, device=torch.device("cpu"))
    t.accelerator.reduce = lambda x, reduction: x
    t.epsilon_low = t.epsilon_high = args.epsilon
    t.current_gradient_accumulation_steps = 1
    t._entropy_bonus_enabled = t.aux_loss_enabled = False
    t.tools = None
    metrics = {k: [] for k in ("kl", "entropy", "clip_ratio/low_mean", "clip_ratio/low_min", "clip_ratio/high_mean", "clip_ratio/high_max", "clip_ratio/region_mean")}
    t._metrics = {"train": metrics, "eval": metrics}
    mask = torch.ones(SHAPE, dtype=torch.long)
    entropy = torch.zeros(SHAPE)
    t._get_per_token_logps_and_entropies = lambda *_, **__: (logp, entropy, None)
    inputs = {
        "prompt_ids": torch.ones(COMPLETIONS, 1, dtype=torch.long),
        "prompt_mask": torch.ones(COMPLETIONS, 1, dtype=torch.long),
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": torch.randn(COMPLETIONS),
        "num_items_in_batch": mask.sum(),
        "old_per_token_logps": old,
        "ref_per_token_logps": ref,
    }
    return lambda: t._compute_loss(t.model, inputs).backward()


def verl(beta):
    peer.stub("ray", "pylatexenc", "wandb", "peft", "datasets", "accelerate", "pandas", "qwen_vl_utils", "PIL")
    from verl.trainer.ppo import core_algos as A
    from verl.workers.config import ActorConfig, PolicyLossConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, use_dynamic_bsz=True, policy_loss=PolicyLossConfig(), global_batch_info={})
    mask = torch.ones(SHAPE)
    token_rewards = torch.zeros(SHAPE)
    token_rewards[:, -1] = rewards
    index = numpy.repeat(numpy.arange(COMPLETIONS // GROUP), GROUP)

    def run():
        adv, _ = A.compute_grpo_outcome_advantage(token_rewards, mask, index)
        loss, _ = A.compute_policy_loss_vanilla(old, logp, adv, mask, "token-mean", config)
        if beta:
            kl = A.kl_penalty(logp, ref, "low_var_kl")
            loss = loss + beta * A.agg_loss(kl, mask, "token-mean")
        loss.backward()

    return run


name = sys.argv[1]
for beta in (0.0, 0.04):
    run = {"trl": trl, "verl": verl}[name](beta)
    times = []
    for _ in range(RUNS):
        logp.grad = None
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    best, median = min(times), statistics.median(times)
    label = "ppo+kl" if beta else "ppo"
    print(f"{name:5} {label:7} best {best * 1e3:7.2f} ms {COMPLETIONS * TOKENS / best / 1e6:7.1f} Mtokens/s   median {median * 1e3:7.2f} ms")
