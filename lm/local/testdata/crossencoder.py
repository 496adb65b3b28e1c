"""Writes tiny random cross-encoders with tokenizers of their kinds, and what
transformers makes of some queries and documents with them.

    pip install torch==2.9.0 transformers==5.24.0 tokenizers==0.23.3
    python crossencoder.py

    bert-reranker      BertForSequenceClassification, 1 class, WordPiece, token types
    roberta-reranker   RobertaForSequenceClassification, 3 classes, byte-level BPE
    xlmr-reranker      XLMRobertaForSequenceClassification, 1 class, Unigram

crossencoder.json has queries and documents, and for each folder the token ids, token
types and logits of every pair, and the first token's state of every document alone.
"""

import json
import os
import shutil
import sys

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "tokenizer", "testdata"))
from charsmap import definition  # noqa: E402

os.chdir(here)
QUERIES = ["red shoes for running", "Wie groß ist das Haus?", "北京 天气 ☔"]
DOCUMENTS = ["Running shoes, red, size 42.", "", "Das Haus hat ﬁfty rooms", "北京今天下雨 🎉🎉", "[SEP] or [CLS]", "a" * 40]
LETTERS = sorted(set("".join(QUERIES + DOCUMENTS)) | set("abcdefghijklmnopqrstuvwxyz"))


def wordpiece():
    words = ["run", "##ning", "shoe", "##s", "red", "haus", "das", "?", ",", "."]
    chars = [c for c in LETTERS if c.isalnum() and c == c.lower() and c not in "ﬁ"]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + list(dict.fromkeys(words + chars + ["##" + c for c in chars]))
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocab)}, unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return t, dict(pad_token="[PAD]", model_input_names=["input_ids", "token_type_ids", "attention_mask"])


SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def bytelevel():
    vocab = {w: i for i, w in enumerate(SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("r", "u"), ("n", "n"), ("Ġ", "r"), ("e", "d"), ("a", "a")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    t = Tokenizer(models.BPE(vocab, merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(SPECIAL)
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return t, dict(pad_token="<pad>")


def unigram():
    pieces = ["▁", "▁run", "ning", "▁shoe", "s", "▁red", "▁Haus", "▁Das", "▁das", "北京", "今天"]
    pieces += [c for c in LETTERS if c not in pieces + [" ", "下", "☔", "ﬁ"]]
    vocab = [[s, 0.0] for s in SPECIAL] + [[p, -2.0 - i / 16] for i, p in enumerate(pieces)]
    marks = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    t = Tokenizer.from_str(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": [],
                "normalizer": definition({"ﬁ": "fi", "\u3000": " ", "Ａ": "A"}),
                "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, marks]},
                "post_processor": None,
                "decoder": marks,
                "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": False},
            }
        )
    )
    t.add_special_tokens(SPECIAL)
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return t, dict(pad_token="<pad>")


shape = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, bos_token_id=None, eos_token_id=None)


def folder(name, tokenizer, config, seed, **options):
    t, fast = tokenizer
    model = AutoModelForSequenceClassification.from_config(config(vocab_size=t.get_vocab_size(), **shape, **options))
    torch.manual_seed(seed)
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.normal_(std=0.3)
            if "LayerNorm.weight" in n:
                p.add_(1)
    shutil.rmtree(name, ignore_errors=True)
    model.save_pretrained(name)
    for extra in os.listdir(name):
        if extra not in ("config.json", "model.safetensors"):
            os.remove(os.path.join(name, extra))
    t.save(os.path.join(name, "tokenizer.json"))
    fast = PreTrainedTokenizerFast(tokenizer_object=t, split_special_tokens=True, **fast)
    model = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32).double().eval()
    out = {"ids": [], "types": [], "logits": [], "states": []}
    body = getattr(model, model.base_model_prefix)
    with torch.no_grad():
        for q in QUERIES:
            for d in DOCUMENTS:
                x = fast([(q, d)], return_tensors="pt", return_token_type_ids=True)
                out["ids"].append(x["input_ids"][0].tolist())
                out["types"].append(x["token_type_ids"][0].tolist())
                out["logits"].append(model(**x).logits[0].tolist())
        for d in DOCUMENTS:
            out["states"].append(body(**fast(d, return_tensors="pt")).last_hidden_state[0, 0].tolist())
    return out


reranker = dict(
    queries=QUERIES,
    documents=DOCUMENTS,
    folders={
        "bert-reranker": folder("bert-reranker", wordpiece(), BertConfig, 1, num_labels=1, pad_token_id=0, max_position_embeddings=120),
        "roberta-reranker": folder(
            "roberta-reranker", bytelevel(), RobertaConfig, 2, num_labels=3, pad_token_id=1, type_vocab_size=1, max_position_embeddings=122
        ),
        "xlmr-reranker": folder(
            "xlmr-reranker", unigram(), XLMRobertaConfig, 3, num_labels=1, pad_token_id=1, type_vocab_size=1, max_position_embeddings=122
        ),
    },
)
with open("crossencoder.json", "w", encoding="utf-8") as f:
    json.dump(reranker, f, ensure_ascii=False)
    f.write("\n")
for root in ("bert-reranker", "roberta-reranker", "xlmr-reranker"):
    for file in os.listdir(root):
        os.chmod(os.path.join(root, file), 0o644)
