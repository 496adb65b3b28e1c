"""Makes testdata/sentencepiece: how SentencePiece encodes the texts of texts.py.

    pip install sentencepiece==0.2.3
    python lm/tokenizer/testdata/pieces.py ../shared/models/stories260K/tok512.model

tiny.model     a model trained here on corpus.txt with Llama 2's options
tiny.json.gz   what it makes of the texts, and of them joined
tok512.json.gz likewise with the model given, which is not kept here
"""

import gzip
import json
import pathlib
import sys

import sentencepiece

from texts import texts

assert sentencepiece.__version__ == "0.2.3", sentencepiece.__version__
here = pathlib.Path(__file__).parent
out = here / "sentencepiece"
out.mkdir(exist_ok=True)
with open(out / "tiny.model", "wb") as f:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((here / "corpus.txt").read_text(encoding="utf-8").split("\n") + ["aaaa aaaaa 2222 "] * 9),
        model_writer=f, model_type="bpe", vocab_size=480, byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        num_threads=1, minloglevel=2,
    )
TEXTS = texts()
for name, path in [("tiny", out / "tiny.model"), ("tok512", sys.argv[1])]:
    p = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ids = [p.encode(t) for t in TEXTS]
    data = {"ids": ids, "decoded": [p.decode(i) for i in ids], "bos": p.bos_id(), "size": p.vocab_size()}
    (out / (name + ".json.gz")).write_bytes(gzip.compress(json.dumps(data).encode(), 9, mtime=0))
