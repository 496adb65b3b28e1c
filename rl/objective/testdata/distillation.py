"""Values and gradients of distillation losses, in float64, as distillation.json:

    python3 -m venv venv && venv/bin/pip install torch==2.9.0 transformers==5.24.0 trl==1.16.0
    (cd rl/objective/testdata && ../../../venv/bin/python distillation.py)

- jsd: generalized_jsd_loss of TRL's GKDTrainer, called as it is, with its gradient
  with respect to the student's logits;
- kl_div: torch.nn.functional.kl_div in both directions;
- single_step: the single-step term of MiniLLM (arXiv:2306.08543, equation 4),
  written as in its code (_reg_loss of minillm/minillm/losses.py in
  github.com/microsoft/LMOps): the cross-entropy of the student with the teacher minus
  the student's entropy, of each token;
- rest: kl_div and JSD between distributions over the teacher's two best tokens and
  the sum of the others, made with torch.topk and logsumexp.

All are sums over four tokens.
"""

import importlib.metadata
import json

import torch
import torch.nn.functional as F
from trl.experimental.gkd import GKDTrainer

for name, version in {"torch": "2.9.0", "trl": "1.16.0"}.items():
    assert importlib.metadata.version(name).split("+")[0] == version, name

torch.set_default_dtype(torch.float64)
torch.manual_seed(16)
TOKENS, VOCAB, K = 4, 6, 2
student = torch.randn(1, TOKENS, VOCAB) * 2
teacher = torch.randn(1, TOKENS, VOCAB) * 2


def case(name, loss):
    """loss takes the student's logits and returns a scalar."""
    x = student.clone().requires_grad_()
    value = loss(x)
    value.backward()
    return {"name": name, "loss": value.item(), "grad": x.grad[0].tolist()}


def jsd(x, beta, temperature=1.0):
    return GKDTrainer.generalized_jsd_loss(x, teacher, beta=beta, temperature=temperature, reduction="sum")


def single_step(x):
    p, logp, logq = x.softmax(-1), x.log_softmax(-1), teacher.log_softmax(-1)
    cross_entropy, entropy = -(p * logq).sum(-1), -(p * logp).sum(-1)
    return (cross_entropy - entropy).sum()


ids = teacher.topk(K, -1).indices


def buckets(x):
    """The log-probs of the candidates, and of the others together."""
    logp = x.log_softmax(-1)
    rest = logp.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([logp.gather(-1, ids), rest], -1)


cases = [case(f"jsd {b}", lambda x, b=b: jsd(x, b)) for b in (0, 0.1, 0.5, 0.9, 1)]
cases += [
    case("forward kl_div", lambda x: F.kl_div(x.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True)),
    case("reverse kl_div", lambda x: F.kl_div(teacher.log_softmax(-1), x.log_softmax(-1), reduction="sum", log_target=True)),
    case("single step", single_step),
]
rest = [
    case("rest forward", lambda x: F.kl_div(buckets(x), buckets(teacher), reduction="sum", log_target=True)),
    case("rest reverse", lambda x: F.kl_div(buckets(teacher), buckets(x), reduction="sum", log_target=True)),
    # log-probs are their own log-softmax, so TRL's function takes them for logits
    case("rest jsd 0.3", lambda x: GKDTrainer.generalized_jsd_loss(buckets(x), buckets(teacher), beta=0.3, reduction="sum")),
]

with open("distillation.json", "w") as f:
    json.dump({
        "versions": {n: importlib.metadata.version(n) for n in ("torch", "trl")},
        "student": student[0].tolist(), "teacher": teacher[0].tolist(), "ids": ids[0].tolist(),
        "cases": cases, "rest": rest,
    }, f, indent=1)
    f.write("\n")
