"""Losses of package distill and their gradients, by torch's own functions in float64.

    python3 -m venv venv && venv/bin/pip install torch==2.9.0
    (cd distill/testdata && ../../venv/bin/python golden.py)
"""

import json

import torch
import torch.nn.functional as F

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)


def soft(T):
    """T²·KL of softened distributions, as torch's tutorial on distillation has it."""
    z, teacher = (2 * torch.randn(3, 4)).requires_grad_(), 2 * torch.randn(3, 4)
    loss = F.kl_div(F.log_softmax(z / T, 1), F.softmax(teacher / T, 1), reduction="none").sum(1) * T * T
    loss.sum().backward()
    return dict(temperature=T, outputs=z.tolist(), teacher=F.softmax(teacher, 1).tolist(), loss=loss.tolist(), grad=z.grad.tolist())


def hard():
    z, label = (2 * torch.randn(3, 4)).requires_grad_(), torch.tensor([0, 3, 1])
    loss = F.cross_entropy(z, label, reduction="none")
    loss.sum().backward()
    return dict(outputs=z.tolist(), label=label.tolist(), loss=loss.tolist(), grad=z.grad.tolist())


def ordinal(T):
    """The probability of a class as the difference of two sigmoids."""
    z, teacher = torch.randn(3, 4).requires_grad_(), torch.randn(3, 5)
    cuts = z[:, :1] - torch.cat([torch.zeros(3, 1), F.softplus(z[:, 1:]).cumsum(1)], 1)
    above = torch.cat([torch.ones(3, 1), torch.sigmoid(cuts), torch.zeros(3, 1)], 1)
    logp = torch.log(above[:, :-1] - above[:, 1:])
    loss = F.kl_div(F.log_softmax(logp / T, 1), F.softmax(teacher / T, 1), reduction="none").sum(1) * T * T
    loss.sum().backward()
    return dict(temperature=T, outputs=z.tolist(), teacher=F.softmax(teacher, 1).tolist(), logp=logp.tolist(), loss=loss.tolist(), grad=z.grad.tolist())


def ranking():
    """Margins of all pairs by mse_loss; lists by kl_div."""
    s, t = (2 * torch.randn(5)).requires_grad_(), 2 * torch.randn(5)
    i, j = torch.triu_indices(5, 5, 1)
    margin = F.mse_loss(s[i] - s[j], t[i] - t[j])
    (dmargin,) = torch.autograd.grad(margin, s)
    T = 1.5
    kl = F.kl_div(F.log_softmax(s / T, 0), F.softmax(t / T, 0), reduction="sum") * T * T
    (dkl,) = torch.autograd.grad(kl, s)
    return dict(scores=s.tolist(), teacher=t.tolist(), margin=margin.item(), margin_grad=dmargin.tolist(), temperature=T, kl=kl.item(), kl_grad=dkl.tolist())


with open("golden.json", "w") as f:
    json.dump(dict(soft=[soft(1.0), soft(2.5)], hard=hard(), ordinal=[ordinal(1.0), ordinal(2.0)], ranking=ranking()), f, indent=1)
    f.write("\n")
