"""Checks that transformers reads what this module writes: the same logits, or
pooled states of an encoder, for every family in F32, BF16 and F16.

    pip install torch==2.9.0 transformers==5.23.0
    python lm/model/testdata/check_export.py

Run it in the module's root; it runs go test to write the checkpoints.
"""

import glob
import json
import os
import subprocess
import tempfile

import torch
from transformers import AutoModel, AutoModelForCausalLM, GenerationConfig

with tempfile.TemporaryDirectory() as out:
    subprocess.run(["go", "test", "./lm/model", "-count=1", "-run", "TestExport$", "-export", out], check=True)
    for path in sorted(glob.glob(os.path.join(out, "*"))):
        name = os.path.basename(path)
        with open(os.path.join(path, "expected.json")) as f:
            expected = json.load(f)
        ids, want = torch.tensor([expected["ids"]]), torch.tensor(expected["values"])
        with torch.no_grad():
            if name.startswith(("bert", "roberta", "xlmr")):
                model, info = AutoModel.from_pretrained(
                    path, add_pooling_layer=False, dtype=torch.float32, output_loading_info=True
                )
                assert set(info["unexpected_keys"]) == {"score.weight", "score.bias"}, info
                got = model.eval()(ids).last_hidden_state[0].mean(0)
            else:
                model, info = AutoModelForCausalLM.from_pretrained(
                    path, dtype=torch.float32, output_loading_info=True
                )
                assert not info["unexpected_keys"], info
                got = model.eval()(ids).logits[0].flatten()
        assert not info["missing_keys"] and not info["mismatched_keys"], info
        difference = (got - want).abs().max().item()
        assert difference < 1e-4, f"{name}: {difference}"
        if name.endswith("-f16"):
            if name.startswith(("roberta", "xlmr")):  # positions count from it
                assert model.config.pad_token_id == 1
            generation = GenerationConfig.from_pretrained(path)
            assert generation.eos_token_id == [2, 3] and generation.temperature == 0.6
            assert model.config.bos_token_id == 1 and model.config.eos_token_id == [2, 3]
        print(f"{name:24} {type(model).__name__:20} largest difference {difference:.1e}")
