"""Writes variants.json.gz: tokenizer.json files of the odd kinds that are
published, with small vocabularies of our own, and what the library makes of texts.

    pip install tokenizers==0.23.3
    python variants.py

Each has a name, the file, and cases of a text, its ids, and the ids decoded
(null where a token spells bytes that are not UTF-8).
"""

import gzip
import json
import os

from tokenizers import Tokenizer

here = os.path.dirname(os.path.abspath(__file__))


def spelling():
    """How vocabulary files spell each byte (bytes_to_unicode of GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(other)}


SPELLING = spelling()
IMPOSSIBLE = [0xC0, 0xC1, *range(0xF5, 0x100)]
BYTES = {SPELLING[b]: b for b in range(256)}
MERGES = [["Ġ", "a"], ["a", "b"], ["Ġ", "Ġ"], ["i", "n"], ["in", "g"], ["Ã", "©"]]


def added(content, id=None, **flags):
    off = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    return {"id": id, "content": content} | off | flags


def number(tokens, vocab):
    """Gives added tokens the ids that the library gives them."""
    ids, out = dict(vocab), []
    for t in tokens:
        ids.setdefault(t["content"], len(ids))
        out.append(t | {"id": ids[t["content"]] if t["id"] is None else t["id"]})
    return out


def byte_level(space=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": regex}


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def sequence(field, *parts):
    return {"type": "Sequence", field: list(parts)}


def file(model, **parts):
    base = dict(version="1.0", truncation=None, padding=None, added_tokens=[], normalizer=None)
    return base | dict(pre_tokenizer=None, post_processor=None, decoder=None) | parts | dict(model=model)


def bpe(vocab, merges=(), **options):
    off = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None)
    off |= dict(fuse_unk=False, byte_fallback=False, ignore_merges=False)
    vocab = dict(vocab)
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    return off | options | dict(vocab=vocab, merges=list(merges))


def gpt(tokens=(), vocab=BYTES, merges=MERGES, **parts):
    """A byte-level BPE."""
    parts = dict(pre_tokenizer=byte_level(), decoder=byte_level()) | parts
    model = bpe(vocab, merges)
    return file(model, added_tokens=number(tokens, model["vocab"]), **parts)


MARK = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
UNMARK = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
PREPEND = {"type": "Prepend", "prepend": "▁"}


def llama(tokens=(), lacking=(), prefix=True, **parts):
    """A BPE with byte fallback that marks spaces."""
    names = ["<unk>", *(f"<0x{b:02X}>" for b in range(256) if b not in lacking), *"▁abing"]
    vocab = {name: i for i, name in enumerate(names)}
    merges = [["▁", "a"], ["a", "b"], ["▁", "▁"], ["i", "n"], ["in", "g"]]
    normalizer = sequence("normalizers", *([PREPEND] if prefix else []), MARK)
    decoder = sequence("decoders", *UNMARK, *([STRIP] if prefix else []))
    model = bpe(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    return file(model, added_tokens=number(tokens, model["vocab"]), **(dict(normalizer=normalizer, decoder=decoder) | parts))


def metaspace(scheme):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}


BERT = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}


def bert(tokens=(), **parts):
    """A WordPiece."""
    names = ["[UNK]", *"ab.!,'", "##a", "##b", "ing", "##ing", "do", "not", "s", "n", "t", "m"]
    model = dict(type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=100)
    model |= dict(vocab={name: i for i, name in enumerate(names)})
    decoder = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    base = dict(normalizer=BERT, pre_tokenizer={"type": "BertPreTokenizer"}, decoder=decoder)
    return file(model, added_tokens=number(tokens, model["vocab"]), **(base | parts))


def unigram(tokens=(), **parts):
    """A Unigram with SentencePiece's marks."""
    vocab = [["<unk>", 0.0], ["▁", -2.0], ["a", -2.5], ["b", -3.0], ["▁a", -2.2], ["ab", -2.6], ["ing", -3.5], ["in", -3.2]]
    mark = {"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True}
    base = dict(pre_tokenizer=sequence("pretokenizers", {"type": "WhitespaceSplit"}, mark), decoder=mark)
    return file({"type": "Unigram", "unk_id": 0, "vocab": vocab}, added_tokens=number(tokens, {t: i for i, (t, _) in enumerate(vocab)}), **(base | parts))


def untyped(definition):
    """As old versions wrote models: without their type."""
    return definition | {"model": {k: v for k, v in definition["model"].items() if k not in ("type", "byte_fallback", "ignore_merges")}}


CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS + "?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS + r"?|\p{N}{1,3}" + TAIL
)
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
# Merges that show where words were cut.
LONG_S = [["'", "s"], ["'", "Å"], ["Å", "¿"], ["'Å", "¿"], ["a", "'"], ["Å¿", "Å¿"], ["K", "k"], ["'", "S"]]


# The same for the ends of lines and for numbers.
LINES = [["a", "a"], ["a", "b"], ["a", "Ċ"], ["Ċ", "a"], ["Ċ", "Ċ"], ["Ġ", "Ġ"], ["Ġ", "Ċ"], ["Ċ", "Ġ"], ["b", "Ċ"], ["1", "2"], ["12", "3"], ["123", "4"], ["Â", "½"], ["4", "Â½"], ["Â½", "_"]]


def cut(pattern, merges=LONG_S):
    return gpt(merges=merges, pre_tokenizer=sequence("pretokenizers", split(pattern), byte_level(regex=False)))


def lacking(*missing):
    vocab = [SPELLING[b] for b in range(256) if b not in missing]
    return {s: i for i, s in enumerate(vocab)}


X = "<X>"
flags = [dict(lstrip=left, rstrip=right) for left in (False, True) for right in (False, True)]
variants = {
    "lacks impossible bytes": gpt(vocab=lacking(*IMPOSSIBLE)),
    "lacks some impossible bytes": gpt(vocab=lacking(0xC1, 0xF5, 0xFF), normalizer={"type": "NFC"}),
    "impossible bytes as added tokens": gpt([added(SPELLING[b], normalized=True) for b in IMPOSSIBLE], lacking(*IMPOSSIBLE), []),
    "byte fallback lacks impossible bytes": llama(lacking=IMPOSSIBLE),
    "empty normalizer": gpt(normalizer=sequence("normalizers")),
    "empty normalizers": gpt(normalizer=sequence("normalizers", sequence("normalizers"), {"type": "NFC"}, sequence("normalizers"))),
    "empty pre-tokenizers": gpt(pre_tokenizer=sequence("pretokenizers", sequence("pretokenizers"), byte_level(), sequence("pretokenizers"))),
    "empty post-processor": gpt(post_processor=sequence("processors")),
    "empty post-processors": gpt(post_processor=sequence("processors", sequence("processors"), byte_level())),
    "decoder in a sequence": gpt(decoder=sequence("decoders", sequence("decoders"), byte_level())),
    "empty pre-tokenizer where spaces are marked": llama(pre_tokenizer=sequence("pretokenizers")),
    "a lone normalizer": llama(prefix=False, normalizer=MARK),
    "nested normalizers": llama(normalizer=sequence("normalizers", sequence("normalizers", PREPEND), sequence("normalizers", MARK))),
    "Metaspace in a sequence": llama(normalizer=sequence("normalizers"), pre_tokenizer=sequence("pretokenizers", metaspace("first"))),
    "BERT in sequences": bert(normalizer=sequence("normalizers", BERT), pre_tokenizer=sequence("pretokenizers", {"type": "BertPreTokenizer"})),
    "added twice": gpt([added(X), added(X)]),
    "added twice, other flags": gpt([added(X), added(X, lstrip=True), added("<Y>")]),
    "added twice, plain last": gpt([added(X, rstrip=True, single_word=True), added(X)]),
    "added twice, special once": gpt([added(X, special=True), added(X)]),
    "added twice, special last": gpt([added(X), added(X, special=True)]),
    "added twice, normalized once": gpt([added(X), added(X, normalized=True)], normalizer={"type": "NFC"}),
    "added twice, with two ids": gpt([added(X, 256), added(X, 257)], merges=[]),
    "added with another id than the vocabulary's": gpt([added("ab", 2001), added(X)], merges=[], vocab=BYTES | {"ab": 256}),
    "added, but empty": gpt([added("", 256), added(X, 256)], merges=[]),
    "add_prefix_space": gpt(pre_tokenizer=byte_level(space=True)),
    "add_prefix_space, added tokens": gpt([added(X), added("<y>", normalized=True), added("in", lstrip=True)], pre_tokenizer=byte_level(space=True)),
    "add_prefix_space, digits": gpt(pre_tokenizer=sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level(space=True))),
    "add_prefix_space, split": gpt(pre_tokenizer=sequence("pretokenizers", split(QWEN), byte_level(space=True, regex=False))),
    "add_prefix_space, composed": gpt(normalizer={"type": "NFC"}, pre_tokenizer=byte_level(space=True)),
    "add_prefix_space, no pattern": gpt(pre_tokenizer=byte_level(space=True, regex=False)),
    "long s, Qwen": cut(QWEN),
    "long s, Llama 3": cut(LLAMA3),
    "long s, o200k": cut(O200K),
    "long s, cl100k": cut(CL100K),
    "long s, flag for the rest": cut(r"(?i)'s|[a-k]+|(?-i)[r-t]+|."),
    "long s, in a class": cut(r"(?i:[q-t]+)|(?i:[^s])|[\s\S]"),
    "no type, BPE": untyped(gpt([added(X)])),
    "no type, WordPiece": untyped(bert([added("[Y]")])),
    "no type, Unigram": untyped(unigram([added(X)])),
    "ends of lines": cut(r"^a+|\s+$|b", LINES),
    "ends of lines, possessive": cut(r"\p{L}++|\p{N}{1,3}+|\s++$|\s*[\r\n]|\s+(?!\S)|\s", LINES),
    "intervals": cut(r"a{2}?b|\d{2}?|\s{,2}", LINES),
    "word characters": cut(r"\w+\b|[^\w\s]+|\W", LINES),
    "the flag m": cut(r"(?m:a.)|.", LINES),
    "long s, spelled": cut(r"(?i:'ſ|ab)|[\s\S]"),
    "long s, no flag": cut(r"'s|'[st]|(?:'S)|[\s\S]"),
    "decode a space, normalized": llama([added(X, normalized=True)]),
    "decode a space, normalized, no prefix": llama([added(" x ", normalized=True)], prefix=False),
    "decode a space, marked": llama([added("▁▁▁"), added("▁x")]),
    "decode a space, first": llama([added(X)], normalizer=None, pre_tokenizer=metaspace("first")),
    "decode a space, always": llama([added(X)], normalizer=None, pre_tokenizer=metaspace("always")),
    "decode a space, spelled": gpt([added("ĠĠ!"), added("Ċ"), added("é")]),
    "decode a space, in the vocabulary": gpt([added("ĠĠ"), added("Ã©")]),
    "decode a composed token": gpt([added("e\u0301x", normalized=True)], normalizer={"type": "NFC"}),
    "decode BERT": bert([added("[Y]"), added("Éx", normalized=True), added("##b")]),
}
for i, a in enumerate(flags):
    for k, b in enumerate(flags):
        if a["rstrip"] and b == dict(lstrip=True, rstrip=False):
            continue  # the library panics
        variants[f"strip {i} {k}"] = gpt([added(X, **a), added("  ", **b), added("\n", **b)])
variants["strip, all special"] = gpt([added(X, lstrip=True, rstrip=True, special=True), added(" ", lstrip=True, rstrip=True)])

texts = [
    "", "a", " a", "  a", "ab ab", "a  b   ab    ", "in the ing", "a<X>b", "a <X> b", "<X>", "<X>  ", "  <X>  <X>\n <X>\n\n  a", "<X><X>  \n  ",
    "<X> \n<X>", "a<y>b<Y> <X>", "12 ab3", "é e\u0301 e\u0301x Éx", "õÀÿ", "日本 👍", "'s 'S 'ſ 'ſſ a'ſ a'Sſ x'ſb ſ sſSs qrstſ", "Kk Kk \u212Ak 'K", "it's İi Iİ",
    "▁▁▁▁", "▁x  ▁", " x  x ", "ĠĠ!", "Ċ\n", "do not n't s 's .", "[Y] ab##b", "a!b.", "\n", " ", "\t\t<X>\t a",
]  # fmt: skip
out = []
for name, definition in variants.items():
    tok = Tokenizer.from_str(json.dumps(definition))
    cases = []
    for text in texts:
        ids = tok.encode(text, add_special_tokens=False).ids
        decoded = tok.decode(ids)
        cases.append([text, ids, None if "\ufffd" in decoded else decoded])
    # Decoding may begin anywhere in a word.
    for ids in ([8], [8, 1], [7, 8, 10]) if "BERT" in name else ():
        cases.append([None, ids, tok.decode(ids)])
    out.append({"name": name, "tokenizer": definition, "cases": cases})
with open(os.path.join(here, "variants.json.gz"), "wb") as f:
    f.write(gzip.compress(json.dumps(out, ensure_ascii=False).encode(), mtime=0))
