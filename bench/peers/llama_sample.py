"""Times llama.cpp on the sampling of `stepwise bench`.

    python -m venv env
    CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" env/bin/pip install llama-cpp-python==0.3.36 gguf==0.19.0 numpy==2.4.6
    env/bin/python bench/peers/llama_sample.py [1M 10M 100M] [-threads N]

float32 weights and cache, as many threads as there are cores by default. It writes decoders
of the benchmark's shapes with random weights as GGUF into a temporary folder,
and runs 1, 16 and 64 sequences, each with a prompt of 16 tokens, for 128 steps
of one llama_decode each. The logits are computed but nothing is drawn from
them, while `stepwise bench` counts the drawing too. Each line is the fastest of
three rounds.
"""

import argparse
import ctypes
import os
import sys
import tempfile
import time

import gguf
import llama_cpp
import numpy

SHAPES = {  # vocab, dim, layers, heads, kv heads, ff
    "1M": (1024, 128, 4, 4, 2, 384),
    "10M": (4096, 320, 8, 5, 5, 864),
    "100M": (8192, 768, 12, 12, 4, 2304),
}
PROMPT, TOKENS, ROUNDS = 16, 128, 3


def write(path, vocab, dim, layers, heads, kv, ff):
    rng = numpy.random.default_rng(1)
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(1024)
    w.add_embedding_length(dim)
    w.add_block_count(layers)
    w.add_feed_forward_length(ff)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_rope_dimension_count(dim // heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(vocab)
    w.add_tokenizer_model("none")

    def matrix(name, out, into):
        w.add_tensor(name, rng.standard_normal((out, into), dtype=numpy.float32) * into**-0.5)

    matrix("token_embd.weight", vocab, dim)  # no output.weight: the head is tied
    w.add_tensor("output_norm.weight", numpy.ones(dim, numpy.float32))
    for i in range(layers):
        matrix(f"blk.{i}.attn_q.weight", dim, dim)
        for name in ("k", "v"):
            matrix(f"blk.{i}.attn_{name}.weight", dim // heads * kv, dim)
        matrix(f"blk.{i}.attn_output.weight", dim, dim)
        matrix(f"blk.{i}.ffn_gate.weight", ff, dim)
        matrix(f"blk.{i}.ffn_up.weight", ff, dim)
        matrix(f"blk.{i}.ffn_down.weight", dim, ff)
        for name in ("attn", "ffn"):
            w.add_tensor(f"blk.{i}.{name}_norm.weight", numpy.ones(dim, numpy.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


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
    parser.add_argument("models", nargs="*", default=list(SHAPES))
    parser.add_argument("-threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    print(f"llama-cpp-python {llama_cpp.__version__}, {args.threads} threads, {llama_cpp.llama_print_system_info().decode().strip()}")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            path = os.path.join(folder, name + ".gguf")
            write(path, *SHAPES[name])
            params = llama_cpp.llama_model_default_params()
            model = llama_cpp.llama_model_load_from_file(path.encode(), params)
            if not model:
                sys.exit(f"llama.cpp does not load {path}")
            for sequences in (1, 16, 64):
                print(f"sample {name} batch {sequences}: {run(model, SHAPES[name][0], sequences, args.threads):.0f} tokens/s", flush=True)
            llama_cpp.llama_model_free(model)


if __name__ == "__main__":
    main()
