"""Runs trl_adapter.py once against trl 1.16.0: two training steps of a tiny
random model, and checks what the loss was given.

    go build -o stepwise ./cmd/stepwise
    python contrib/try_trl.py ./stepwise

in the environment of testdata/peers/README.md.
"""

import pathlib
import sys
import tempfile

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from trl_adapter import StepwiseGRPOTrainer  # noqa: E402

words = ["<pad>", "<eos>"] + [f"w{i}" for i in range(30)]
raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
raw.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")
torch.manual_seed(0)
model = LlamaForCausalLM(
    LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, eos_token_id=1, pad_token_id=0)
)


def reward(completion_ids, **_):
    return [float(ids[-1] % 2) for ids in completion_ids]


def judge(example, ids):
    """Three steps; one is right if its first token is even."""
    cut = [0, len(ids) // 3, 2 * len(ids) // 3, len(ids)]
    return [
        {"name": str(k), "start": s, "end": e, "verdict": "correct" if s < e and ids[s] % 2 == 0 else "incorrect"}
        for k, (s, e) in enumerate(zip(cut, cut[1:]))
    ]


seen = []


class Trainer(StepwiseGRPOTrainer):
    def _compute_loss(self, model, inputs):
        seen.append((inputs["advantages"], inputs["completion_mask"]))
        return super()._compute_loss(model, inputs)


with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(
        model=model,
        judge=judge,
        stepwise_program=sys.argv[1],
        reward_funcs=reward,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": ["w1 w2", "w3 w4", "w5", "w6 w7"]}),
        args=GRPOConfig(
            folder, per_device_train_batch_size=8, num_generations=4, max_completion_length=12, max_steps=2,
            use_cpu=True, report_to=[], logging_steps=1, learning_rate=1e-3, bf16=False,
        ),
    )  # fmt: skip
    trainer.train()

masked = 0
for advantages, mask in seen:
    assert advantages.shape == mask.shape, (advantages.shape, mask.shape)
    assert not advantages[mask == 0].any()
    for row, m in zip(advantages, mask.bool()):
        values = set(row[m].tolist()) - {0.0}
        assert len(values) <= 1, values  # one advantage per completion, or masked
        masked += int(((row == 0) & m).sum()) if values else 0
assert masked > 0
print(f"ok: {len(seen)} steps, {masked} tokens masked, advantages of the last step {seen[-1][0][0].tolist()}")
