"""Step credit as an advantage estimator of verl (0.9.1).

Import this module in the trainer's process and set

    algorithm.adv_estimator=stepwise

An estimator of verl sees token-level rewards, the response mask and the ids of
the groups, and nothing else. So the judged steps travel as token-level rewards:
the outcome on the last token, as everywhere in verl, and a mark on the last
token of every step before it. The reward function makes such a row with
`rewards`.

 - A step ends at its mark and begins after the one before. What follows the
   last mark, up to the end, is the final step, which keeps the outcome's
   advantage.
 - KL belongs in the loss (use_kl_loss), not in the reward, where verl would add
   it to the marks. Logged scores contain the marks.
 - A masked token has advantage 0 and stays in verl's denominators.
"""

import parity
import torch
from verl.trainer.ppo.core_algos import register_adv_est

MARKS = {"correct": 1.0, "incorrect": -1.0, "unknown": 2.0}
VERDICTS = {mark: verdict for verdict, mark in MARKS.items()}

stepwise_config = {"credit": {"kind": "mask"}}  # what to change in the settings of the preset verl-0.9.1
program = "stepwise"


def rewards(outcome, tokens, steps):
    """The token-level rewards of a response of the given length. steps is a
    list of (end, verdict), end exclusive, in order and before the last token."""
    row = [0.0] * tokens
    for end, verdict in steps:
        if not 0 < end < tokens or row[end - 1]:
            raise ValueError(f"a step ends at token {end} of {tokens}, want each before the last token and once")
        row[end - 1] = MARKS[verdict]
    row[-1] = outcome
    return row


def completion(row):
    """A completion as the format has it, of the token-level rewards."""
    if not row:
        return {"reward": None, "tokens": 0}
    steps, start = [], 0
    for t, mark in enumerate(row[:-1]):
        if mark:
            steps.append({"name": str(len(steps)), "start": start, "end": t + 1, "verdict": VERDICTS[mark]})
            start = t + 1
    steps.append({"name": "final", "start": start, "end": len(row), "verdict": "unknown"})
    return {"reward": row[-1], "tokens": len(row), "steps": steps}


@register_adv_est("stepwise")
def compute_stepwise_advantage(token_level_rewards, response_mask, index, config=None, **_):
    """Returns advantages and returns, both (batch, response length)."""
    where = {}  # rows of each group
    for i, group in enumerate(index):
        where.setdefault(group, []).append(i)
    included = response_mask.bool()
    groups = [[completion(token_level_rewards[i][included[i]].tolist()) for i in rows] for rows in where.values()]
    results = iter(parity.advantages(groups, "verl-0.9.1", stepwise_config, program))
    advantages = torch.zeros_like(token_level_rewards)
    for i in (i for rows in where.values() for i in rows):
        advantages[i, included[i]] = advantages.new_tensor(next(results)["advantages"])
    return advantages, advantages
