"""Times PyTorch on the products and training steps of `stepwise bench`.

    python -m venv env && env/bin/pip install torch==2.15.0 numpy==2.4.6
    env -u OPENBLAS_CORETYPE env/bin/python cmd/stepwise/internal/bench/peers/torch_engine.py [gemm] [eager] [compile] [-models 1M,10M,100M] [-threads N]

float32 (no TF32, no BF16), as many threads as there are cores by default, MKL and oneDNN as
the wheel brings them. Training is forward, backward and torch.optim.AdamW
(fused) of the same decoder on 16 sequences of 256 tokens with a tied head:
RMSNorm, RoPE, grouped-query attention by scaled_dot_product_attention, SwiGLU.
Each line is the fastest of several rounds, as in `stepwise bench`; run the two
in turn. Best of eager and torch.compile counts.
"""

import argparse
import os
import time

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)
SHAPES = {  # vocab, dim, layers, heads, kv heads, ff
    "1M": (1024, 128, 4, 4, 2, 384),
    "10M": (4096, 320, 8, 5, 5, 864),
    "100M": (8192, 768, 12, 12, 4, 2304),
}
SEQUENCES, LENGTH, ROUNDS = 16, 256, 3


def fastest(f, rounds):
    f()
    times = []
    while len(times) < rounds or sum(times) < 5:
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


def gemm():
    for m, n, k in [(1024, 1024, 1024), (512, 768, 768)]:
        for name, a, b in [
            ("NN", torch.rand(m, k), torch.rand(k, n)),
            ("NT", torch.rand(m, k), torch.rand(n, k).T),
            ("TN", torch.rand(k, m).T, torch.rand(k, n)),
        ]:
            c = torch.empty(m, n)
            seconds = fastest(lambda: torch.mm(a, b, out=c), 60)
            print(f"gemm {name} {m}x{n}x{k}: {2 * m * n * k / seconds / 1e9:.1f} GFLOP/s", flush=True)
    m, n, k = 16, 1024, 1024
    weights = torch.rand(32, n, k)
    x, c = torch.rand(m, k), torch.empty(m, n)

    def rotate():
        for w in weights:
            torch.mm(x, w.T, out=c)

    seconds = fastest(rotate, 30) / len(weights)
    print(f"gemm NT {m}x{n}x{k} rotated: {2 * m * n * k / seconds / 1e9:.1f} GFLOP/s, "
          f"{4 * n * k / seconds / 1e9:.1f} GB/s", flush=True)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Block(nn.Module):
    def __init__(self, dim, heads, kv, ff):
        super().__init__()
        self.heads, self.kv, self.size = heads, kv, dim // heads
        linear = lambda i, o: nn.Linear(i, o, bias=False)  # noqa: E731
        self.q, self.k, self.v = linear(dim, dim), linear(dim, kv * self.size), linear(dim, kv * self.size)
        self.o, self.gate, self.up, self.down = linear(dim, dim), linear(dim, ff), linear(dim, ff), linear(ff, dim)
        self.norm1, self.norm2 = nn.RMSNorm(dim, eps=1e-5), nn.RMSNorm(dim, eps=1e-5)

    def forward(self, x, cos, sin):
        n, t, dim = x.shape
        y = self.norm1(x)
        split = lambda z, h: z.view(n, t, h, self.size).transpose(1, 2)  # noqa: E731
        q, k, v = split(self.q(y), self.heads), split(self.k(y), self.kv), split(self.v(y), self.kv)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.kv)
        x = x + self.o(y.transpose(1, 2).reshape(n, t, dim))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    def __init__(self, vocab, dim, layers, heads, kv, ff):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embed.weight, std=dim**-0.5)
        self.blocks = nn.ModuleList(Block(dim, heads, kv, ff) for _ in range(layers))
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        size = dim // heads
        angle = torch.arange(LENGTH)[:, None] * 10000 ** (-torch.arange(0, size, 2) / size)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens, targets):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embed.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def train(name, mode):
    shape = SHAPES[name]
    model = Decoder(*shape)
    loss = torch.compile(model) if mode == "compile" else model
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    tokens = torch.randint(shape[0], (SEQUENCES, LENGTH + 1))

    def step():
        loss(tokens[:, :-1], tokens[:, 1:]).backward()
        opt.step()
        opt.zero_grad()

    step()
    seconds = fastest(step, ROUNDS)
    print(f"train {name} {mode}: {SEQUENCES * LENGTH / seconds:.0f} tokens/s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["gemm", "eager", "compile"])
    parser.add_argument("-models", default=",".join(SHAPES))
    parser.add_argument("-threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    for what in args.what:
        if what == "gemm":
            gemm()
            continue
        for name in args.models.split(","):
            train(name, what)
