// Package checkpoint stores a model in training in a directory and restores
// it, so that training continues bit for bit:
//
//	config.json            the model's configuration, as package model writes it
//	model.safetensors      its weights
//	optimizer.safetensors  AdamW's moments: exp_avg.NAME and exp_avg_sq.NAME of
//	                       every parameter that has a gradient
//	state.json             layout number, version, optimiser steps, and the
//	                       SHA-256 of the other files
//
// The model can be read from it without this package, as any Hugging Face
// checkpoint. Of a decoder with LoRA adapters only these are stored, in
// adapter_config.json and adapter_model.safetensors as PEFT has them, and only
// their moments.
//
// A checkpoint is written beside its place, in a directory .NAME.*, synced to
// disk and renamed: it appears whole or not at all. To replace one of the same
// name takes two renames; a crash between them leaves the earlier one whole in
// .NAME.*.old. Directories that a crash left behind disturb nothing and may be
// deleted.
//
// What [Training.Load] reads is checked before anything of the model is
// changed: checksums first, then the configuration, then the tensors.
package checkpoint
