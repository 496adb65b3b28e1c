"""Writes golden.json: the metrics of package eval as other programs compute them.

Run in this folder, with Python 3.11 or later:

    pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
    python golden.py

Classification, agreement, AUC and nDCG are scikit-learn's, bootstrap intervals
scipy's; pass@k is counted with exact fractions. None stands for an undefined
value, which package eval says is NaN.
"""

import json
import math
import warnings
from fractions import Fraction

import numpy as np
from scipy.stats import bootstrap
from sklearn import metrics

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20)


def defined(x):
    return None if math.isnan(x) else float(x)


def labels():
    cases = []
    scales = [([-1, 0, 1, 2, 3], 200), ([-1, 0, 1, 2, 3], 12), ([0, 1], 50), ([-7, 4, 1000], 40), ([0, 3], 30), ([2], 5)]
    for scale, n in scales:
        gold = rng.choice(scale, n)
        noise = rng.choice(scale, n)
        pred = np.where(rng.random(n) < 0.6, gold, noise)
        cut = scale[len(scale) // 2]
        used = sorted(set(gold) | set(pred))
        # Every integer on the scale gets a row, so that scikit-learn's
        # distances between rows are those between labels.
        rows = list(range(min(used), max(used) + 1))
        cases.append({
            "gold": gold.tolist(),
            "pred": pred.tolist(),
            "cut": cut,
            "accuracy": metrics.accuracy_score(gold, pred),
            "binary_accuracy": metrics.accuracy_score(gold >= cut, pred >= cut),
            "labels": [int(x) for x in used],
            "f1": metrics.f1_score(gold, pred, labels=used, average=None).tolist(),
            "macro_f1": metrics.f1_score(gold, pred, average="macro"),
            # Over given labels, one of which occurs nowhere.
            "macro_f1_labels": [int(x) for x in scale] + [99],
            "macro_f1_over_labels": metrics.f1_score(gold, pred, labels=scale + [99], average="macro", zero_division=np.nan),
            "kappa": defined(metrics.cohen_kappa_score(gold, pred, weights="quadratic", labels=rows)) if len(rows) > 1 else None,
            "confusion": metrics.confusion_matrix(gold, pred).tolist(),
        })
    return cases


def auc():
    cases = []
    for n, levels in [(100, None), (100, 5), (30, 2), (7, 1), (1000, 40)]:
        positive = rng.random(n) < 0.3
        positive[:2] = [True, False]
        score = rng.normal(size=n) + positive
        if levels:
            score = np.round(score * levels / 4)
        if levels == 1:
            score[:] = 1.5
        cases.append({
            "score": score.tolist(),
            "positive": positive.tolist(),
            "auc": metrics.roc_auc_score(positive, score),
        })
    return cases


def ndcg():
    cases = []
    for n, k, levels in [(20, 10, None), (20, 0, None), (20, 5, 4), (5, 10, 2), (50, 10, 1), (3, 1, None), (6, 3, 3)]:
        gain = rng.choice([0, 1, 3, 7], n).astype(float)
        gain[0] = 3
        score = rng.normal(size=n) + gain / 4
        if levels:
            score = np.round(score * levels / 3)
        cases.append({
            "score": score.tolist(),
            "gain": gain.tolist(),
            "k": k,
            "ndcg": metrics.ndcg_score([gain], [score], k=k or None),
        })
    return cases


def pass_at_k():
    cases = []
    for n, c, k in [(1, 0, 1), (1, 1, 1), (10, 3, 1), (10, 3, 5), (10, 3, 8), (200, 1, 100), (1000, 17, 100), (2000, 3, 500), (5, 5, 5), (8, 0, 4)]:
        miss = Fraction(math.comb(n - c, k), math.comb(n, k))
        cases.append({"n": n, "c": c, "k": k, "pass": float(1 - miss)})
    return cases


def intervals():
    """Percentile intervals from so many replicates that their own noise is small."""
    cases = []
    for n, level in [(30, 0.95), (100, 0.9)]:
        a = (rng.random(n) * 10).round(3)
        b = (a + rng.normal(size=n)).round(3)
        how = dict(n_resamples=50_000, confidence_level=level, method="percentile", rng=1)
        mean = bootstrap((a,), np.mean, **how).confidence_interval
        paired = bootstrap((a, b), lambda x, y, axis: x.mean(axis) - y.mean(axis), paired=True, vectorized=True, **how).confidence_interval
        cases.append({
            "a": a.tolist(),
            "b": b.tolist(),
            "level": level,
            "mean": [mean.low, mean.high],
            "difference": [paired.low, paired.high],
        })
    return cases


with open("golden.json", "w") as f:
    json.dump({"labels": labels(), "auc": auc(), "ndcg": ndcg(), "pass_at_k": pass_at_k(), "bootstrap": intervals()}, f, indent=None, separators=(",", ":"))
    f.write("\n")
