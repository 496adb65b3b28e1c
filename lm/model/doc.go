// Package model holds transformers of the Llama family on any tensor.Backend:
// a [Decoder] (the shapes of Llama, Qwen2 and Qwen3) and an [Encoder] that
// classifies, with hand-written backward passes.
//
// # Scoring and training
//
// Sequences are packed end to end, without padding. Completions that share a
// prompt name its segment as their prefix, so that the prompt is computed once:
//
//	var p model.Pack
//	prompt := p.Add(promptTokens, -1)
//	first := p.Add(completion, prompt) // sees the prompt and itself
//
// What is wanted of a pack are the log-probs of [Targets]: which token, after
// which row. Forward computes them (and entropies), Backward takes the gradient
// of a loss with respect to them and adds to the parameters' gradients:
//
//	err := d.Forward(&p, &targets, logp, nil)
//	// ... dlogp[i] = d(loss)/d(logp[i]) ...
//	err = d.Backward(dlogp, nil)
//
// Logits are computed for the rows that predict a target only, a chunk of rows
// at a time, so that [tokens × vocabulary] is never held whole. Score is
// Forward when no gradient is needed.
//
// # Sampling
//
// A [Cache] keeps keys and values of rows computed before. [Decoder.Append]
// takes whole prompts and single next tokens alike, with the cache rows that
// each writes and attends to; so completions of a group share their prompt's
// rows here too.
//
// # Layers
//
// [linear], [rmsNorm], [embedding], [attention], [mlp], [block], [trunk] and
// [head] can be combined to other models; they are plain structs over
// tensor.Param. Each has Forward and Backward on a [pass], which carries the
// backend, the layout of the batch, and an [arena] for activations: memory is
// allocated when a batch is larger than any before it, and else used again.
// [Decoder.ActivationBytes] tells how much. With Decoder.Recompute and
// Encoder.Recompute the trunk keeps the input of each block only and computes
// the rest again: with 4,096 tokens in 8 layers of width 320 it takes 169 MiB
// in place of 739, for the same bits and about a third more time.
//
// # Adapters
//
// [Decoder.AddLoRA] freezes a decoder and gives its layers low-rank adapters,
// which are then all that is trained: of P weights, A of them in adapters, the
// parameters with their gradients and moments take P + 4·A values in place of
// 4·P. The decoder is used as before. [LoRA.Save] and [Decoder.LoadLoRA] use
// PEFT's format, [LoRA.Merge] makes the adapters part of the weights, and
// [LoRA.Base] is the frozen model, for a KL term, at no memory.
//
// # Encoders
//
// An [Encoder] classifies: the decoder's blocks without a causal mask, or the
// layers of BERT ([BERTStyle]), pooled, and a linear layer. [PretrainedEncoder]
// begins with a real model (BERT, MiniLM, BGE), of which
// [Encoder.Embed] also gives the sentence embeddings.
//
// # Checkpoints
//
// Save, [Decoder.Export] and [LoadDecoder] use Hugging Face's layout:
// config.json, model.safetensors or shards with an index,
// generation_config.json ([ReadGeneration]), and the tokenizer's files, which
// are copied. So a tuned model can be served by vLLM or transformers, and
// theirs be tuned here; package gguf writes it for llama.cpp. The families are
//
//	llama   Llama 2 and 3 (RoPE scaling linear, dynamic, llama3), SmolLM
//	qwen2   Qwen2, Qwen2.5
//	qwen3   Qwen3, the dense models
//	bert    BERT, MiniLM, BGE, as encoders
//
// Weights are float32 in memory; F32, F16 and BF16 are read exactly and
// written rounded to nearest. What a checkpoint asks for and this package does
// not do is an error that names the option or tensor. Two settings are known
// and not applied: dropout, and the growth of dynamic RoPE beyond MaxSeq,
// where no position can be.
package model
