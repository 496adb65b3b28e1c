"""Runs verl_adapter.py once against verl 0.9.1, from verl's own
compute_advantage to its own loss, and checks the numbers.

    go build -o stepwise ./cmd/stepwise
    python contrib/try_verl.py ./stepwise

in the environment of testdata/peers/README.md.
"""

import pathlib
import sys

import numpy
import torch

root = pathlib.Path(__file__).resolve().parent.parent
sys.path += [str(root / "contrib"), str(root / "testdata" / "peers")]
import peer  # noqa: E402

peer.stub("ray", "wandb", "peft", "datasets", "accelerate", "pandas", "verl.single_controller.ray", "verl.workers.rollout.llm_server", "verl.workers.rollout.utils")

import verl_adapter  # noqa: E402
from verl import DataProto  # noqa: E402
from verl.trainer.ppo import core_algos  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402
from verl.workers.config import ActorConfig, PolicyLossConfig  # noqa: E402

verl_adapter.program = sys.argv[1]
rows = [
    verl_adapter.rewards(1.0, 6, [(2, "correct"), (4, "incorrect")]),
    verl_adapter.rewards(0.0, 5, [(2, "correct"), (4, "incorrect")]),
]
mask = torch.tensor([[1.0] * 6, [1.0] * 5 + [0.0]])
data = DataProto.from_dict(
    tensors={"token_level_rewards": torch.tensor([r + [0.0] * (6 - len(r)) for r in rows]), "response_mask": mask},
    non_tensors={"uid": numpy.array(["a", "a"], dtype=object)},
)
data = compute_advantage(data, "stepwise")
a = 0.5 / (0.5**0.5 + 1e-6)
want = torch.tensor([[a, a, 0, 0, a, a], [0, 0, -a, -a, -a, 0]])
torch.testing.assert_close(data.batch["advantages"], want)

logp = torch.full((2, 6), -1.0, requires_grad=True)
config = ActorConfig(strategy="fsdp", rollout_n=2, use_dynamic_bsz=True, policy_loss=PolicyLossConfig(), global_batch_info={})
loss, _ = core_algos.compute_policy_loss_vanilla(logp.detach(), logp, data.batch["advantages"], mask, "token-mean", config)
loss.backward()
torch.testing.assert_close(logp.grad, -want / 11)
print("ok: verl trains on", data.batch["advantages"].tolist())
