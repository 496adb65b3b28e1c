"""PyTorch beside `stepwise bench` on a GPU: the same shapes, batches and counts.

    python bench/torch_gpu.py products
    python bench/torch_gpu.py train 1B [-compile]
    python bench/torch_gpu.py sample 1B|8B [-compile]

Products and training are in bfloat16 by autocast over float32 weights, attention is
scaled_dot_product_attention, the optimiser fused AdamW; sampling has bfloat16 weights
and a static cache. -compile is torch.compile, whose time to compile is not counted,
with CUDA graphs for sampling. -quick runs small shapes, on the CPU if need be. Each
figure is the fastest of three rounds.
"""

import argparse
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPES = {  # vocabulary, width, layers, heads, key heads, feed-forward width
    "tiny": (128, 32, 2, 2, 1, 64),
    "1B": (128256, 2048, 16, 32, 8, 8192),
    "8B": (128256, 4096, 32, 32, 8, 14336),
}
PRODUCTS = [  # those of `stepwise bench`: transposed operands, m, n, k
    ("NN", 4096, 4096, 4096), ("NT", 4096, 4096, 4096), ("TN", 4096, 4096, 4096), ("NT", 8192, 8192, 8192),
    ("NT", 4096, 2048, 2048), ("NT", 4096, 8192, 2048), ("NT", 4096, 2048, 8192), ("TN", 8192, 2048, 4096),
]


def sync():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def fastest(f, rounds=3, calls=1):
    best = float("inf")
    for _ in range(rounds):
        sync()
        start = time.perf_counter()
        for _ in range(calls):
            f()
        sync()
        best = min(best, (time.perf_counter() - start) / calls)
    return best


class Layer(nn.Module):
    def __init__(self, dim, heads, kv_heads, ff):
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, dim // heads
        self.norm1, self.norm2 = nn.RMSNorm(dim, eps=1e-5), nn.RMSNorm(dim, eps=1e-5)
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, kv_heads * self.size, bias=False)
        self.v = nn.Linear(dim, kv_heads * self.size, bias=False)
        self.o = nn.Linear(dim, dim, bias=False)
        self.gate, self.up = nn.Linear(dim, ff, bias=False), nn.Linear(dim, ff, bias=False)
        self.down = nn.Linear(ff, dim, bias=False)

    def forward(self, x, cos, sin, cache=None, at=None, mask=None):
        b, n, _ = x.shape
        h = self.norm1(x)
        q, k, v = (p(h).view(b, n, -1, self.size).transpose(1, 2) for p in (self.q, self.k, self.v))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            ks, vs = cache
            ks.index_copy_(2, at, k.to(ks.dtype))
            vs.index_copy_(2, at, v.to(vs.dtype))
            y = F.scaled_dot_product_attention(q, ks, vs, attn_mask=mask, enable_gqa=True)
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, n, -1))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


class Llama(nn.Module):
    def __init__(self, vocab, dim, layers, heads, kv_heads, ff):
        super().__init__()
        self.size = dim // heads
        self.embed = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(Layer(dim, heads, kv_heads, ff) for _ in range(layers))
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, positions, caches=None, mask=None):
        freq = 10000.0 ** (-torch.arange(0, self.size, 2, device=ids.device) / self.size)
        angles = positions[:, None] * freq
        cos, sin = angles.cos(), angles.sin()
        x = self.embed(ids)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, caches[i] if caches else None, positions, mask)
        return F.linear(self.norm(x), self.embed.weight)


def products(device):
    for op, m, n, k in PRODUCTS if device == "cuda" else [("NT", 64, 64, 64)]:
        a = torch.randn((k, m) if op[0] == "T" else (m, k), device=device, dtype=torch.bfloat16)
        b = torch.randn((n, k) if op[1] == "T" else (k, n), device=device, dtype=torch.bfloat16)
        x, y = (a.t() if op[0] == "T" else a), (b.t() if op[1] == "T" else b)
        x @ y
        t = fastest(lambda: x @ y, calls=20)
        print(f"torch {op} {m}×{n}×{k}: {2 * m * n * k / t / 1e12:.1f} TFLOP/s", flush=True)


def train(name, device, compiled):
    sequences, length = (2, 32) if name == "tiny" else (16, 256)
    vocab, dim, layers, heads, _, _ = SHAPES[name]
    m = Llama(*SHAPES[name]).to(device)
    parameters = sum(p.numel() for p in m.parameters())
    opt = torch.optim.AdamW(m.parameters(), lr=1e-4, fused=device == "cuda")
    ids = torch.randint(vocab, (sequences, length + 1), device=device)
    positions = torch.arange(length, device=device)

    def loss():
        with torch.autocast(device, torch.bfloat16):
            logits = m(ids[:, :-1], positions)
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())

    f = torch.compile(loss) if compiled else loss

    def step():
        f().backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=False)

    step()
    step()
    t = fastest(step)
    tokens = sequences * length
    flops = 6 * parameters + 6 * layers * dim * (length + 1)  # as trainFLOPs counts
    print(f"torch train {name} {'compiled' if compiled else 'eager'}: {tokens / t:.0f} tokens/s, {tokens * flops / t / 1e12:.1f} TFLOP/s", flush=True)


@torch.no_grad()
def sample(name, device, compiled):
    vocab, dim, layers, heads, kv_heads, _ = SHAPES[name]
    batches, prompt, tokens = ([1, 4], 4, 8) if name == "tiny" else ([1, 16, 64], 16, 128)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        m = Llama(*SHAPES[name])
    torch.set_default_dtype(torch.float32)
    parameters = sum(p.numel() for p in m.parameters())
    for batch in batches:
        rows = prompt + tokens
        caches = [tuple(torch.zeros(batch, kv_heads, rows, dim // heads, device=device, dtype=torch.bfloat16) for _ in range(2)) for _ in range(layers)]
        ids = torch.randint(vocab, (batch, prompt), device=device)
        columns = torch.arange(rows, device=device)

        def draw(logits):  # one uniform number a token, by Gumbel's trick
            z = logits[:, -1].float()
            return (z - torch.empty_like(z).exponential_().log()).argmax(-1, keepdim=True)

        def one(token, at):
            return draw(m(token, at, caches, (columns <= at)[None, None, None, :]))

        f = torch.compile(one, mode="reduce-overhead") if compiled else one

        def round():
            at = torch.arange(prompt, device=device)
            token = draw(m(ids, at, caches, (columns[None] <= at[:, None])[None, None]))
            for i in range(tokens - 1):
                if compiled and device == "cuda":
                    torch.compiler.cudagraph_mark_step_begin()
                token = f(token, torch.full((1,), prompt + i, device=device)).clone()

        round()
        t = fastest(round)
        print(f"torch sample {name} {'compiled' if compiled else 'eager'}, batch {batch}: {batch * tokens / t:.1f} tokens/s, weights {2 * parameters * tokens / t / 1e9:.0f} GB/s", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["products", "train", "sample"])
    p.add_argument("model", nargs="?", choices=list(SHAPES), default="tiny")
    p.add_argument("-compile", action="store_true")
    p.add_argument("-quick", action="store_true")
    a = p.parse_args()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = "tiny" if a.quick else a.model
    if a.what == "products":
        products(device)
    elif a.what == "train":
        train(name, device, a.compile)
    else:
        sample(name, device, a.compile)


if __name__ == "__main__":
    main()
