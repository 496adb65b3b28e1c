"""Checks that sentence-transformers reads the embedders that this module writes, with the
same embeddings for either pooling, and that this module reads what it saves.

    pip install torch==2.9.0 transformers==5.23.0 sentence-transformers==6.2.0
    python lm/local/testdata/check_embedding.py

Run it in the module's root; it runs go test to write the folders.
"""

import json
import os
import subprocess
import tempfile

import torch
from sentence_transformers import SentenceTransformer

with tempfile.TemporaryDirectory() as out:
    subprocess.run(
        ["go", "test", "./lm/local", "-count=1", "-run", "TestQwen3EmbeddingIsExported", "-args", "-export", out], check=True
    )
    for pooling in ("last", "mean"):
        path = os.path.join(out, pooling)
        with open(os.path.join(path, "tokenizer_config.json"), "w") as f:  # the test's tokenizer has none
            json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<|endoftext|>"}, f)
        with open(os.path.join(path, "expected.json")) as f:
            want = torch.tensor(json.load(f))
        model = SentenceTransformer(path, device="cpu").float()
        got = torch.from_numpy(model.encode(["Explain gravity", "padding " * 20], prompt_name="query"))[0]
        difference = (got - want / want.norm()).abs().max().item()
        assert difference < 1e-5, f"{pooling}: {difference}"
        print(f"{pooling}: {model[1]}, largest difference {difference:.1e}")
        if pooling == "mean":  # config.json still says that there is our classifier, which is lost
            continue
        saved = os.path.join(out, pooling + "-saved")
        model.save(saved)
        shown = subprocess.run(["go", "run", "./cmd/stepwise", "info", saved], check=True, capture_output=True, text=True).stdout
        assert f"pooling {pooling}," in shown and "before queries" in shown, shown
