"""Checks that transformers reads the classifiers that this module writes, with the same
logits, in F32, BF16 and F16. check_export.py is for all other models.

    pip install torch==2.9.0 transformers==5.23.0
    python lm/model/testdata/check_rankers.py

Run it in the module's root; it runs go test to write the checkpoints.
"""

import glob
import json
import os
import subprocess
import tempfile

import torch
from transformers import AutoModelForSequenceClassification

with tempfile.TemporaryDirectory() as out:
    subprocess.run(["go", "test", "./lm/model", "-count=1", "-run", "TestExportOfRankers", "-export", out], check=True)
    paths = sorted(glob.glob(os.path.join(out, "ranker-*")))
    assert len(paths) == 30, paths
    for path in paths:
        with open(os.path.join(path, "expected.json")) as f:
            expected = json.load(f)
        with torch.no_grad():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                path, dtype=torch.float32, output_loading_info=True
            )
            assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
            got = model.eval()(torch.tensor([expected["ids"]])).logits[0]
        difference = (got - torch.tensor(expected["values"])).abs().max().item()
        assert difference < 1e-4, f"{path}: {difference}"
        name = os.path.basename(path).removeprefix("ranker-")
        print(f"{name:30} {type(model).__name__:36} {len(got)} logits, largest difference {difference:.1e}")
