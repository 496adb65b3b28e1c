// Package model holds transformers of the Llama family on any tensor.Backend:
// a [Decoder] (the shapes of Llama, Qwen2 and Qwen3) and an [Encoder] that
// classifies, with hand-written backward passes.
//
// # Scoring and training
//
// Sequences are packed end to end, without padding. Completions of a prompt name
// its segment as their prefix, so that the prompt is computed once:
//
//	var p model.Pack
//	prompt := p.Add(promptTokens, -1)
//	first := p.Add(completion, prompt) // sees the prompt and itself
//
// [Targets] are the tokens whose log-probs are wanted, and the rows that predict
// them. Forward computes the log-probs (and entropies). Backward takes the
// gradient of a loss with respect to them and adds to the parameters' gradients:
//
//	err := d.Forward(&p, &targets, logp, nil)
//	// ... dlogp[i] = d(loss)/d(logp[i]) ...
//	err = d.Backward(dlogp, nil)
//
// An error of the backend, such as tensor.ErrOutOfMemory, sticks until the backend's
// Sync, which package lm/local calls. The next pass then takes its memory anew.
//
// Logits are computed only for the rows that predict a target, a chunk of rows
// at a time, so that [tokens × vocabulary] is never held whole. Score is Forward
// without a gradient.
//
// For distillation, Targets may have several [Candidates] each, whose log-probs, with
// that of all other tokens together, take part in Forward and Backward.
// [Decoder.TopK] finds the most likely tokens.
//
// Activations take memory when a batch is larger than any before it; smaller
// ones use it again. [Decoder.ActivationBytes] tells how much. With
// Decoder.Recompute and Encoder.Recompute only the input of each block is kept
// and the rest computed again: with 4,096 tokens in 8 layers of width 320 that
// takes 169 MiB instead of 739, for the same bits and about a third more time.
//
// # Sampling
//
// A [Cache] keeps the keys and values of rows computed before. [Decoder.Append]
// takes a [CacheBatch] of whole prompts and single next tokens alike, with the
// cache rows that each token writes and attends to. So the completions of a
// group share their prompt's rows here too.
//
// # Adapters
//
// [Decoder.AddLoRA] freezes a decoder and gives its layers low-rank adapters,
// which are then all that is trained. Of P weights with A more in adapters, the
// parameters with their gradients and moments take P + 4·A values instead of
// 4·P. The decoder is used as before. [LoRA.Save] and [Decoder.LoadLoRA] use
// PEFT's format, in which single layers may have ranks and scales of their own and whole
// parameters may be trained too ([LoRAConfig]), [LoRA.Merge] makes the adapters part of
// the weights, and [LoRA.Base] is the frozen model, for a KL term, without taking memory.
//
// # Encoders
//
// An [Encoder] classifies: the decoder's blocks with a causal mask or without, or
// the layers of BERT or ModernBERT ([Style]), then pooling and a linear layer.
// [PretrainedEncoder] begins with a real model (BERT, MiniLM, BGE-M3, multilingual E5,
// ModernBERT, Qwen3-Embedding), whose sentence embeddings [Encoder.Embed] gives; [LoadEncoder]
// takes its classifier too. [Encoder.InputGradient] says how much
// each token moves them.
//
// # Checkpoints
//
// Save, [Decoder.Export] and [LoadDecoder] use Hugging Face's layout:
// config.json, model.safetensors or shards with an index, generation_config.json
// ([ReadGeneration]), and the tokenizer's files, which are copied. So vLLM and
// transformers can serve a model trained here, and their models can be trained
// here. Package gguf writes models for llama.cpp. The families are
//
//	llama    Llama 2 and 3 (RoPE scaling linear, dynamic, llama3), SmolLM
//	mistral  Mistral without a sliding window; exported as llama
//	qwen2    Qwen2, Qwen2.5
//	qwen3    Qwen3, the dense models; as encoders Qwen3-Embedding and classifiers
//	bert     BERT, MiniLM, BGE, as encoders and cross-encoders
//	roberta, xlm-roberta  RoBERTa; XLM-R, BGE-M3 and its rerankers, multilingual E5
//	modernbert  ModernBERT, as encoders
//
// Weights are float32 in memory. F32, F16 and BF16 are read exactly and written
// rounded to nearest; F64 is read rounded. If a checkpoint asks for something that
// this package does not do, that is an error that names the option or tensor; what
// changes nothing is accepted, as transformers accepts it. [Inspect] says what a
// folder holds and whether it can be loaded. Files must be regular ones. Two settings
// are accepted and not applied: dropout, and the growth of dynamic RoPE beyond MaxSeq,
// which no position reaches. docs/models.md has the whole list, with the tests.
//
// Examples are in example_test.go. A program that uses it: examples/grpo, where
// modelFolder makes a decoder and main loads one and exports what it has become.
package model
