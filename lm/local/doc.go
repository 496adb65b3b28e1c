// Package local is a policy that lives in this process: a model.Decoder on any
// tensor backend, trained by AdamW.
//
//	decoder, err := model.NewDecoder(backend, config, seed)
//	policy, err := local.New(local.Config{Decoder: decoder, Dir: "run/checkpoints"})
//	reference := local.NewLogProber(decoder.Clone(), 0) // frozen, for a KL term
//
// A batch is computed in micro-batches of a bounded number of rows (tokens). A
// micro-batch holds whole completions, in the order of the batch, and each of
// their prompts once. Objectives see whole completions and the weights of
// tokens are fixed before, so how a batch is divided changes no loss beyond
// float rounding; nor does whether completions share their prompt's rows.
//
// A completion's last token is predicted but predicts nothing, so it is no
// row. Log-probs are those of the logits divided by the batch's temperature.
//
// Of a decoder with adapters (model.LoRA) these alone are trained and saved; a
// checkpoint is then a folder of adapters as PEFT has them. The frozen
// reference is the decoder without them, which takes no memory:
//
//	decoder, err := model.LoadDecoder(backend, dir, model.Frozen())
//	lora, err := decoder.AddLoRA(model.LoRAConfig{Rank: 16, Alpha: 32, Targets: model.AllProjections}, seed)
//	policy, err := local.New(local.Config{Decoder: decoder, Dir: "run/checkpoints"})
//	reference := local.NewLogProber(lora.Base(), 0)
//
// Adapters come before the policy and stay as long as it is used.
//
// The policy hands an engine in the same process its decoder (see
// [Policy.Publish]); the two take turns, because a decoder is used by one
// goroutine at a time.
package local
