// Package safetensors reads and writes tensors in the safetensors format of
// Hugging Face checkpoints (https://huggingface.co/docs/safetensors, the format
// of version 0.4 and later).
//
// A file is a little-endian uint64 header length, a JSON header with the name,
// type, shape and place of every tensor, and the tensors' bytes end to end,
// little-endian and row-major. Values are float32 in memory and F32, F16 or BF16
// in files; F64 is read, rounded, and not written. Tensors of other types are listed
// but cannot be read. [OpenIndex] reads a checkpoint that is spread over several files.
//
// The reader takes what the reference implementation (safetensors 0.8) takes:
// white space around the header, metadata that is null, keys that it does not
// know, and of tensors of the same name the last. Offsets that overlap, leave
// holes, or do not fit type, shape and file are errors that name the tensor. What
// a header claims is checked before anything is allocated for it. Files must be
// regular ones; they are mapped into memory, and neither reader nor writer ever
// holds more than a small part of one.
package safetensors
