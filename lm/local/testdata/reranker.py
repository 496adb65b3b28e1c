"""Writes qwen3-reranker and qwen3-embedding: tiny random models with a tokenizer of
Qwen3's kind, and what the code of the model cards of Qwen3-Reranker and
Qwen3-Embedding makes of some texts with them.

    pip install torch==2.9.0 transformers==5.23.0 tokenizers==0.23.3
    python reranker.py

reranker.json has queries with documents, the grades of each document, the token ids of
each prompt, and the loss of supervised training on the right answers before each of five
AdamW steps (learning rate 0.01, betas 0.9 and 0.999, eps 1e-8, decay 0.1 of
matrices). embedding.json has texts with their embeddings.
"""

import json
import os
import shutil

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, Qwen3Model

here = os.path.dirname(os.path.abspath(__file__))
os.chdir(here)
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def tokenizer(end=None):
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("y", "e"), ("ye", "s"), ("n", "o"), ("Ġ", "t"), ("e", "r"), ("i", "n"), ("Ċ", "Ċ"), ("a", "t"), ("o", "c")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    t = Tokenizer(models.BPE(vocab, merges))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken(x, normalized=False) for x in ("<think>", "</think>")])
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    if end:
        t.post_processor = processors.Sequence(
            [
                t.post_processor,
                processors.TemplateProcessing(
                    single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, t.token_to_id(end))]
                ),
            ]
        )
    return t


def folder(name, model, seed, end=None):
    torch.manual_seed(seed)
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.normal_(std=0.3)
            if "norm" in n:
                p.add_(1)
    shutil.rmtree(name, ignore_errors=True)
    model.save_pretrained(name)
    for extra in os.listdir(name):
        if extra not in ("config.json", "model.safetensors"):
            os.remove(os.path.join(name, extra))
    tokenizer(end).save(os.path.join(name, "tokenizer.json"))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer(end), pad_token="<|endoftext|>", padding_side="left")
    return type(model).from_pretrained(name, dtype=torch.float32).double().eval(), fast


config = dict(
    vocab_size=tokenizer().get_vocab_size(),
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=600,
    rope_theta=1e6,
    tie_word_embeddings=True,
    bos_token_id=None,
    eos_token_id=None,
)

# What follows is, but for max_length and names, the code of Qwen3-Reranker's card.
model, tok = folder("qwen3-reranker", Qwen3ForCausalLM(Qwen3Config(**config)), 1)
token_false_id = tok.convert_tokens_to_ids("no")
token_true_id = tok.convert_tokens_to_ids("yes")
max_length = 460
prefix = '<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
prefix_tokens = tok.encode(prefix, add_special_tokens=False)
suffix_tokens = tok.encode(suffix, add_special_tokens=False)
task = "Given a web search query, retrieve relevant passages that answer the query"


def format_instruction(instruction, query, doc):
    return "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {doc}".format(instruction=instruction, query=query, doc=doc)


def process_inputs(pairs):
    inputs = tok(
        pairs,
        padding=False,
        truncation="longest_first",
        return_attention_mask=False,
        max_length=max_length - len(prefix_tokens) - len(suffix_tokens),
    )
    return [prefix_tokens + ele + suffix_tokens for ele in inputs["input_ids"]]


def logits_of(ids):
    batch = tok.pad({"input_ids": ids}, padding=True, return_tensors="pt")
    return model(**batch).logits[:, -1, :]


def compute_logits(ids):
    batch_scores = logits_of(ids)
    stacked = torch.stack([batch_scores[:, token_false_id], batch_scores[:, token_true_id]], dim=1)
    return torch.nn.functional.log_softmax(stacked, dim=1)[:, 1].exp().tolist()


queries = {
    "What is the capital of China?": ["The capital of China is Beijing.", "Gravity is a force.", "yes", ""],
    "einkaufswagen für übergrößen 🛒": ["ein Wagen", "noch ein Wagen, " * 12],
}
cases = []
for query, documents in queries.items():
    ids = process_inputs([format_instruction(task, query, d) for d in documents])
    with torch.no_grad():
        grades = compute_logits(ids)
    cases.append({"query": query, "documents": documents, "prompts": ids, "grades": grades})
assert len(cases[1]["prompts"][1]) == max_length, "one is cut"

prompts = [p for c in cases for p in c["prompts"]]
answers = torch.tensor([token_true_id if i % 2 == 0 else token_false_id for i in range(len(prompts))])
groups = [
    {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
    {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
]
opt = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-8)
steps = []
for _ in range(5):
    opt.zero_grad()
    loss = torch.nn.functional.cross_entropy(logits_of(prompts), answers)
    loss.backward()
    steps.append(loss.item())
    opt.step()
after = [g for c in cases for g in compute_logits(c["prompts"])]
with open("reranker.json", "w") as f:
    json.dump({"max_length": max_length, "cases": cases, "steps": steps, "after": after}, f)
    f.write("\n")

# And of Qwen3-Embedding's.
model, tok = folder("qwen3-embedding", Qwen3Model(Qwen3Config(**config)), 2, "<|endoftext|>")
os.mkdir("qwen3-embedding/1_Pooling")
modes = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}
query_prompt = f"Instruct: {task}\nQuery:"
for path, content in {
    "1_Pooling/config.json": {"word_embedding_dimension": 16, "include_prompt": True} | modes,
    "modules.json": [
        {"idx": i, "name": str(i), "path": p, "type": "sentence_transformers.models." + t}
        for i, (p, t) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])
    ],
    "config_sentence_transformers.json": {"prompts": {"query": query_prompt, "document": ""}, "similarity_fn_name": "cosine"},
}.items():
    with open(os.path.join("qwen3-embedding", path), "w") as f:
        json.dump(content, f, indent=1)
        f.write("\n")
queries = ["What is the capital of China?", "Explain gravity"]
documents = ["The capital of China is Beijing.", "Gravity is a force that attracts two bodies. " * 3, "é"]
texts = [query_prompt + q for q in queries] + documents
batch = tok(texts, padding=True, truncation=True, max_length=600, return_tensors="pt")
with torch.no_grad():
    embeddings = model(**batch).last_hidden_state[:, -1]  # padded on the left
embeddings = torch.nn.functional.normalize(embeddings, p=2, dim=1)
with open("embedding.json", "w") as f:
    json.dump({"queries": queries, "documents": documents, "embeddings": embeddings.tolist()}, f)
    f.write("\n")
