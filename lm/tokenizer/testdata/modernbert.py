"""Makes families/modernbert.json.gz: how Hugging Face's tokenizers library encodes the
texts of texts.py with a tokenizer of ModernBERT's form.

    pip install tokenizers==0.23.3
    curl -LO https://raw.githubusercontent.com/m8than/RWKV-Classifier/420527a5dd83f11854bff15f0022ff1ead0fdf8d/20B_tokenizer.json
    python lm/tokenizer/testdata/modernbert.py 20B_tokenizer.json

The vocabulary and the merges are GPT-NeoX-20B's, from which ModernBERT's come; the tokens
from 50277 on, and what is put around texts, are ModernBERT's. What is kept are the tokens
that occur in a text at all and the merges that make them.
"""

import gzip
import hashlib
import json
import pathlib
import sys

import tokenizers
from tokenizers import Tokenizer

from texts import texts

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
data = pathlib.Path(sys.argv[1]).read_bytes()
assert hashlib.sha256(data).hexdigest() == "503a6edd4ed5739c5ef9b1af11e9b724d5140f803dc7fcf1e71ea3fb8a1e73e4"
TEXTS = texts()
BYTES, n = {}, 0
for b in range(256):  # bytes_to_unicode of openai/gpt-2
    BYTES[b] = chr(b) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255 else chr(256 + n)
    n += BYTES[b] == chr(256 + n)


def added(i, content, special=False, lstrip=False, normalized=False):
    return dict(
        id=i, content=content, single_word=False, lstrip=lstrip, rstrip=False, normalized=normalized, special=special
    )


def modernbert(neox):
    spaces = [a for a in neox["added_tokens"] if 50254 <= a["id"] <= 50276]
    assert all(a["normalized"] and not a["special"] and not a["content"].strip() for a in spaces), spaces
    named = ["|||EMAIL_ADDRESS|||", "|||PHONE_NUMBER|||", "<|endoftext|>", "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    tokens = [added(0, "|||IP_ADDRESS|||", normalized=True), added(1, "<|padding|>", special=True)] + spaces
    for i, content in enumerate(named):
        tokens.append(added(50277 + i, content, special=i > 1, lstrip=content == "[MASK]", normalized=i <= 1))
    tokens += [added(50285 + i, f"[unused{i}]", normalized=True) for i in range(83)]
    one, two = [{"SpecialToken": {"id": s, "type_id": 0}} for s in ("[CLS]", "[SEP]")]
    a, b = [{"Sequence": {"id": s, "type_id": i}} for i, s in enumerate("AB")]
    special = {s: {"id": s, "ids": [50281 + i], "tokens": [s]} for i, s in enumerate(("[CLS]", "[SEP]"))}
    last = {"SpecialToken": {"id": "[SEP]", "type_id": 1}}
    vocab = {s: i for s, i in neox["model"]["vocab"].items() if i > 1}
    vocab |= {"|||IP_ADDRESS|||": 0, "<|padding|>": 1}
    post = {"type": "TemplateProcessing", "single": [one, a, two], "pair": [one, a, two, b, last], "special_tokens": special}
    return neox | {"added_tokens": tokens, "post_processor": post, "model": neox["model"] | {"vocab": vocab}}


def load(definition):
    return Tokenizer.from_str(json.dumps(definition))


def encode(t):
    return t.encode_batch(TEXTS, add_special_tokens=False)


def reduce(definition):
    """The same tokenizer with no more tokens than the texts need."""
    t, model = load(definition), definition["model"]
    longest, pieces = max(map(len, model["vocab"])), set(BYTES.values())
    for text in TEXTS:
        x = "".join(BYTES[b] for b in t.normalizer.normalize_str(text).encode())
        pieces.update(x[i:j] for i in range(len(x)) for j in range(i + 1, min(len(x), i + longest) + 1))
    contents = {a["content"] for a in definition["added_tokens"]}
    vocab = {s: i for s, i in model["vocab"].items() if s in pieces or s in contents}
    # The library would give added tokens that the vocabulary lacks other ids.
    vocab |= {a["content"]: a["id"] for a in definition["added_tokens"] if a["content"] not in vocab}
    merges = [m.split(" ") for m in model["merges"]]
    merges = [m for m in merges if "".join(m) in vocab and m[0] in vocab and m[1] in vocab]
    return definition | {"model": model | {"vocab": vocab, "merges": merges}}


def byte_spans(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [[at[a], at[b]] for a, b in offsets]


whole = modernbert(json.loads(data))
small = reduce(whole)
t = load(small)
encoded, pair = encode(t), t.encode("Hello,", "world")
for text, a, b in zip(TEXTS, encode(load(whole)), encoded):
    assert (a.ids, a.offsets) == (b.ids, b.offsets), text
golden = {
    "tokenizer": small,
    "ids": [e.ids for e in encoded],
    "spans": [byte_spans(x, e.offsets) for x, e in zip(TEXTS, encoded)],
    "decoded": [t.decode(e.ids, skip_special_tokens=True) for e in encoded],
    "special": t.encode("Hello, world").ids,
    "pair": [pair.ids, pair.type_ids],
}
text = json.dumps(golden, ensure_ascii=True, separators=(",", ":")).encode()
path = pathlib.Path(__file__).parent / "families" / "modernbert.json.gz"
path.write_bytes(gzip.compress(text, 9, mtime=0))
print(path.name, len(small["model"]["vocab"]), path.stat().st_size)
