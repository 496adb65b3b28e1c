// Package tinker trains and samples on servers of the Tinker protocol: SkyRL's, and
// others that keep to it.
//
// A [Client] is the connection to a server. A [Policy] is a model with LoRA adapters
// there, an rl.Policy; an [Engine] samples from what the policy publishes, a
// rollout.Engine. A trainer that ran on this machine runs on a cluster with these two
// in the place of the local ones:
//
//	client, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: "http://10.0.0.7:8000"}})
//	policy, err := tinker.NewPolicy(ctx, client, tinker.PolicyConfig{Model: "Qwen/Qwen3-8B", LoRA: tinker.LoRA{Rank: 32}})
//	engine, err := tinker.NewEngine(client, tokenizer, tinker.EngineConfig{Model: "Qwen/Qwen3-8B", VocabSize: 151936, EOS: []int32{151645}})
//	trainer, err := rl.NewTrainer(rl.Config{Policy: policy, Engine: engine, …})
//
// # How an objective gets there
//
// The server knows a few losses by name and none of this module's. But every objective
// of log-probs has a gradient with respect to them, and the loss importance_sampling
// is linear in a token's advantage. So the policy asks for log-probs (a forward pass),
// evaluates the objective here (rl.TwoPass), and sends the gradient as advantages:
// minus d(loss)/d(log-prob), with the log-probs just received as those to compare
// with, so that every importance ratio is 1. Step credit needs nothing more: a masked
// token is one whose advantage is 0.
//
// The gradient stays here until OptimStep, which sends all passes and the step
// itself back to back. That is because some servers do not add losses up but take
// means, over a sequence and over the sequences of a step, so that advantages must be
// multiplied by what is only known in the end ([Scaling]). The policy finds out which
// kind a server is.
//
// # What the servers cannot do
//
// They give log-probs at temperature 1 only, and neither entropies nor candidates
// (distill by objective.Distilled, which needs sampled tokens alone, or by texts);
// none skips a gradient that is not finite; and SkyRL ignores a bound on the gradient
// norm without a word. A policy declares that it lacks all of these (rl.Supporter), so
// rl.NewTrainer refuses settings that need them before anything is sampled. A gradient
// that is not finite is an error. The engine refuses temperatures other than 0 and 1.
//
// # When something fails
//
// Requests are repeated within Config.Retry, and none counts twice: a training request
// has a number by which the server recognises it, a checkpoint a name of its own, a call
// for samples a number and a seed, so that drawing them again gives the same tokens. A
// model whose creation went unanswered is left to expire with its session, and another
// one is made. Loading makes a new model and unloads the old one, because servers load
// into a new one only; the server needs room for both.
//
// A server that fails within an optimiser step may have taken half of it. The policy
// then returns errors until a checkpoint is loaded.
//
// # Which weights go where
//
// [Policy.Publish] saves the weights on the server for an Engine. With
// PolicyConfig.Adapters it also downloads them as a PEFT folder, which vLLM can load
// (package remote/openai).
//
// [Policy] can be the reference of KL terms too: a second one, which is never trained,
// gives the log-probs of the base model.
//
// Package tinkertest has a server of the protocol for tests.
//
// Examples are in example_test.go.
package tinker
