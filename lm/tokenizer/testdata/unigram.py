"""Makes families/xlmr.json.gz, families/bytes.json.gz and unigram.json.gz: how Hugging
Face's tokenizers library encodes with tokenizers of SentencePiece's unigram type.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.1
    python lm/tokenizer/testdata/unigram.py

xlmr is what XLM-R's files are, with a small vocabulary: SentencePiece learns it from
the texts of texts.py, with its normaliser nmt_nfkc. bytes is the same vocabulary with
tokens for the 256 bytes, in the form of newer files. unigram.json.gz has small
tokenizers of other forms, and texts made of the characters that their normalisers and
grapheme clusters are about.
"""

import base64
import gzip
import io
import json
import pathlib
import random

import sentencepiece
import tokenizers
from charsmap import definition
from sentencepiece import sentencepiece_model_pb2 as proto
from texts import texts
from tokenizers import Tokenizer

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
assert sentencepiece.__version__ == "0.2.3", sentencepiece.__version__
here = pathlib.Path(__file__).parent


def write(path, value):
    data = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    (here / path).write_bytes(gzip.compress(data, 9, mtime=0))
    print(path, (here / path).stat().st_size)


def byte_spans(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [[at[a], at[b]] for a, b in offsets]


def golden(definition, texts):
    t = Tokenizer.from_str(json.dumps(definition))
    encoded = t.encode_batch(texts, add_special_tokens=False)
    pair = t.encode("Hello,", "world")
    return {
        "tokenizer": definition,
        "ids": [e.ids for e in encoded],
        "spans": [byte_spans(x, e.offsets) for x, e in zip(texts, encoded)],
        "decoded": [t.decode(e.ids, skip_special_tokens=True) for e in encoded],
        "special": t.encode("Hello, world").ids,
        "pair": [pair.ids, pair.type_ids],
    }


def tokenizer(vocab, unknown, normalizer, pre, decoder, post=None, added=(), **model):
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": c, "single_word": False, "lstrip": c == "<mask>", "rstrip": False, "normalized": False, "special": True}
            for i, c in added
        ],
        "normalizer": normalizer,
        "pre_tokenizer": pre,
        "post_processor": post,
        "decoder": decoder,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": False} | model,
    }


def learn(corpus):
    """Returns the pieces with their scores, and the normaliser's table."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus),
        model_writer=out,
        model_type="unigram",
        vocab_size=1500,
        character_coverage=0.98,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    m = proto.ModelProto.FromString(out.getvalue())
    return [[p.piece, p.score] for p in m.pieces if p.type == p.NORMAL], m.normalizer_spec.precompiled_charsmap


TEXTS = texts()
pieces, table = learn([x for x in TEXTS if len(x) > 20 and "\x00" not in x])
marks = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
precompiled = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}
special = ["<s>", "<pad>", "</s>", "<unk>"]
vocab = [[s, 0.0] for s in special] + pieces + [["<mask>", 0.0]]
added = [(i, s) for i, s in enumerate(special)] + [(len(vocab) - 1, "<mask>")]


def part(name, text=None):
    return {"SpecialToken" if text is None else "Sequence": {"id": name if text is None else text, "type_id": 0}}


post = {
    "type": "TemplateProcessing",
    "single": [part("<s>"), part("", "A"), part("</s>")],
    "pair": [part("<s>"), part("", "A"), part("</s>"), part("</s>"), part("", "B"), part("</s>")],
    "special_tokens": {s: {"id": s, "ids": [special.index(s)], "tokens": [s]} for s in ("<s>", "</s>")},
}
split = {"type": "WhitespaceSplit"}
xlmr = tokenizer(vocab, 3, precompiled, {"type": "Sequence", "pretokenizers": [split, marks]}, marks, post, added)
write("families/xlmr.json.gz", golden(xlmr, TEXTS))

small = {  # what the texts below are about
    "ﬁ": "fi", "™": "TM", "©": "(c)", "①": "1", "\u00ad": "", "\u200b": " ", "\t": " ", "\r": " ", "\u3000": " ", "e\u0301": "é",
    "क": "k", "क़": "q", "\uac00": "ga", "\u1100": "g", "\u1161": "a", "a": "b", "1": "one", "\u0301": "'", "ﷺ": "several words here", "～": "~",
    "\u0600": "#", "🇦": "A", "👩": "w", "\u0903": "h", "Ａ": "A", "\u2028": "\n",
}  # fmt: skip
normalizers = [
    {"type": "Strip", "strip_left": False, "strip_right": True},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
]
byte = [["<0x%02X>" % b, -6.0] for b in range(256)]
scheme = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
unmark = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ],
}
bytes_vocab = [[s, 0.0] for s in special] + byte + pieces
normalizer = {"type": "Sequence", "normalizers": [definition(small)] + normalizers}
write(
    "families/bytes.json.gz",
    golden(tokenizer(bytes_vocab, 3, normalizer, scheme, unmark, None, added[:4], byte_fallback=True), TEXTS),
)

rng = random.Random(16)
ALPHABET = list(small) + list(
    "ab cq1é \n\u0301\u0308\u093c\u094d\u0903\u200d\u200c\u200b\ufe0f👩🚀❤🇦🇧🏽कखঅ\u09cd"
    "\u1100\u1161\u11a8\uac00\uac01한글中文▁<>s/\u0605\U000110bd\u0e33\u0d4e\u00a0\u0085\u2028\ue000"
)
strings = ["".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, 12))) for _ in range(1500)]
strings += ["", " ", "  ", "▁", "<s>", "a<s> b</s>c", "<0x41>", " <mask> a", "a   b  ", "\r\n\u0301", "🇦🇧🇦🇧\u0301", "👩\u200d🚀\u0301"]
tiny = [[s, 0.0] for s in special] + [
    [s, -1.0 - i / 8] for i, s in enumerate(["▁", "a", "b", "ab", "▁b", "ba", "bb", "fi", "TM", "é", "g", "ga", "k", "中", "中文", "'", "(c)", "one", "▁one", "bab", "▁▁", "h", " ", "w", "A", "\n"])
]  # fmt: skip
# Equally good ways: the first one found counts.
tied = [["<unk>", 0.0], ["a", -1.0], ["aa", -2.0], ["aaa", -3.0], ["b", -1.0], ["ab", -2.0], ["▁", -1.0], ["▁a", -2.0]]
cls = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": False}
variants = {}


def variant(name, *args, **model):
    variants[name] = golden(tokenizer(*args, **model), strings)


first, never = scheme | {"prepend_scheme": "first"}, scheme | {"prepend_scheme": "never"}
both = {"type": "Sequence", "pretokenizers": [split, scheme]}
table = definition(small)
variant("clusters", tiny, 3, table, both, scheme, cls, added[:4])
bert = {k: v for k, v in cls.items() if k in ("sep", "cls")} | {"type": "BertProcessing"}
variant("clusters, whole text", tiny, 3, table, scheme | {"split": False}, scheme, bert, added[:4])
variant("first", tiny, 3, {"type": "Sequence", "normalizers": [table] + normalizers}, first, first, post, added[:4])
variant("never", tiny, 3, {"type": "Sequence", "normalizers": [{"type": "NFC"}, table]}, never, never, None, added[:4])
variant("strip", tiny, 3, {"type": "Strip", "strip_left": True, "strip_right": True}, never, never, None, added[:4])
variant("no pre-tokeniser", tiny, 3, None, None, scheme, None, [])
variant("white space", tiny, 3, None, split, scheme, None, [])
variant("bytes", tiny + byte[:0x80], 3, table, both, unmark, None, added[:4], byte_fallback=True)
variant("tied", tied, 0, None, scheme, scheme, None, [(0, "<unk>")])
write("unigram.json.gz", {"texts": strings, "variants": variants})
