"""Writes vectors.json, the shared golden vectors of the parity format.

    python testdata/parity/vectors.py        (torch 2.x, any Python from 3.10)

Every expected number comes from a formula written here once more in torch,
float64, and every gradient from its automatic differentiation, so nothing is
shared with the program under test. (Agreement with other trainers' own code is
tested with testdata/peers.) A vector is

    {"name", "command": "advantages" | "loss", "config": {...}, "in": [lines], "out": [lines]}

where a line of "out" holds only the fields to be compared.
"""

import json
import math
import pathlib

import torch

torch.set_default_dtype(torch.float64)
vectors = []


def add(name, command, config, lines, out):
    vectors.append({"name": name, "command": command, "config": config, "in": lines, "out": out})


# Loss. Ratios on both sides of every bound, advantages of both signs, signs
# that flip inside a sequence, excluded tokens (null), masked tokens.
RATIO = [[0.5, 0.9, 1.1, 1.5, 4.0, None], [0.5, 0.9, 1.1, 1.5, 4.0], [1.0, 0.7, 1.4, 1.0], [0.3]]
ADV = [[1.5, 1.5, 1.5, 1.5, 1.5, None], [-0.75, -0.75, -0.75, -0.75, -0.75], [0.5, -2.0, 1.25, 0.0], [-1.0]]
OLD = [[-1.0, -0.5, -2.0, -1.5, -2.5, None], [-0.7, -0.2, -1.1, -0.9, -3.0], [-0.4, -0.6, -0.8, -1.2], [-0.1]]
REF = [[-1.2, -0.5, -1.5, -1.0, -1.4, None], [-1.9, -0.1, -1.3, -0.2, -1.1], [-0.4, -1.6, -0.3, -1.0], [-2.2]]
ROLLOUT = [[-1.1, -0.5, -2.3, -1.4, -2.4, None], [-1.9, -0.2, -1.2, -0.8, -3.1], [-0.4, -0.65, -0.8, -1.1], [-0.15]]
ENTROPY = [[0.5, 0.2, 0.9, 1.3, 0.1, None], [0.3, 0.3, 0.7, 0.6, 0.05], [0.4, 0.8, 0.2, 0.6], [1.1]]
KEEP = [[1, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1], [0]]
PROMPT = [7, 7, 3, 3]
LOGP = [[None if r is None else round(o + math.log(r), 6) for r, o in zip(*row)] for row in zip(RATIO, OLD)]
MASK = [[r is not None for r in row] for row in RATIO]


def step(**more):
    return {"id": "b1", "logp": LOGP, "old": OLD, "advantages": ADV, "mask": MASK} | more


class Batch:
    """The tensors of a line, excluded tokens left out: one vector per sequence."""

    def __init__(self, line):
        included = line["mask"]

        def rows(name):
            if name not in line:
                return None
            return [torch.tensor([float(x) for x, l in zip(r, m) if l]) for r, m in zip(line[name], included)]

        self.included = included
        self.logp = [x.requires_grad_() for x in rows("logp")]
        self.old, self.adv, self.ref, self.rollout = rows("old"), rows("advantages"), rows("ref"), rows("rollout")
        self.entropy = rows("entropy")
        for x in self.entropy or []:
            x.requires_grad_()
        self.keep = rows("keep") or [torch.ones_like(x) for x in self.logp]
        self.prompt = line.get("prompt")
        self.n = len(self.logp)

    def ratio(self, i):
        return (self.logp[i] - self.old[i]).exp()

    def spread(self, grads):
        """Gradients in the shape of the line, 0 at excluded tokens."""
        out = []
        for g, included in zip(grads, self.included):
            values = iter([] if g is None else g.tolist())
            out.append([next(values, 0.0) if l else 0.0 for l in included])
        return out


def ppo(low, high, dual=None, delta=None):
    def loss(b, i):
        r, a = b.ratio(i), b.adv[i]
        free = r if delta is None else r.clamp(max=delta)
        v = torch.maximum(-a * free, -a * r.clamp(1 - low, 1 + high))
        return v if dual is None else torch.where(a < 0, torch.minimum(v, -a * dual), v)

    return loss


def cispo(low, high):
    return lambda b, i: -b.ratio(i).clamp(low, high).detach() * b.adv[i] * b.logp[i]


def sapo(pos, neg):
    def loss(b, i):
        tau = torch.where(b.adv[i] > 0, pos, neg)
        return -b.adv[i] * torch.sigmoid(tau * (b.ratio(i) - 1)) * 4 / tau

    return loss


def vespo(k_pos, lambda_pos, k_neg, lambda_neg):
    """A masked token takes part in the product while it counts."""

    def loss(b, i, counts):
        w = ((b.logp[i] - b.old[i]) * counts).sum().exp().detach()
        pos, neg = w**k_pos * (lambda_pos * (1 - w)).exp(), w**k_neg * (lambda_neg * (1 - w)).exp()
        return -torch.where(b.adv[i] >= 0, pos, neg) * b.adv[i] * b.logp[i]

    return loss


def kl_cov(share, coef, line):
    """Plus the distance from the old policy, where the covariance is among the largest."""
    included = line["mask"]
    keep = line.get("keep") or [[1] * len(r) for r in included]
    places = [(i, t) for i, r in enumerate(included) for t, l in enumerate(r) if l and keep[i][t]]
    a = torch.tensor([line["advantages"][i][t] for i, t in places])
    p = torch.tensor([line["old"][i][t] for i, t in places])
    top = torch.topk((a - a.mean()) * (p - p.mean()), max(1, int(len(places) * share))).indices
    chosen = {places[j] for j in top.tolist()}

    def loss(b, i):
        held = torch.tensor([float((i, t) in chosen) for t, l in enumerate(included[i]) if l])
        return -b.adv[i] * b.ratio(i) + coef * held * (b.logp[i] - b.old[i]).abs()

    return loss


def gspo(low, high, token):
    """A masked token takes part in the ratio while it counts."""

    def loss(b, i, counts):
        lr = b.logp[i] - b.old[i]
        s = (lr * counts).sum() / counts.sum().clamp(min=1)
        if token:
            s = s.detach() + b.logp[i] - b.logp[i].detach()
        s = s.exp()
        return torch.maximum(-b.adv[i] * s, -b.adv[i] * s.clamp(1 - low, 1 + high))

    return loss


def dppo(low, high, quadratic, kl):
    def loss(b, i):
        lr, a = b.logp[i] - b.old[i], b.adv[i]
        p, q = b.logp[i].exp().detach(), b.old[i].exp()
        d = (p - q).abs()
        if kl:
            d = q * (q.log() - p.log()) + (1 - q) * ((1 - q + 1e-8) / (1 - p + 1e-8)).log()
        drop = ((a > 0) & (p > q) & (d > high)) | ((a < 0) & (p < q) & (d > low))
        return torch.where(drop, 0.0, -a * lr.exp()) + quadratic * lr**2

    return loss


def kl(kind, beta, gradient="own", clamp=None, value_clamp=None):
    def term(b, i):
        d0 = b.logp[i] - b.ref[i]
        d = d0 if clamp is None else d0.clamp(-clamp, clamp)
        v = {"k1": d, "k2": d**2 / 2, "k3": (-d).exp() - 1 + d, "abs": d.abs()}[kind]
        if value_clamp is not None:
            v = v.clamp(-value_clamp, value_clamp)
        if gradient == "straight_through":
            k2 = d0**2 / 2
            v = v.detach() + k2 - k2.detach()
        if gradient == "importance":
            v = v * b.ratio(i)
        return beta * v

    return term


def correction(level, outside, low, high):
    """The factor of each token's policy loss; d sums over counted tokens."""

    def weight(b, i, counts):
        d = b.old[i] - b.rollout[i]
        if level == "sequence":
            d = (d * counts).sum().expand(len(d))
        if level == "geometric":
            d = ((d * counts).sum() / counts.sum().clamp(min=1)).expand(len(d))
        w = d.exp()
        inside = (w >= low) & (w <= high)
        return {
            "truncate": w.clamp(low, high),
            "drop": torch.where(inside, w, 0.0),
            "gate": inside.to(w.dtype),
        }[outside]

    return weight


def gate(max_drift):
    """The factor of each token's policy loss: 0 for A < 0 in sequences beyond the drift."""

    def weight(b, i, counts):
        d = b.rollout[i] - b.logp[i].detach()
        far = (d * counts).sum() / counts.sum().clamp(min=1) > max_drift
        return torch.where((b.adv[i] < 0) & far, 0.0, 1.0)

    return weight


def weights(b, aggregation, counts, count_empty=False, epsilon=0.0, tokens=None, per_sequence=False):
    n = [c.sum().item() for c in counts]
    sequences = b.n if count_empty else sum(x > 0 for x in n)
    per_prompt = {p: sum(x for x, q in zip(n, b.prompt) if q == p) for p in b.prompt} if b.prompt else {}
    prompts = len(per_prompt) if count_empty else sum(x > 0 for x in per_prompt.values())
    w = []
    for i, c in enumerate(counts):
        each = {
            "token_mean": lambda: 1 / sum(n),
            "seq_mean_token_mean": lambda: 1 / (sequences * (n[i] + epsilon)),
            "seq_mean_token_sum": lambda: 1 / sequences,
            "constant": lambda: 1 / (tokens * (b.n if per_sequence else 1)),
            "token_sum": lambda: 1.0,
            "prompt_mean": lambda: 1 / (prompts * per_prompt[b.prompt[i]]),
        }[aggregation]
        w.append(c * (each() if n[i] > 0 else 0.0))
    return w


def loss_vector(name, config, line, policy, aggregation="token_mean", masked="stay", terms=(), entropy=0.0, correct=None, ratio_counts=False, kl_aggregation=None, chosen=None, **agg):
    """With chosen, the numbers are those of that line: the same with other masks."""
    b = Batch(chosen or line)
    everyone = [torch.ones_like(k) for k in b.keep]
    counts = everyone if masked == "stay" else b.keep
    kl_counts = b.keep if masked == "exclude" else everyone
    kl_agg, kl_options = kl_aggregation or (aggregation, agg)
    w, kw = weights(b, aggregation, counts, **agg), weights(b, kl_agg, kl_counts, **kl_options)
    total = torch.zeros(())
    for i in range(b.n):
        v = policy(b, i, counts[i]) if ratio_counts else policy(b, i)
        if correct:
            v = v * correct(b, i, counts[i])
        total = total + (w[i] * torch.where(b.keep[i] > 0, v, 0.0)).sum()
        for t in terms:
            total = total + (kw[i] * t(b, i)).sum()
        if entropy:
            total = total - (kw[i] * entropy * b.entropy[i]).sum()
    total.backward()
    out = {"id": "b1", "loss": total.item(), "grad": b.spread([x.grad for x in b.logp])}
    out["entropy_grad"] = b.spread([x.grad for x in b.entropy]) if b.entropy else None
    add(name, "loss", config, [line], [out])


def rejected(line, estimator, unit, low, high):
    """The line without the tokens whose divergence, d = rollout - old, is outside of the bounds."""
    k = {"k1": lambda d: d, "k2": lambda d: d * d / 2, "k3": lambda d: math.exp(-d) - 1 + d, "abs": abs}[estimator]
    of = {"mean": lambda x: sum(x) / len(x), "sum": sum, "worst": lambda x: next((v for v in x if not low <= v <= high), x[0])}
    mask = []
    for included, rollout, old in zip(line["mask"], line["rollout"], line["old"]):
        values = [k(r - o) if l else None for l, r, o in zip(included, rollout, old)]
        if unit != "token":
            values = [of[unit]([v for v in values if v is not None])] * len(included)
        mask.append([bool(l) and low <= v <= high for l, v in zip(included, values)])
    return line | {"mask": mask}


def top_entropy(line, share):
    """The line with all tokens masked whose entropy is below the quantile."""
    rows = list(zip(line["mask"], line["entropy"], line.get("keep") or [[1] * len(r) for r in line["mask"]]))
    entropies = torch.tensor([h for included, row, _ in rows for l, h in zip(included, row) if l])
    threshold = torch.quantile(entropies, 1 - share).item()
    return line | {"keep": [[int(bool(l) and k and h >= threshold) for l, h, k in zip(*row)] for row in rows]}


def kinded(kind, **settings):
    return {"kind": kind} | settings


def losses():
    clip, higher = ppo(0.2, 0.28), kinded("ppo", clip_low=0.2, clip_high=0.28)
    vector = lambda name, policy, *rest, **more: loss_vector(name, {"policy": policy}, step(), *rest, **more)
    vector("ppo, both signs on both sides of both bounds", higher, clip)
    vector("ppo, a single setting changed", {"clip_high": 0.28}, clip)
    vector("dual clip", higher | {"dual_clip": 3}, ppo(0.2, 0.28, dual=3))
    vector("two-sided clip, delta 2 above the bound", higher | {"dual_clip": 2}, ppo(0.2, 0.28, delta=2))
    vector("two-sided clip, delta 1.05 below the bound", kinded("ppo", clip_low=0.2, clip_high=0.05, dual_clip=1.28), ppo(0.2, 0.28, delta=1.05))
    vector("cispo, relative bounds", kinded("cispo", low=0.8, high=1.28), cispo(0.8, 1.28))
    vector("cispo, absolute bounds", kinded("cispo", low=0.6, high=3), cispo(0.6, 3))
    dropped = lambda b, i: cispo(0.6, 3)(b, i) * ((b.ratio(i) - 1.8).abs() <= 1.2)
    vector("cispo, dropped outside", kinded("cispo", low=0.6, high=3, drop=True), dropped)
    vector("sapo", kinded("sapo", tau_pos=1, tau_neg=1.05), sapo(1.0, 1.05))
    vector("dro", kinded("dro", beta=0.1), lambda b, i: -b.adv[i] * b.logp[i] + 0.05 * (b.logp[i] - b.old[i]) ** 2)
    vector("importance sampling", kinded("importance_sampling"), lambda b, i: -b.adv[i] * b.ratio(i))
    vector(
        "log-ratio clamp", kinded("importance_sampling", log_ratio_clamp=0.5),
        lambda b, i: -b.adv[i] * (b.logp[i] - b.old[i]).clamp(-0.5, 0.5).exp(),
    )
    vector("dppo, total variation", kinded("dppo", low=0.1, high=0.15, quadratic=0.001), dppo(0.1, 0.15, 1e-3, False))
    vector("dppo, kl", kinded("dppo", kl=True, low=0.02, high=0.03), dppo(0.02, 0.03, 0, True))
    supervised = {k: v for k, v in step().items() if k not in ("old", "advantages")}
    loss_vector("cross-entropy", {"policy": kinded("cross_entropy")}, supervised, lambda b, i: -b.logp[i])
    flat = step(advantages=[[None if a is None else x for a in row] for row, x in zip(ADV, [1.0, -0.5, 0.25, -1.0])])
    loss_vector("gspo", {"policy": kinded("gspo", clip_low=0.2, clip_high=0.28)}, flat, gspo(0.2, 0.28, False), ratio_counts=True)
    token = kinded("gspo_token", clip_low=0.2, clip_high=0.28)
    vector("gspo_token, signs that flip", token, gspo(0.2, 0.28, True), ratio_counts=True)

    smooth = kinded("vespo", k_pos=0.5, lambda_pos=0.25, k_neg=1, lambda_neg=0.5)
    for masked in ("stay", "exclude"):
        loss_vector(
            f"vespo, {masked}", {"policy": smooth, "aggregation": {"masked": masked}},
            step(keep=KEEP), vespo(0.5, 0.25, 1, 0.5), masked=masked, ratio_counts=True,
        )
        held = [kinded("importance_sampling"), kinded("kl_cov", share=0.4, coef=0.3)]
        loss_vector(f"kl_cov, {masked}", {"policy": held, "aggregation": {"masked": masked}}, step(keep=KEEP), kl_cov(0.4, 0.3, step(keep=KEEP)), masked=masked)
    loss_vector(
        "kl_cov, a single token", {"policy": [kinded("importance_sampling"), kinded("kl_cov", share=0.01, coef=0.3)]},
        step(), kl_cov(0.01, 0.3, step()),
    )
    taught = {k: v for k, v in step(teacher=REF).items() if k != "advantages"}
    for discount, clamp in ((0, 0), (0, 0.5), (0.5, 0.5)):

        def gains(b, i):
            g = b.ref[i] - b.old[i]
            g = g.clamp(-clamp, clamp) if clamp else g
            togo = [sum(discount ** (u - t) * g[u] for u in range(t, len(g))) for t in range(len(g))]
            return -2 * torch.stack(togo) * b.ratio(i)

        config = kinded("distilled", coef=2, discount=discount, gain_clamp=clamp, objective=kinded("importance_sampling"))
        loss_vector(f"distilled, discount {discount}, clamp {clamp}", {"policy": config}, taught, gains, chosen=taught | {"ref": REF, "advantages": ADV})

    k3 = {"estimator": "k3", "beta": 0.1}
    for aggregation, options, same in [
        ("token_mean", {}, {}),
        ("seq_mean_token_mean", {}, {}),
        ("seq_mean_token_mean", {"count_empty": True, "epsilon": 0.5}, {}),
        ("seq_mean_token_sum", {}, {}),
        ("padded_length", {}, {"aggregation": "constant", "tokens": 6}),
        ("constant", {"tokens": 8, "per_sequence": True}, {}),
        ("token_sum", {}, {}),
        ("prompt_mean", {}, {}),
    ]:
        for masked in ("stay", "exclude", "exclude_loss"):
            loss_vector(
                f"{aggregation}{''.join(f', {k} {v}' for k, v in options.items())} with masked tokens, {masked}",
                {"policy": higher, "aggregation": kinded(aggregation, masked=masked) | options, "kl": k3},
                step(keep=KEEP, ref=REF, prompt=PROMPT), clip, masked=masked, terms=[kl("k3", 0.1)], **({"aggregation": aggregation} | options | same),
            )
    half = step(keep=KEEP[:2] + [[0] * 4, [0]], prompt=PROMPT)  # nothing is left of prompt 3
    empty = {"policy": higher, "aggregation": kinded("prompt_mean", masked="exclude", count_empty=True)}
    loss_vector("prompt_mean, count_empty", empty, half, clip, "prompt_mean", "exclude", count_empty=True)
    for masked in ("stay", "exclude"):
        loss_vector(
            f"gspo_token with masked tokens, {masked}", {"policy": token, "aggregation": {"masked": masked}},
            step(keep=KEEP), gspo(0.2, 0.28, True), masked=masked, ratio_counts=True,
        )

    for estimator in ("k1", "k2", "k3", "abs"):
        for gradient in ("own", "straight_through", "importance"):
            config = {"estimator": estimator, "beta": 0.1} | ({} if gradient == "own" else {gradient: True})
            loss_vector(
                f"kl {estimator}, gradient {gradient}", {"policy": higher, "kl": config},
                step(ref=REF), clip, terms=[kl(estimator, 0.1, gradient)],
            )
    loss_vector(
        "kl k3, clamped", {"policy": higher, "kl": k3 | {"log_ratio_clamp": 0.9, "value_clamp": 0.4}}, step(ref=REF), clip,
        terms=[kl("k3", 0.1, clamp=0.9, value_clamp=0.4)],
    )
    split = kinded("split", loss=kinded("token_mean", masked="exclude"), regularizer=kinded("seq_mean_token_mean", count_empty=True, masked="exclude"))
    loss_vector(
        "kl with a separate aggregation", {"policy": higher, "kl": k3, "aggregation": split},
        step(ref=REF, keep=KEEP), clip, masked="exclude", terms=[kl("k3", 0.1)], kl_aggregation=("seq_mean_token_mean", {"count_empty": True}),
    )
    weighted = lambda b, i: b.ratio(i).clamp(max=1.2).detach() * kl("k3", 0.1, "straight_through")(b, i)
    value = lambda b, i: (kl("k3", 0.1)(b, i) - weighted(b, i)).detach() + weighted(b, i)
    loss_vector(
        "kl k3, gradient straight_through, weighted",
        {"policy": higher, "kl": k3 | {"straight_through": True, "importance": True, "importance_max": 1.2}},
        step(ref=REF), clip, terms=[value],
    )
    vector(
        "dppo, a constant weight", kinded("dppo", low=0.9, high=0.9, max_weight=1.2),
        lambda b, i: -b.adv[i] * b.ratio(i).clamp(max=1.2).detach() * b.logp[i],
    )
    loss_vector("entropy bonus", {"policy": [higher, kinded("entropy_bonus", coef=0.01)]}, step(entropy=ENTROPY), clip, entropy=0.01)
    loss_vector("entropy given, not used", {"policy": higher}, step(entropy=ENTROPY), clip)
    for level in ("token", "sequence", "geometric"):
        for outside in ("truncate", "drop", "gate"):
            loss_vector(
                f"correction {level}, {outside}",
                {"policy": kinded("corrected", level=level, outside=outside, min=0.9, max=1.2, objective=higher), "kl": k3},
                step(rollout=ROLLOUT, ref=REF), clip, correct=correction(level, outside, 0.9, 1.2), terms=[kl("k3", 0.1)],
            )

    for masked in ("stay", "exclude"):
        loss_vector(
            f"gated, {masked}",
            {"policy": kinded("gated", max_drift=0.05, objective=higher), "kl": k3, "aggregation": kinded("token_mean", masked=masked)},
            step(rollout=ROLLOUT, ref=REF, keep=[[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 1], [1]]), clip,
            masked=masked, correct=gate(0.05), terms=[kl("k3", 0.1)],
        )

    apart = step(rollout=ROLLOUT, ref=REF, prompt=PROMPT)
    for estimator, unit, low, high in [
        ("k1", "token", -0.25, 0.07), ("k3", "token", 0, 0.006), ("k1", "mean", -0.04, 0.2), ("k1", "sum", -0.25, 0.125),
        ("k2", "mean", 0, 0.01), ("k3", "worst", 0, 0.05), ("k1", "worst", -0.5, 0.0625), ("abs", "sum", 0, 0.25),
    ]:
        for aggregation, options in (("token_mean", {}), ("seq_mean_token_mean", {"count_empty": True}), ("prompt_mean", {})):
            loss_vector(
                f"rejection, {estimator} {unit}, {aggregation}",
                {
                    "policy": higher, "kl": k3, "aggregation": kinded(aggregation) | options,
                    "reject": [{"estimator": estimator, "unit": unit, "min": low, "max": high}],
                },
                apart, clip, aggregation, terms=[kl("k3", 0.1)], chosen=rejected(apart, estimator, unit, low, high), **options,
            )
    both = rejected(rejected(apart, "k3", "worst", 0, 0.05), "k1", "token", -0.25, 0.07)
    loss_vector(
        "two rejections", {"policy": higher, "reject": [{"estimator": "k1", "min": -0.25, "max": 0.07}, {"estimator": "k3", "unit": "worst", "max": 0.05}]},
        apart, clip, chosen=both,
    )
    uncertain = step(entropy=ENTROPY, ref=REF, keep=KEEP)
    for share in (0.2, 0.5):
        for masked in ("stay", "exclude", "exclude_loss"):
            loss_vector(
                f"top entropy {share}, {masked}", {"policy": higher, "kl": k3, "top_entropy": share, "aggregation": kinded("token_mean", masked=masked)},
                uncertain, clip, masked=masked, terms=[kl("k3", 0.1)], chosen=top_entropy(uncertain, share),
            )

    def rollout_ppo(b, i):
        b.old = b.rollout
        return clip(b, i)

    line = step(rollout=ROLLOUT)
    del line["old"]
    loss_vector("from rollout", {"policy": kinded("from_rollout", objective=higher)}, line, rollout_ppo)
    nothing = step(mask=[[0] * len(r) for r in MASK])
    zeros = [[0.0] * len(r) for r in MASK]
    add("no token included", "loss", {"policy": higher}, [nothing], [{"id": "b1", "loss": None, "grad": zeros, "entropy_grad": None, "metrics": {}}])


# Advantages.
REWARDS = {"mixed": [0.2, 0.9, 0.4, 0.9], "constant": [0.5, 0.5, 0.5], "one null": [1.0, None, 0.0], "single": [0.7], "negative": [-1.0, 0.0, -0.5]}
LENGTHS = [2, 4, 3, 3]


def groups(rewards=REWARDS, **more):
    return [
        {"id": name, "completions": [{"reward": x, "tokens": LENGTHS[i]} | more for i, x in enumerate(r)]}
        for name, r in rewards.items()
    ]


def mean(x):
    return sum(x) / len(x)


def std(x, population=False):
    if len(x) < 2:
        return 0.0
    m = mean(x)
    return math.sqrt(sum((v - m) ** 2 for v in x) / (len(x) - (0 if population else 1)))


def estimate(name, estimator, group, lines=None):
    """group maps the usable rewards of a group and their lengths to advantages."""
    out = []
    for line in lines or groups():
        r = [c["reward"] for c in line["completions"]]
        usable = [i for i, x in enumerate(r) if x is not None]
        values = group([r[i] for i in usable], [line["completions"][i]["tokens"] for i in usable]) if usable else []
        scalar = [0.0] * len(r)
        for i, v in zip(usable, values):
            scalar[i] = v
        out.append(result(line, scalar))
    add(name, "advantages", {"estimator": estimator}, lines or groups(), out)


def result(line, scalar, advantages=None, keep=None):
    tokens = [c["tokens"] for c in line["completions"]]
    return {
        "id": line["id"],
        "scalar": scalar,
        "advantages": advantages or [[a] * n for a, n in zip(scalar, tokens)],
        "keep": keep or [[True] * n for n in tokens],
    }


def dead(r):
    return max(r) == min(r)


def centred(scale, single=0.0):
    def f(r, _):
        if len(r) == 1:
            return [r[0] * single]
        return [0.0 if dead(r) else (x - mean(r)) * scale(r) for x in r]

    return f


def pass_at_k(r, _):
    if len(r) < 2:
        return [0.0] * len(r)
    top, second = sorted(r)[-1], sorted(r)[-2]
    return [top - second if x == top and r.count(top) == 1 else 0.0 for x in r]


def of_group(norm, **settings):
    return kinded("group", norm=kinded(norm, **settings))


def estimators():
    estimate("grpo", of_group("grpo", epsilon=1e-4), centred(lambda r: 1 / (std(r) + 1e-4)))
    estimate("grpo, verl's", of_group("grpo", epsilon=1e-6, singleton="raw"), centred(lambda r: 1 / (std(r) + 1e-6), 1 / (1 + 1e-6)))
    estimate("grpo, population std", of_group("grpo", epsilon=1e-4, std="population"), centred(lambda r: 1 / (std(r, True) + 1e-4)))
    estimate("grpo, floor", of_group("grpo", epsilon=1e-4, min_std=0.4), centred(lambda r: 1 / (max(std(r), 0.4) + 1e-4)))
    estimate("dr_grpo", of_group("dr_grpo"), centred(lambda r: 1.0))
    estimate(
        "dr_grpo, length penalty", of_group("dr_grpo") | {"combine": {"length_penalty": 0.25}},
        lambda r, n: centred(lambda r: 1.0)([x - 0.25 * max(0, mean(r)) * l / max(n) for x, l in zip(r, n)], n),
    )
    estimate("rloo", of_group("rloo", singleton="raw"), centred(lambda r: len(r) / (len(r) - 1), 1.0))
    estimate("maxrl", of_group("maxrl"), centred(lambda r: 1 / mean(r) if mean(r) > 0 else 0.0))
    estimate("maxrl, negative means", of_group("maxrl", negative_mean=True, epsilon=1e-6), centred(lambda r: 1 / (mean(r) + 1e-6)))
    estimate("opo", kinded("opo"), lambda r, n: [0.0 if dead(r) else x - sum(a * b for a, b in zip(r, n)) / sum(n) for x in r])
    estimate("pass_at_k of the group", of_group("pass_at_k"), pass_at_k)
    two = [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    lines = groups({f"g{i}": r for i, r in enumerate(two)})
    pairs = lambda r, _: [mean([max(x, y) - y for j, y in enumerate(r) if j != i]) for i, x in enumerate(r)]
    estimate("pass_at_k of two", of_group("pass_at_k", k=2), pairs, lines)

    every = [x for r in REWARDS.values() for x in r if x is not None]
    estimate("grpo, std of the batch", kinded("grpo_batch_std", epsilon=1e-4), centred(lambda r: 1 / (std(every) + 1e-4)))
    reinforce("reinforce_pp", lambda r: r)
    reinforce("reinforce_pp_baseline", lambda r: [x - mean(r) for x in r])
    gdpo()
    lines = [{"id": "w", "completions": [{"reward": {"right": a, "format": b}, "tokens": 1} for a, b in [(1, 0.5), (0, 1), (1, None), (None, None)]]}]
    weights = {"right": 2, "format": 0.5}
    add("weights", "advantages", {"estimator": of_group("dr_grpo"), "weights": weights}, lines, [result(lines[0], [0.875, -0.875, 0.0, 0.0])])
    skip = of_group("dr_grpo") | {"combine": {"skip_unscorable": True}}
    add("weights, null left out", "advantages", {"estimator": skip, "weights": weights}, lines,
        [result(lines[0], [2.25 - 4.75 / 3, 0.5 - 4.75 / 3, 2 - 4.75 / 3, 0.0])])


def reinforce(kind, baseline):
    gamma, lines = 0.9, groups()
    returns = []
    for line in lines:
        cs = line["completions"]
        usable = [c["reward"] for c in cs if c["reward"] is not None]
        left = iter(baseline(usable))
        rows = []
        for c in cs:
            rows.append(None if c["reward"] is None else (next(left), c["tokens"]))
        returns.append([None if x is None else (x[0], [x[0] * gamma ** (x[1] - 1 - t) for t in range(x[1])]) for x in rows])
    flat = [v for g in returns for x in g if x is not None for v in x[1]]
    m, s = mean(flat), math.sqrt(std(flat) ** 2 + 1e-8)
    out = []
    for line, g in zip(lines, returns):
        scalar = [0.0 if x is None else (x[0] - m) / s for x in g]
        rows = [[0.0] * c["tokens"] if x is None else [(v - m) / s for v in x[1]] for x, c in zip(g, line["completions"])]
        out.append(result(line, scalar, rows))
    add(kind, "advantages", {"estimator": kinded(kind, gamma=0.9, whitening={"epsilon": 1e-8})}, lines, out)


def gdpo():
    named = {"a": [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)], "b": [(0.0, 0.25), (1.0, 0.5)]}
    lines = [{"id": k, "completions": [{"reward": {"x": x, "y": y}, "tokens": 2} for x, y in v]} for k, v in named.items()]
    norm = centred(lambda r: 1 / (std(r) + 1e-4))
    sums = {k: [sum(p) for p in zip(norm([x for x, _ in v], 0), norm([y for _, y in v], 0))] for k, v in named.items()}
    flat = [x for v in sums.values() for x in v]
    out = [result(line, [(x - mean(flat)) / (std(flat) + 1e-4) for x in sums[line["id"]]]) for line in lines]
    config = {"estimator": kinded("gdpo", norm=kinded("grpo", epsilon=1e-4), epsilon=1e-4)}
    add("gdpo", "advantages", config, lines, out)


def judged(reward, verdicts, rewards=None, tokens=8, **more):
    """Steps of two tokens each, then two tokens outside every step."""
    steps = []
    for k, v in enumerate(verdicts):
        s = {"name": "abc"[k], "start": 2 * k, "end": 2 * k + 2, "verdict": {"+": "correct", "-": "incorrect", "?": "unknown"}[v]}
        if rewards:
            s["reward"] = rewards[k]
        steps.append(s)
    return {"reward": reward, "tokens": tokens, "steps": steps} | more


# Two completions, advantages 0.5 and -0.5 under dr_grpo; the last step is final.
CREDIT = {"id": "c", "completions": [judged(1, "+-?", [1, 0, None]), judged(0, "+--", [1, 0.5, 0], malformed=True)]}


def credit(name, kind, rows, keep=None, line=CREDIT, **settings):
    a = [0.5, -0.5]
    keep = keep or [[True] * 8] * 2
    add(name, "advantages", {"estimator": of_group("dr_grpo"), "credit": kinded(kind, **settings)}, [line], [result(line, a, rows, keep)])


def credits():
    T, F = [True, True], [False, False]

    def row(*parts):
        return [x for p in parts for x in [p, p]]

    credit("outcome", "outcome", [row(0.5, 0.5, 0.5, 0.5), row(-0.5, -0.5, -0.5, -0.5)])
    masked = [row(0.5, 0.0, 0.5, 0.5), row(0.0, -0.5, -0.5, -0.5)], [T + F + T + T, F + T + T + T]
    credit("mask", "mask", *masked)
    credit("mask, good outcomes only", "mask", [row(0.5, 0.0, 0.5, 0.5), row(-0.5, -0.5, -0.5, -0.5)], [T + F + T + T, [True] * 8], sign="positive")
    credit("mask, leaks", "mask", [row(0.5, 0.125, 0.5, 0.5), row(0.5, -0.5, -0.5, -0.5)], leak_positive=0.25, leak_negative=-1)
    credit("mask, outside", "mask", [row(0.5, 0.0, 0.5, 0.0), row(0.0, -0.5, -0.5, 0.0)], [T + F + T + F, F + T + T + F], mask_outside=True)
    credit("mask, rescaled", "mask", [row(0.6, 0.0, 0.6, 0.6), row(0.0, -0.6, -0.6, -0.6)], masked[1], rescale=1.2)
    right = {"id": "f", "completions": [judged(1, "++-"), judged(0, "--+")]}
    credit("mask, the final step exempt", "mask", [row(0.5, 0.5, 0.5, 0.5), row(-0.5, -0.5, -0.5, -0.5)], line=right)
    credit("mask, the final step too", "mask", [row(0.5, 0.5, 0.0, 0.5), row(-0.5, -0.5, 0.0, -0.5)], [T + T + F + T] * 2, right, mask_final=True)
    none = {"id": "n", "completions": [judged(1, "++-", final=-1), judged(0, "--+", final=-1)]}
    credit("mask, no step is final", "mask", [row(0.5, 0.5, 0.0, 0.5), row(-0.5, -0.5, 0.0, -0.5)], [T + T + F + T] * 2, none)
    broken = json.loads(json.dumps(right))
    for c in broken["completions"]:
        c["steps"][1] |= {"verdict": "correct", "broken": True}
    credit("mask, a broken step counts as incorrect", "mask", [row(0.5, 0.0, 0.5, 0.5), row(-0.5, -0.5, -0.5, -0.5)], [T + F + T + T, [True] * 8], broken)
    credit("mask, a broken step keeps", "mask", [row(0.5, 0.5, 0.5, 0.5), row(-0.5, -0.5, -0.5, -0.5)], line=broken, broken="keep")
    credit("mask, a broken step is masked", "mask", [row(0.5, 0.0, 0.5, 0.5), row(-0.5, 0.0, -0.5, -0.5)], [T + F + T + T] * 2, broken, broken="mask")
    credit("prefix", "prefix", [row(0.5, 0.0, 0.0, 0.5), row(0.0, -0.5, -0.5, -0.5)], [T + F + F + T, F + T + T + T], mask={"mask_final": True})
    # Step rewards: a 1 1, b 0 0.5, c null 0.
    loo, centre = kinded("rloo"), kinded("dr_grpo")
    credit("step_group", "step_group", [row(0.0, -0.25, 0.5, 0.5), row(0.0, 0.25, -0.5, -0.5)], norm=centre)
    credit("step_group, leave one out", "step_group", [row(0.0, -0.5, 0.5, 0.5), row(0.0, 0.5, -0.5, -0.5)], norm=loo)
    credit("blend", "blend", [row(0.125, -0.25, 0.5, 0.5), row(-0.125, 0.25, -0.5, -0.5)], a=kinded("outcome"), b=kinded("step_group", norm=loo), **{"lambda": 0.25})
    # All five rewards together: mean 0.5.
    credit("return_to_go", "return_to_go", [row(0.0, -0.5, 0.5, 0.5), row(0.0, -0.5, -0.5, -0.5)], norm=centre)
    # Outcome and mean verdict: 1 + 1/2 and 0 + 1/3, which differ by 7/6.
    credit("outcome_plus_verdict", "outcome_plus_verdict", [row(*[7 / 12] * 4), row(*[-7 / 12] * 4)], norm=centre)
    flat = {"id": "d", "completions": [judged(1, "+++", [1, 0, 1]), judged(1, "+++", [0, 0, 1])]}
    add("mask, dead groups filled", "advantages", {"estimator": of_group("dr_grpo"), "credit": kinded("mask", fill=centre)}, [flat],
        [result(flat, [0.0, 0.0], [row(0.5, 0.0, 0.0, 0.0), row(-0.5, 0.0, 0.0, 0.0)])])


def penalties():
    logp, ref = [[-1.0, -2.0], [-0.5]], [[-1.5, -1.75], [-1.0]]
    line = {"id": "k", "completions": [{"reward": r, "tokens": len(l), "logp": l, "ref": f} for r, l, f in zip([1, 0], logp, ref)]}
    d = [[a - b for a, b in zip(*x)] for x in zip(logp, ref)]
    kinds = {"k1": lambda x: x, "k2": lambda x: x * x / 2, "k3": lambda x: math.exp(-x) - 1 + x, "abs": abs}
    def penalty(name, estimator, rows, scalar=(0.5, -0.5), combine={}, **more):
        config = {"estimator": of_group("dr_grpo") | {"combine": combine}, "reward_kl": {"estimator": estimator, "beta": 0.1} | more}
        add(f"kl in the reward, {name}", "advantages", config, [line], [result(line, list(scalar), rows)])

    for name, f in kinds.items():
        penalty(name, name, [[a - 0.1 * f(x) for x in r] for a, r in zip([0.5, -0.5], d)])
    clamped = [[0.5 - 0.1 * min(0.1, 0.3**2 / 2), 0.5 - 0.1 * 0.25**2 / 2], [-0.5 - 0.1 * 0.3**2 / 2]]
    penalty("clamped", "k2", clamped, log_ratio_clamp=0.3, value_clamp=0.1)
    m = mean([x for r in d for x in r])
    penalty("centred", "k1", [[a - 0.1 * (x - m) for x in r] for a, r in zip([0.5, -0.5], d)], center=True)
    penalty("discounted", "k1", [[0.5 - 0.1 * (0.5 - 0.125), 0.5 + 0.025], [-0.5 - 0.05]], discount=0.5)
    r = [1 - 0.1 * 0.25, 0 - 0.1 * 0.5]
    half = (r[0] - r[1]) / 2
    penalty("folded", "k1", None, [half, -half], {"fold_shaping": True})


losses()
estimators()
credits()
penalties()
text = ",\n".join(json.dumps(v) for v in vectors)
pathlib.Path(__file__).with_name("vectors.json").write_text("[\n" + text + "\n]\n")
print(len(vectors), "vectors")
