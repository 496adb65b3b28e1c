"""The loops of golden_test.go in numpy, for their values and their speed.

    python3 -m venv venv && venv/bin/pip install numpy==2.3.5
    OMP_NUM_THREADS=1 venv/bin/python loops.py golden > golden.json
    OMP_NUM_THREADS=1 venv/bin/python loops.py bench

Data come from a linear congruential generator in integers, so that both sides
have the same bits.
"""

import json
import sys
import time

import numpy as np

assert np.__version__ == "2.3.5", np.__version__


class Stream:
    def __init__(self):
        self.state = 1

    def uniform(self, *shape):
        out = np.empty(int(np.prod(shape)))
        for i in range(len(out)):
            self.state = (self.state * 1103515245 + 12345) % 2**31
            out[i] = self.state / 2**31
        return out.reshape(shape)


def simplex(m, d, rounds):
    """Entropic mirror descent, least squares, step 0.5."""
    s = Stream()
    a, b = s.uniform(m, d), s.uniform(m)
    x = np.full(d, 1 / d)
    z = np.log(x)
    for _ in range(rounds):
        z = z - 0.5 * (a.T @ (a @ x - b)) / m
        e = np.exp(z - z.max())
        x = e / e.sum()
    return x


def burg(m, d, rounds):
    """Mirror descent with Burg, Poisson deviance, step 1/mean(b)."""
    s = Stream()
    a, b = s.uniform(m, d), 1 + s.uniform(m)
    x = np.ones(d)
    z = -1 / x
    for _ in range(rounds):
        z = z - (a.T @ (1 - b / (a @ x))) / m / b.mean()
        x = -1 / z
    return x


def polynomial(m, d, rounds):
    """Mirror descent with |x|²/2 + |x|⁴/4, magnitudes, step 0.5/d²."""
    s = Stream()
    a, b = s.uniform(m, d), s.uniform(m)
    x = np.full(d, 0.5)
    z = (1 + x @ x) * x
    for _ in range(rounds):
        u = a @ x
        z = z - 0.5 / d**2 * (a.T @ ((u * u - b) * u)) / m
        n = np.sqrt(z @ z)
        r = n / (1 + n * n) ** (1 / 3)  # Newton for r + r³ = n
        for _ in range(50):
            step = (r + r**3 - n) / (1 + 3 * r * r)
            r -= step
            if abs(step) <= 1e-16 * r:
                break
        x = z * (r / n)
    return x


def tracking(m, d, rounds):
    """Gradient tracking with Fermi-Dirac on (0, 1), 16 nodes on a ring, least
    squares with m rows each, step 0.1; the points of all nodes."""
    n, s = 16, Stream()
    a, b = s.uniform(n, m, d), s.uniform(n, m) * d / 2
    w = np.zeros((n, n))
    for i in range(n):
        w[i, i] = 1 - 1 / 3 - 1 / 3
        w[i, (i + 1) % n] = w[i, (i - 1) % n] = 1 / 3

    def grad(x):
        r = np.einsum("nmd,nd->nm", a, x) - b
        return np.einsum("nmd,nm->nd", a, r) / m

    z = np.zeros((n, d))
    x = np.full((n, d), 0.5)
    g = grad(x)
    y = g.copy()
    for _ in range(rounds):
        z = w @ z - 0.1 * y
        e = np.exp(-np.abs(z))
        x = np.where(z < 0, e / (1 + e), 1 - e / (1 + e))
        new = grad(x)
        y = w @ y + new - g
        g = new
    return x.ravel()


def seconds(loop, *args):
    start = time.perf_counter()
    loop(*args)
    return time.perf_counter() - start


LOOPS = {"simplex": simplex, "burg": burg, "polynomial": polynomial, "tracking": tracking}
SMALL = (8, 5, 100)
LARGE = {"simplex": (200, 500), "burg": (200, 500), "polynomial": (200, 500), "tracking": (20, 50)}

if sys.argv[1:] == ["golden"]:
    print(json.dumps({name: loop(*SMALL).tolist() for name, loop in LOOPS.items()}, indent=1))
elif sys.argv[1:] == ["bench"]:
    for name, loop in LOOPS.items():
        for m, d in [(8, 5), LARGE[name]]:
            best = min(seconds(loop, m, d, 2000) - seconds(loop, m, d, 0) for _ in range(5))
            print(f"{name:11s} m={m} d={d}: {best / 2000 * 1e6:6.1f} µs a round")
else:
    sys.exit(__doc__)
