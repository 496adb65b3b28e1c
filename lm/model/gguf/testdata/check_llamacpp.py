"""Checks that llama.cpp computes with an exported file what transformers
computes with the checkpoint that it was made of: token ids of texts, logits,
and greedy text, in float32 and BF16.

    pip install torch==2.9.0 transformers==5.23.0 llama-cpp-python==0.3.36
    python lm/model/gguf/testdata/check_llamacpp.py TOKENIZERS [STORIES]

Run it in the module's root; it runs go test to convert. TOKENIZERS is a folder
of tokenizer.json of real models; lm/tokenizer/testdata/families.py says how to
get them. STORIES is the folder of stories260K. The checkpoints of the first are
random; BF16 files are compared with the checkpoint rounded to BF16, and by
logits alone, because llama.cpp rounds activations too.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile

import llama_cpp as lib
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

lib.llama_backend_init()
quiet = lib.llama_log_callback(lambda level, text, data: None)
lib.llama_log_set(quiet, ctypes.c_void_p(0))

texts = [
    "Is this product relevant? Think in steps.\n\n1. The query: 'red shoes', size 42.",
    "  naïve café — 東京 Ελλάδα 🙂👍🏽 don't I'LL 12345\t\r\n x",
    "def f(x):\n    return x ** 2  # <|not|> a token",
]
shape = dict(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
)
llama3 = dict(
    rope_type="llama3",
    rope_theta=500000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
# Name: tokenizer, model class, configuration, the token that ends a text.
models = {
    "qwen3": ("qwen3", Qwen3ForCausalLM, Qwen3Config, dict(head_dim=32, tie_word_embeddings=True), "<|im_end|>"),
    "qwen2": ("qwen3", Qwen2ForCausalLM, Qwen2Config, dict(), "<|im_end|>"),
    "llama3": ("llama3_1", LlamaForCausalLM, LlamaConfig, dict(rope_parameters=llama3), "<|end_of_text|>"),
    "llama2": (
        "llama2",
        LlamaForCausalLM,
        LlamaConfig,
        dict(rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0)),
        "</s>",
    ),
    "llama-gpt2": ("gpt2", LlamaForCausalLM, LlamaConfig, dict(tie_word_embeddings=True), "<|endoftext|>"),
}


def make(out, tokenizers):
    for name, (tokenizer, cls, config, options, end) in models.items():
        path = os.path.join(out, name)
        fast = PreTrainedTokenizerFast(tokenizer_file=os.path.join(tokenizers, tokenizer, "tokenizer.json"))
        vocab = (len(fast) + 63) // 64 * 64 + 64
        eos = fast.convert_tokens_to_ids(end)
        torch.manual_seed(len(name))
        model = cls(config(**shape, vocab_size=vocab, bos_token_id=None, eos_token_id=eos, pad_token_id=None, **options))
        with torch.no_grad():
            for tensor, p in model.named_parameters():
                p.normal_(std=0.15)
                if "norm" in tensor:
                    p.add_(1)
        model.save_pretrained(path)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            if os.path.exists(os.path.join(tokenizers, tokenizer, file)):
                shutil.copy(os.path.join(tokenizers, tokenizer, file), path)


class LlamaCpp:
    def __init__(self, path):
        params = lib.llama_model_default_params()
        self.model = lib.llama_model_load_from_file(path.encode(), params)
        assert self.model, path
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.size = lib.llama_vocab_n_tokens(self.vocab)
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = 256
        params.n_threads = params.n_threads_batch = 1
        params.type_k = params.type_v = lib.GGML_TYPE_F32
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.ctx = lib.llama_init_from_model(self.model, params)
        assert self.ctx, path

    def close(self):
        lib.llama_free(self.ctx)
        lib.llama_model_free(self.model)

    def tokenize(self, text):
        raw = text.encode()
        ids = (lib.llama_token * 1024)()
        n = lib.llama_tokenize(self.vocab, raw, len(raw), ids, 1024, True, True)
        return list(ids[:n])

    def text(self, ids):
        out = ctypes.create_string_buffer(65536)
        n = lib.llama_detokenize(self.vocab, (lib.llama_token * len(ids))(*ids), len(ids), out, 65536, False, True)
        return out.raw[:n]

    def logits(self, ids, start=0):
        """Of the last token, with ids[:start] in the cache."""
        part = (lib.llama_token * (len(ids) - start))(*ids[start:])
        assert lib.llama_decode(self.ctx, lib.llama_batch_get_one(part, len(ids) - start)) == 0
        return torch.tensor(lib.llama_get_logits_ith(self.ctx, -1)[: self.size])

    def greedy(self, ids, n):
        lib.llama_memory_clear(lib.llama_get_memory(self.ctx), True)
        all, done = list(ids), 0
        for _ in range(n):
            logits = self.logits(all, done)
            done = len(all)
            all.append(int(logits.argmax()))
        return all[len(ids) :]


def greedy(model, ids, n):
    all = list(ids)
    for _ in range(n):
        all.append(int(model(torch.tensor([all])).logits[0, -1].argmax()))
    return all[len(ids) :]


with tempfile.TemporaryDirectory() as work, torch.no_grad():
    checkpoints, files = os.path.join(work, "checkpoints"), os.path.join(work, "gguf")
    os.mkdir(checkpoints)
    os.mkdir(files)
    make(checkpoints, sys.argv[1])
    if len(sys.argv) > 2:
        script = os.path.join("lm", "model", "testdata", "stories.py")
        subprocess.run([sys.executable, script, sys.argv[2], os.path.join(checkpoints, "stories260K")], check=True)
    convert = ["go", "test", "./lm/model/gguf", "-count=1", "-run", "TestConvert$", "-from", checkpoints, "-to", files]
    subprocess.run(convert, check=True)
    for name in sorted(os.listdir(checkpoints)):
        path = os.path.join(checkpoints, name)
        for kind in ("f32", "bf16"):
            model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
            peer = LlamaCpp(os.path.join(files, f"{name}.{kind}.gguf"))
            if kind == "bf16":
                for p in model.parameters():
                    if p.dim() > 1:
                        p.copy_(p.to(torch.bfloat16).float())
            prompts, tokenizer = [[1, 403, 407, 261, 378, 300]], None
            if name in models:
                tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(path, "tokenizer.json"))
                prompts = [tokenizer(text)["input_ids"] for text in texts]
                for text, ids in zip(texts, prompts):
                    got = peer.tokenize(text)
                    assert got == ids, (name, text, got, ids)
            difference, scale = 0, 0
            for ids in prompts:
                lib.llama_memory_clear(lib.llama_get_memory(peer.ctx), True)
                want = model(torch.tensor([ids])).logits[0, -1]
                difference = max(difference, (peer.logits(ids) - want).abs().max().item())
                scale = max(scale, want.abs().max().item())
                if kind == "f32":
                    n = 200 if name == "stories260K" else 48
                    got, ids = peer.greedy(ids, n), greedy(model, ids, n)
                    assert got == ids, (name, got, ids)
                    if tokenizer:
                        assert peer.text(got).decode(errors="replace") == tokenizer.decode(ids), name
            assert difference < (1e-4 if kind == "f32" else 2e-2) * scale, (name, kind, difference, scale)
            print(f"{name:12} {kind:5} logits differ by {difference:.1e} of {scale:.1f}", end="")
            print(f"; {len(prompts)} greedy texts of {n} tokens are equal" if kind == "f32" else "")
            peer.close()
