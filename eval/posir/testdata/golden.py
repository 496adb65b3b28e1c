"""Writes the goldens of package eval/posir: what pandas, scipy and trec_eval make
of results that are drawn here.

Run in this folder, with Python 3.11 or later:

    pip install numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 pytrec-eval-terrier==0.5.11
    python golden.py

results.json has two settings in the benchmark's form, with evidence at the ends of
bins and documents at the ends of buckets; metrics.json the ten numbers of each;
curves.json the means of bins, and the trends; trec.json nDCG@10 of runs with ties.
None stands for an undefined value.
"""

import json
import math
import warnings

import numpy as np
import pandas as pd
import pytrec_eval
from scipy import stats

warnings.filterwarnings("ignore")
rng = np.random.default_rng(17)
EDGES = np.linspace(0, 1, 21)
NAMES = ["Q1", "Q2", "Q3", "Q4"]


def defined(x):
    return None if math.isnan(x) else float(x)


def row(start, end, chars, tokens, ndcg):
    return {"pos_char_span": [int(start), int(end)], "pos_char_length": int(chars),
            "pos_token_length": int(tokens), "scores": {"ndcg_cut_10": float(ndcg)}}


def gain():
    rank = min(int(rng.geometric(0.4)), 11)
    return 0.0 if rank > 10 else 1 / math.log2(rank + 1)


def domain(n, edges):
    rows = []
    for _ in range(n):
        chars = int(rng.integers(50, 9000))
        start = int(rng.integers(0, chars))
        rows.append(row(start, min(start + int(rng.integers(1, 80)), chars), chars, max(chars // 4, 1), gain()))
    if edges:
        for tokens in (0, 1, 512, 513, 1024, 1025, 1536, 1537):
            rows.append(row(30, 40, 700, tokens, gain()))
        for middle in range(0, 1001, 50):  # on the edges of bins
            rows.append(row(middle, middle, 1000, 600, gain()))
        rows.append(row(900, 1200, 1000, 600, gain()))  # beyond the end
        rows.append(row(-9, 3, 1000, 600, gain()))  # dropped
        rows.append(row(0, 0, 0, 600, gain()))  # dropped
    order = rng.permutation(len(rows))
    return {"overall_scores": {}, "evaluation_results": {f"{rng.integers(1 << 62):016x}": rows[i] for i in order}}


def frame(setting):
    rows = [r for d in sorted(setting) for r in setting[d]["evaluation_results"].values()]
    return pd.DataFrame({
        "start": [r["pos_char_span"][0] for r in rows], "end": [r["pos_char_span"][1] for r in rows],
        "chars": [r["pos_char_length"] for r in rows], "tokens": [r["pos_token_length"] for r in rows],
        "ndcg": [r["scores"]["ndcg_cut_10"] for r in rows]})


def psi(means):
    return 1 - means.min() / means.max() if len(means) and means.max() > 0 else math.nan


def analyse(setting):
    f = frame(setting)
    metrics = {"nDCG@10": f.ndcg.mean()}
    f["middle"] = (f.start + f.end) / 2
    f = f[(f.chars > 0) & (f.middle >= 0)].copy()
    f["position"] = (f[["middle", "chars"]].min(axis=1) / f.chars).clip(0, 1)
    f["bin"] = pd.cut(f.position, EDGES, include_lowest=True)
    f["bucket"] = pd.cut(f.tokens, [0, 512, 1024, 1536, np.inf], labels=NAMES)
    mean = f.groupby("bin", observed=True).ndcg.agg(["mean", "count"])
    curves = {"bins": [[i.mid, r["mean"], r["count"]] for i, r in mean.iterrows()], "buckets": {}}
    metrics["PSI"] = psi(mean["mean"])
    for name in NAMES:
        m = f[f.bucket == name].groupby("bin", observed=True).ndcg.mean()
        x, y = np.array([i.mid for i in m.index], dtype=float), m.to_numpy()
        metrics[f"nDCG@10({name})"], metrics[f"PSI({name})"] = y.mean() if len(y) else math.nan, psi(y)
        line = stats.linregress(x, y) if len(y) > 1 else None
        curves["buckets"][name] = {k: defined(v) for k, v in {
            "nDCG@10": metrics[f"nDCG@10({name})"], "PSI": metrics[f"PSI({name})"], "n_bins": len(y),
            "slope": line.slope if line else math.nan, "intercept": line.intercept if line else math.nan,
            "r_squared": line.rvalue ** 2 if line else math.nan,
            "pearson_r": stats.pearsonr(x, y)[0] if line else math.nan,
            "spearman_rho": stats.spearmanr(x, y)[0] if line else math.nan,
            "kendall_tau": stats.kendalltau(x, y)[0] if line else math.nan}.items()}
    return {k: defined(v) for k, v in metrics.items()}, curves


def trec():
    cases = []
    for n, k in [(1, 1), (5, 2), (30, 3), (200, 12)]:
        for scale in (1, 3, 40):
            ids = [f"d{i}" for i in rng.permutation(n)] + ["Ω", "a b"[:1]]
            # Some differ in float64 and not in float32.
            scores = rng.integers(0, scale, len(ids)) + rng.integers(0, 3, len(ids)) * 1e-9
            gains = np.zeros(len(ids), int)
            gains[rng.choice(len(ids), k, replace=False)] = rng.integers(1, 4, k)
            missing = {"never retrieved": 2} if k % 2 else {}
            qrel = {i: int(g) for i, g in zip(ids, gains) if g > 0} | missing
            run = {i: float(s) for i, s in zip(ids, scores)}
            value = pytrec_eval.RelevanceEvaluator({"q": qrel}, {"ndcg_cut.10"}).evaluate({"q": run})["q"]["ndcg_cut_10"]
            cases.append({"run": run, "qrel": qrel, "ndcg": value})
    return cases


def write(name, value):
    with open(name, "w") as f:
        json.dump(value, f, separators=(",", ":"))
        f.write("\n")


results = {"eng-eng": {"sports": domain(150, True), "mining": domain(120, False)}, "fra-eng": {"game": domain(25, False)}}
analysed = {name: analyse(s) for name, s in results.items()}
write("results.json", results)
write("metrics.json", {"drawn": {name: m for name, (m, _) in analysed.items()}})
write("curves.json", {name: c for name, (_, c) in analysed.items()})
write("trec.json", trec())
