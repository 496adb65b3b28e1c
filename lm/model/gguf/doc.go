// Package gguf writes decoders as GGUF files for llama.cpp and programs based on
// it, and reads such files.
//
//	err := gguf.Export("model.gguf", decoder, gguf.Options{
//		Type:          gguf.BF16,
//		TokenizerFrom: "checkpoint", // the folder of tokenizer.json
//	})
//
// # The format
//
// A file, version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md),
// has three parts: the metadata, a list of named values with the model's shape
// and its whole tokenizer; the name, shape, type and place of every tensor; and
// the tensors' data, each aligned to 32 bytes. Everything is little-endian.
// A file lists the fastest dimension first; [Tensor.Shape] has it last, as
// usual.
//
// # Names and rotations
//
// llama.cpp has its own names for tensors. In models of Llama's family it
// rotates the pairs (2i, 2i+1) of a head of n rows, where Hugging Face rotates
// (i, i+n/2); [Export] reorders the rows of those projections.
//
// # Tokenizers
//
// llama.cpp does not compose text. Qwen's tokenizers do (NFC), so there a decomposed
// "é" of two characters gets other tokens than here. Give it composed text.
//
// It has no list of merges for tokenizers with byte fallback (Llama 2's), but merges
// whatever makes a token, as SentencePiece does; [Export] refuses a list that says
// something else, as one has that was not made of a SentencePiece model. Where two pairs
// that make the same token overlap, llama.cpp merges the left one, and the list, here,
// the one that it names first.
//
// # Reading
//
// [Reader] is strict: it accepts only what [Writer] can write, and checks what a
// header claims before it allocates anything for it.
//
// Examples are in example_test.go.
package gguf
