"""Asks the program `stepwise parity advantages` for per-token advantages.

docs/parity-format.md describes the lines. The program is built with

    go build -o stepwise ./cmd/stepwise
"""

import json
import subprocess


def advantages(groups, flags=(), program="stepwise"):
    """groups is a list of groups, each a list of completions as the format
    has them. Returns, for every completion in order, its result: a dict with
    scalar, advantages and keep. All groups are one batch."""
    lines = "".join(json.dumps({"id": str(i), "completions": g}, allow_nan=False) + "\n" for i, g in enumerate(groups))
    run = subprocess.run([program, "parity", "advantages", *flags], input=lines, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip())
    results = []
    for line in run.stdout.splitlines():
        g = json.loads(line)
        rows = zip(g["scalar"], g["advantages"], g["keep"])
        results += [{"scalar": s, "advantages": a, "keep": k} for s, a, k in rows]
    return results
