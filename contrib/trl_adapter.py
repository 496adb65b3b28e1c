"""Step credit for TRL's GRPOTrainer (trl 1.16.0).

The trainer computes one advantage per completion; this subclass replaces it by
one per token, which TRL's loss accepts from subclasses. Rewards, grouping,
loss and logging stay TRL's.
"""

import math

import parity
import torch
from accelerate.utils import gather_object
from torch.nn.functional import pad
from trl import GRPOTrainer


class StepwiseGRPOTrainer(GRPOTrainer):
    """GRPOTrainer with two more arguments.

    judge(example, completion_ids) returns the judged steps of a completion, a
    list of {"name", "start", "end", "verdict"} with token indices; it may
    return a dict with "steps" and also "malformed" and "final".
    stepwise_config is what to change in the settings of the preset trl-1.16,
    TRL's own numbers; by default it adds Stepwise Advantage Masking.

    A masked token has advantage 0 and stays in TRL's denominators and in its
    KL term: TRL has no setting for it.
    """

    def __init__(self, *args, judge, stepwise_config={"credit": {"kind": "mask"}}, stepwise_program="stepwise", **kwargs):
        self.judge, self.stepwise_config, self.stepwise_program = judge, stepwise_config, stepwise_program
        super().__init__(*args, **kwargs)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        judged = []
        for example, ids in zip(inputs, completion_ids_list):
            steps = self.judge(example, list(ids))
            judged.append({"tokens": len(ids)} | (steps if isinstance(steps, dict) else {"steps": steps}))
        self._judged = gather_object(judged)  # of all processes, in the order of rewards
        for c, row in zip(self._judged, rewards.tolist()):
            c["reward"] = {name: none(x) for name, x in zip(self._reward_names(), row)}
        return rewards

    def _generate_and_score_completions(self, inputs):
        out = super()._generate_and_score_completions(inputs)
        n = self.num_generations if self.model.training else self.num_generations_eval
        groups = [self._judged[i : i + n] for i in range(0, len(self._judged), n)]
        weights = dict(zip(self._reward_names(), self.reward_weights.tolist()))
        results = parity.advantages(groups, "trl-1.16", self.stepwise_config | {"weights": weights}, self.stepwise_program)
        old, width = out["advantages"], out["completion_ids"].size(1)
        first = self.accelerator.process_index * len(old)
        rows = [old.new_tensor(r["advantages"]) for r in results[first : first + len(old)]]
        out["advantages"] = torch.stack([pad(r, (0, width - len(r))) for r in rows])
        return out

    def _reward_names(self):
        """Names that are unique, as those of functions may not be."""
        return [f"r{k}" for k in range(len(self.reward_funcs))]


def none(x):
    """An unscorable reward, NaN in TRL, is null in the format."""
    return None if math.isnan(x) else x
