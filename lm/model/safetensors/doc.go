// Package safetensors reads and writes tensors in the safetensors format, as
// Hugging Face checkpoints use it
// (https://huggingface.co/docs/safetensors, format version of 0.4 and later).
//
// A file is a little-endian uint64 header length, a JSON header that gives
// name, type, shape and place of every tensor, and the tensors' bytes end to
// end, little-endian and row-major. Values are read and written as float32,
// stored as F32, F16 or BF16; tensors of other types are listed but not read.
// [OpenIndex] reads a checkpoint that is spread over several files.
//
// The reader is strict: a header with duplicate, missing or unknown keys, with
// offsets that overlap, leave holes, or do not fit type, shape and file, is an
// error that names the tensor; nothing that a header claims is allocated before
// it is checked. Files are mapped into memory, and neither side ever holds more
// than a small part of one.
package safetensors
