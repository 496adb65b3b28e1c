"""Prints the table of sizes in docs/scale.md, from the shapes of Qwen3 models.

    python3 examples/cluster/sizes.py
"""

models = {  # layers, width, heads, key heads, feed-forward, tied
    "0.6B": (28, 1024, 16, 8, 3072, True),
    "1.7B": (28, 2048, 16, 8, 6144, True),
    "4B": (36, 2560, 32, 8, 9728, True),
    "8B": (36, 4096, 32, 8, 12288, False),
    "14B": (40, 5120, 40, 8, 17408, False),
    "32B": (64, 5120, 64, 8, 25600, False),
}
vocabulary, head, rank = 151936, 128, 32
for name, (layers, width, heads, keys, ff, tied) in models.items():
    shapes = [(width, heads * head), (width, keys * head), (width, keys * head), (heads * head, width)]
    shapes += [(width, ff), (width, ff), (ff, width)]
    parameters = layers * (sum(a * b for a, b in shapes) + 2 * width + 2 * head) + width
    parameters += vocabulary * width * (1 if tied else 2)
    adapters = layers * rank * sum(a + b for a, b in shapes)
    cache = 2 * layers * keys * head * 2 / 1024
    print(
        f"| {name} | {parameters / 1e9:.2f} G | {16 * parameters / 1e9:.0f} GB | {2 * parameters / 1e9:.1f} GB "
        f"| {cache:.0f} KiB | {8 * parameters / 1e9:.1f} GB | {8 * adapters / 1e9:.2g} GB |"
    )
