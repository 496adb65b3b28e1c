// Package safetensors reads and writes tensors in the safetensors format, as
// Hugging Face checkpoints use it
// (https://huggingface.co/docs/safetensors, format version of 0.4 and later).
//
// A file is a little-endian uint64 header length, a JSON header that gives
// name, type, shape and place of every tensor, and the tensors' bytes end to
// end, little-endian and row-major. Values are read and written as float32,
// stored as F32 or BF16; tensors of other types are listed but not read.
//
// The reader is strict: a header with duplicate, missing or unknown keys, with
// offsets that overlap, leave holes, or do not fit type, shape and file, is an
// error that names the tensor. Neither side ever holds a file in memory.
package safetensors
