"""Asks the program `stepwise parity advantages` for per-token advantages.

docs/parity-format.md describes the lines. The program is built with

    go build -o stepwise ./cmd/stepwise
"""

import json
import subprocess


def advantages(groups, preset, config, program="stepwise"):
    """groups is a list of groups, each a list of completions as the format
    has them; config is a dict of settings to change in the preset. Returns,
    for every completion in order, its result: a dict with scalar, advantages
    and keep. All groups are one batch."""
    settings = ["-preset", preset, "-config", json.dumps(config, allow_nan=False)]
    lines = "".join(json.dumps({"id": str(i), "completions": g}, allow_nan=False) + "\n" for i, g in enumerate(groups))
    run = subprocess.run([program, "parity", "advantages", *settings], input=lines, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip())
    results = []
    for line in run.stdout.splitlines():
        g = json.loads(line)
        rows = zip(g["scalar"], g["advantages"], g["keep"])
        results += [{"scalar": s, "advantages": a, "keep": k} for s, a, k in rows]
    return results
