// Package rollout defines how completions are sampled, and the record of each one.
//
// # Engines
//
// An [Engine] takes a slice of [Request], each a prompt's token ids and a number
// of completions, and hands every [Completion] to a callback as soon as it has
// ended. That is the whole interface: how requests are batched, and where the
// model runs, is the engine's business.
//
//   - lm/local samples from a decoder in the same process.
//   - remote/openai samples from inference servers: vLLM, SGLang, llama.cpp.
//   - rollout/sample draws tokens from logits by [Params]. Build your own engine
//     with it.
//   - rollout/enginetest has the conformance suite for engines, and a fake one
//     for tests.
//
// An engine may implement optional interfaces, which callers find by type assertion:
//
//   - [Checker] if there are requests that it cannot sample: they are then
//     found before the run starts.
//   - [Refresher] if its weights can be replaced. Each completion carries the
//     versions of the weights that sampled it.
//   - [Concurrent] if it can also sample while the policy is trained.
//
// # The completion that travels
//
// A [Completion] passes through a whole training step, and each stage adds to
// it: the engine its tokens and log-probs, the judge the parsed trace, outcome
// rewards and a [Step] with a [Verdict] for each reasoning step, the estimator
// and step credit its advantages. A [Group] holds the completions of one prompt.
//
// # Tokens, text and log-probs
//
// The text is the concatenation of the tokens' bytes, and Ends maps one to the
// other, so that a span of text is a range of tokens without encoding anything
// again. Encoding a sampled text again can give other tokens than those sampled,
// and credit would go to the wrong ones.
//
// LogP is the log-prob of each token under the distribution it was drawn from,
// before top-k and top-p cut it. Importance ratios between the engine and the
// trainer compare it with the trainer's log-prob at the same temperature.
//
// Examples are in example_test.go. A program that uses it:
// examples/custompolicy, whose Generate is an Engine in 20 lines.
package rollout
