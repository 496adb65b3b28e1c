"""Writes inputs.json, the batches that every peer is run on.

    python inputs.py

Numbers are short decimals, so that float32 and float64 runs see nearly the
same ones. Padded and masked positions hold ordinary numbers here; the Go tests
put NaN there.
"""

import json
import pathlib

# Groups of four, for peers that reshape to (prompts, samples). Rewards per
# group and the number of tokens of each completion.
EQUAL = {
    "rewards": [
        [0.25, 1.0, 0.5, 1.0],
        [1.0, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.5, 0.5],
        [-1.0, -2.0, 0.5, -0.5],
        [3.0, 2.75, 4.5, 0.125],
    ],
    "tokens": [[3, 5, 2, 4], [1, 6, 2, 3], [4, 4, 1, 2], [5, 3, 3, 2], [2, 7, 1, 4]],
}
# Groups of any size: a pair, a singleton, a singleton of reward 0, and a group
# in which a completion has no live token.
RAGGED = {
    "rewards": EQUAL["rewards"] + [[0.75, 0.25], [0.7], [0.0], [2.0, 1.0, 0.25]],
    "tokens": EQUAL["tokens"] + [[2, 3], [4], [2], [3, 0, 2]],
}
# The same without singletons, for estimators that refuse them.
PAIRS = {
    "rewards": RAGGED["rewards"][:6] + RAGGED["rewards"][8:],
    "tokens": RAGGED["tokens"][:6] + RAGGED["tokens"][8:],
}
# Singletons alone: groups of one.
ONES = {"rewards": [[0.7], [0.0], [-1.5]], "tokens": [[3], [2], [4]]}
# A constant group whose float64 rewards differ by rounding, beside a live one.
NOISE = {
    "rewards": [[0.3, 0.1 + 0.2, 0.3, 0.6 - 0.3], [1.0, 0.0, 0.0, 0.0]],
    "tokens": [[3, 2, 4, 1], [2, 2, 3, 1]],
}
# Equal rewards, for a run in float32, whose mean over seven is not the reward.
CONSTANT = {"rewards": [[0.3] * 7], "tokens": [[1] * 7]}
# Groups for a penalty on length: mixed, all right, all wrong, a single length, a singleton.
LENGTHS = {
    "rewards": [[1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.5, 0.25], [1.0, 1.0], [0.7]],
    "tokens": [[3, 7, 2, 1], [2, 5, 5], [1, 4, 2], [6, 1], [3, 3], [4]],
}
# Two rewards per completion; null is unscorable. Group 1 has a completion that
# no reward could judge and one that only the second could, group 2 a single
# completion that anything could judge, group 3 two constant rewards.
MULTI = {
    "weights": [1.0, 0.5],
    "rewards": [
        [[1.0, 0.25], [0.0, 0.5], [1.0, 0.75], [0.0, 0.0]],
        [[1.0, 0.5], [None, None], [None, 0.25], [0.0, 1.0]],
        [[None, None], [0.5, 0.5], [None, None], [None, None]],
        [[1.0, 0.5], [1.0, 0.5], [1.0, 0.5], [1.0, 0.5]],
        [[2.0, -1.0], [0.5, 3.0], [1.5, 0.25], [-0.5, 0.0]],
    ],
    "tokens": [[3, 5, 2, 4], [1, 6, 2, 3], [4, 4, 1, 2], [5, 3, 3, 2], [2, 7, 1, 4]],
}
# The same, every completion scorable.
SCORED = {
    "weights": [1.0, 0.5],
    "rewards": [MULTI["rewards"][0], MULTI["rewards"][3], MULTI["rewards"][4], [[0.25, 1.0], [0.75, 1.0]]],
    "tokens": [MULTI["tokens"][0], MULTI["tokens"][3], MULTI["tokens"][4], [2, 3]],
}

# Rewards per token besides the outcome, such as a KL penalty, to be folded in.
SHAPED = {
    "rewards": [EQUAL["rewards"][0], EQUAL["rewards"][2], [0.75, 0.25, 1.0, 0.0]],
    "tokens": [EQUAL["tokens"][0], EQUAL["tokens"][2], [2, 3, 1, 2]],
    "shaping": [
        [[0.125, 0.0, -0.0625], [0.25, -0.5, 0.125, 0.0, 0.0625], [-0.125, -0.25], [0.0, 0.5, -0.375, 0.125]],
        [[0.0625, -0.0625, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0], [-0.125], [0.375, -0.25]],
        [[0.25, 0.125], [-0.5, 0.0625, 0.0], [-0.25], [0.0, -0.125]],
    ],
}

# One optimiser step: three prompts of two samples, eight positions. Old
# log-probs are logp - log-ratio; the log-ratios lie inside the clip range, on
# both of its sides, and beyond a dual clip of 3; every one of them meets
# advantages of both signs.
LOGP = [
    [-0.5, -1.25, -2.0, -0.75, -3.0, -0.25, -2.75, -0.875],
    [-0.25, -0.375, -1.5, -0.75, -2.25, -4.0, -0.125, -0.5],
    [-1.75, -0.625, -0.75, -2.5, -1.0, -1.0, -3.5, -1.125],
    [-0.75, -2.75, -1.0, -0.125, -0.875, -2.0, -0.25, -1.0],
    [-1.5, -0.5, -0.75, -1.25, -2.5, -0.625, -1.75, -0.375],
    [-0.625, -1.0, -3.25, -0.5, -1.375, -0.25, -0.75, -2.0],
]
RATIO = [
    [0.0, 0.125, -0.125, 0.375, -0.5, 1.5, -1.75, 0.1875],
    [0.0625, -0.0625, 0.25, -0.25, 1.25, -2.0, 0.0, 0.5],
    [1.5, 0.5, -0.375, 0.0625, -0.1875, 0.0, 0.25, -0.625],
    [-0.375, 1.75, 0.125, 0.3125, 0.0, -0.3125, 0.75, 0.0],
    [0.25, -0.5, 0.0, 0.125, 1.5, 0.25, -0.25, 0.125],
    [0.03125, -0.09375, 0.0625, -0.03125, 0.15625, -0.125, 0.0, 0.09375],
]
REF = [
    [0.0, -0.25, 0.5, 0.125, -1.0, 0.75, 2.0, -0.375],
    [0.25, -0.5, 0.0, 1.5, -0.125, -2.5, 0.625, 0.25],
    [-0.75, 0.125, 0.375, -0.25, 0.0, 1.0, -1.5, 0.5],
    [0.5, 0.5, -0.125, 0.0, 0.25, -0.5, 0.125, -1.25],
    [0.125, 0.25, -0.375, 0.5, -0.625, 0.75, -0.875, 1.0],
    [-0.0625, 0.125, -0.1875, 0.25, -0.3125, 0.375, -0.4375, 0.5],
]
MISMATCH = [  # old - rollout
    [0.0, 0.03125, -0.0625, 0.125, -0.25, 0.5, -0.75, 0.0],
    [1.0, -0.125, 0.25, 0.75, 0.0, -0.0625, 0.03125, 0.5],
    [-0.875, 0.0625, 0.0, -0.125, 0.25, -0.5, 0.125, 0.0],
    [0.0625, 2.0, 0.25, -0.03125, 0.125, 0.0, 0.0625, -0.125],
    [-0.125, 0.0, 0.0625, 0.03125, -0.03125, 0.25, -0.25, 0.125],
    [0.001953125, -0.00390625, 0.0, 0.0078125, -0.001953125, 0.0, 0.00390625, 0.0],
]
TOKEN_ADV = [
    [1.0, -0.5, 0.75, 1.25, 0.5, 2.0, 1.5, -1.0],
    [-0.75, 0.5, -1.25, -0.25, -2.0, -0.5, 1.0, -1.5],
    [-1.0, 0.25, 0.5, 0.0, -0.75, 1.0, -0.5, 0.625],
    [0.5, -1.5, 0.0, 0.875, -0.25, -1.0, 0.75, 1.0],
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    [-0.5, -0.25, 0.375, 1.0, -0.125, 0.625, 0.25, -0.75],
]
ROW_ADV = [1.25, -0.75, -1.5, 0.5, 1.0, -0.25]
MASK = [
    [1, 1, 1, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 1, 1, 0, 0],
    [1, 1, 0, 0, 1, 1, 1, 0],
    [1, 1, 1, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [1, 1, 1, 1, 1, 1, 1, 1],
]
ENTROPY = [[round(0.25 + 0.125 * ((3 * i + 5 * t) % 11), 6) for t in range(8)] for i in range(6)]

# Log-ratios beyond every clamp, each with both signs of the advantage. One
# token per sequence, so that the huge ones do not hide the others.
FAR = {
    "logp": [[-1.0], [-1.0], [-26.0], [-26.0], [-2.0], [-14.0], [-0.5], [-1.0]],
    "ratio": [[25.0], [25.0], [-25.0], [-25.0], [11.0], [-13.0], [0.125], [0.0]],
    "ref": [[24.0], [-25.0], [21.0], [-21.0], [13.0], [-12.0], [3.0], [-2.25]],
    "mismatch": [[22.0], [-23.0], [0.5], [0.0], [1.0], [-1.0], [-21.0], [0.25]],
    "adv": [[1.0], [-1.0], [1.0], [-1.0], [-0.5], [0.5], [1.0], [-1.0]],
    "row_adv": [1.0, -1.0, 1.0, -1.0, -0.5, 0.5, 1.0, -1.0],
    "mask": [[1]] * 8,
    "prompt": list(range(8)),
    "entropy": [[0.5]] * 8,
}


def minus(a, b):
    return [[x - y for x, y in zip(r, s)] for r, s in zip(a, b)]


def loss(logp, ratio, ref, mismatch, adv, row_adv, mask, prompt, entropy):
    old = minus(logp, ratio)
    return {
        "logp": logp,
        "old": old,
        "ref": minus(logp, ref),
        "rollout": minus(old, mismatch),
        "entropy": entropy,
        "adv": adv,
        "row_adv": row_adv,
        "mask": mask,
        "prompt": prompt,
    }


INPUTS = {
    "advantages": {
        "equal": EQUAL,
        "ragged": RAGGED,
        "pairs": PAIRS,
        "ones": ONES,
        "noise": NOISE,
        "constant": CONSTANT,
        "lengths": LENGTHS,
        "multi": MULTI,
        "scored": SCORED,
        "shaped": SHAPED,
    },
    "losses": {
        "step": loss(LOGP, RATIO, REF, MISMATCH, TOKEN_ADV, ROW_ADV, MASK, [0, 0, 1, 1, 2, 2], ENTROPY),
        "far": loss(**FAR),
    },
}


def main():
    parts = []
    for kind, batches in INPUTS.items():
        body = []
        for name, batch in batches.items():
            fields = ",\n".join(f"   {json.dumps(k)}: {json.dumps(v)}" for k, v in batch.items())
            body.append(f"  {json.dumps(name)}: {{\n{fields}\n  }}")
        parts.append(f" {json.dumps(kind)}: {{\n" + ",\n".join(body) + "\n }")
    path = pathlib.Path(__file__).resolve().parent / "inputs.json"
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
