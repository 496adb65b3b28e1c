// Package gguf writes decoders as GGUF files, which llama.cpp and its kin run,
// and reads such files.
//
//	err := gguf.Export("model.gguf", decoder, gguf.Options{
//		Type:          gguf.BF16,
//		TokenizerFrom: "checkpoint", // the folder of tokenizer.json
//	})
//
// # The format
//
// A file, version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md),
// is a list of named values, the metadata: the model's shape and its whole
// tokenizer; then name, shape, type and place of every tensor; then the
// tensors' data, each aligned to 32 bytes. All is little-endian. Dimensions
// are given with the fastest one first; [Tensor.Shape] has them in the usual
// order, fastest last.
//
// # Names and rotations
//
// llama.cpp has names of its own for tensors, and turns the pairs (2i, 2i+1)
// of a head in models of Llama's family, where Hugging Face turns (i, i+n/2);
// Export reorders the rows of those projections.
//
// [Reader] is strict: it accepts what [Writer] can write, and nothing that a
// header claims is allocated before it is checked.
package gguf
