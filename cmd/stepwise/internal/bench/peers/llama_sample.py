"""Times llama.cpp on the sampling of `stepwise bench`, with the same weights.

    python -m venv env
    CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" env/bin/pip install llama-cpp-python==0.3.36 numpy==2.4.6
    go run ./cmd/stepwise bench -export DIR
    env/bin/python cmd/stepwise/internal/bench/peers/llama_sample.py DIR [1M 10M 100M 1M-bf16 …] [-batches 1,16,64] [-threads N]

Weights as in the files (float32, or with -bf16 bfloat16), a float32 cache, as many threads as there are
cores by default. It runs 1, 16 and 64 sequences, each with a prompt of 16
tokens, for 128 steps of one llama_decode each. The logits are computed but
nothing is drawn from them, while `stepwise bench` counts the drawing too. Each
line is the fastest of three rounds.
"""

import argparse
import ctypes
import os
import pathlib
import sys
import time

import llama_cpp

PROMPT, TOKENS, ROUNDS = 16, 128, 3


def decode(context, rows):
    """rows: (token, position, sequence, whether its logits are wanted)"""
    batch = llama_cpp.llama_batch_init(len(rows), 0, 1)
    batch.n_tokens = len(rows)
    for i, (token, position, sequence, logits) in enumerate(rows):
        batch.token[i], batch.pos[i] = token, position
        batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, sequence, logits
    if llama_cpp.llama_decode(context, batch) != 0:
        sys.exit("llama_decode failed")
    llama_cpp.llama_get_logits(context)  # waits
    llama_cpp.llama_batch_free(batch)


def run(model, vocab, sequences, threads):
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = sequences * (PROMPT + TOKENS)
    params.n_batch = params.n_ubatch = max(512, sequences)
    params.n_seq_max = sequences
    params.n_threads = params.n_threads_batch = threads
    params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
    params.kv_unified = True
    best = 0.0
    for _ in range(ROUNDS):
        context = llama_cpp.llama_init_from_model(model, params)
        start = time.perf_counter()
        for s in range(sequences):
            decode(context, [((7 * k + 13 * s) % vocab, k, s, k == PROMPT - 1) for k in range(PROMPT)])
        for step in range(TOKENS - 1):
            decode(context, [((step * 7919 + s) % vocab, PROMPT + step, s, True) for s in range(sequences)])
        best = max(best, sequences * TOKENS / (time.perf_counter() - start))
        llama_cpp.llama_free(context)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("models", nargs="*", default=["1M", "10M", "100M"])
    parser.add_argument("-batches", default="1,16,64")
    parser.add_argument("-threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    print(f"llama-cpp-python {llama_cpp.__version__}, {args.threads} threads, {llama_cpp.llama_print_system_info().decode().strip()}")
    for name in args.models:
        path = args.folder / f"{name}.gguf"
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        if not model:
            sys.exit(f"llama.cpp does not load {path}")
        vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        for sequences in map(int, args.batches.split(",")):
            print(f"sample {name} batch {sequences}: {run(model, vocab, sequences, args.threads):.0f} tokens/s", flush=True)
        llama_cpp.llama_model_free(model)


if __name__ == "__main__":
    main()
