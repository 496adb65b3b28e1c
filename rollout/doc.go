// Package rollout defines how completions are sampled: requests, sampling
// parameters, completions, and the [Engine] that turns the one into the other.
//
// # Engines
//
// An [Engine] is given a slice of requests, each a prompt's token ids and a
// number of completions, and hands every completion to a callback as soon as
// it ends. That is all of the interface: how requests are batched, and where
// the model lives, is the engine's affair.
//
//   - lm/local samples from a decoder in the same process.
//   - rollout/sample draws tokens from logits as [Params] say. It is what an
//     engine of one's own is built with.
//   - rollout/enginetest has the conformance suite for engines, and a fake one
//     for tests.
//
// An engine whose weights can change is a [Refresher] too. Each completion
// carries the versions of the weights that sampled it.
//
// # What a completion is made of
//
// Its text is the concatenation of its tokens' bytes, and Ends maps the one to
// the other, so that a span of text is a span of tokens without encoding
// anything again. Encoding a sampled text again can give other tokens than
// those sampled, and credit would go to the wrong ones.
//
// LogP is the log-prob of each token under the distribution it was drawn from,
// before top-k and top-p cut it. Importance ratios between the engine and the
// trainer compare it with the trainer's log-prob at the same temperature.
package rollout
