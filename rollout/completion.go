package rollout

import "github.com/stepwise-rl/stepwise/prompt"

// Completion is one sample, and all that is later written down about it. It
// travels through a training step by itself: the engine fills in what was
// sampled, the problem's judge the rewards and steps, the estimator and the
// step credit the advantages. Nobody copies it into a shape of their own.
//
// Slices "per token" have one entry for each of Tokens.
type Completion struct {
	// The engine:

	// Request and Index say which sample of which request this is.
	Request, Index int
	// Tokens are the sampled ids, an end-of-text token included.
	Tokens []int32
	// Text is the concatenation of the tokens' bytes, never a detokeniser's
	// output; special tokens (end of text) have no bytes.
	Text string
	// Ends holds, per token, the byte offset in Text at which it ends.
	Ends []int
	// LogP is each token's log-prob under the distribution it was drawn from
	// before truncation: the logits divided by the temperature. Where the
	// temperature is 0 it equals LogPUnit.
	LogP []float64
	// LogPUnit is each token's log-prob at temperature 1. Engines that
	// cannot know it leave it nil.
	LogPUnit []float64
	Finish   Finish
	// FirstVersion and LastVersion are the weight versions that the first
	// and the last token were sampled with.
	FirstVersion, LastVersion int64
	// Err, if not nil, says why there is no sample; all but Request and
	// Index is then empty.
	Err error

	// The judge:

	// Trace is the parsed completion; nil if the judge parses nothing.
	Trace *prompt.Trace
	// Rewards holds the outcome rewards in the task's order, unweighted;
	// NaN = unscorable.
	Rewards []float64
	// Steps holds the judged steps, in the order of the text.
	Steps []Step
	// Final is the index in Steps of the step that states the final answer;
	// -1 if there is none, which is what a judge finds here.
	Final int
	// Malformed marks a completion that deviates from its template.
	Malformed bool

	// The trainer:

	// Old and Ref are, per token, the log-probs under the policy before the
	// update and under the reference; nil until they are computed.
	Old, Ref []float64
	// Shaping is an optional reward per token (a KL penalty), nil = none.
	// Estimators with token returns (REINFORCE++) fold it in; for all others
	// it is added after step credit, so that it never decides a sign.
	Shaping []float64

	// The estimator, then step credit:

	// Scalar is written by estimators: the outcome advantage of the whole
	// completion, 0 for an unscorable one.
	Scalar float64
	// Adv is written by estimators and rewritten by step credit: the
	// advantage per token.
	Adv []float64
	// Keep is set true by estimators and rewritten by step credit. A false
	// marks a masked token, which is not the same as Adv == 0: objectives
	// and denominators treat the two differently.
	Keep []bool
}

// Step is one judged step of a completion.
//
// A step that the policy left out has Start == End, the index of the token at
// which it should have begun; so has a step so short that no token begins in
// it. Steps of one name in one completion (a duplicate and its original) are
// one step to everything that compares steps across a group.
type Step struct {
	Name       string
	Start, End int // token range, end exclusive
	Verdict    Verdict
	// Status is the reason of VerdictBroken; prompt.StatusOK otherwise, or if the
	// judge does not say.
	Status prompt.Status
	// Reward is the step's score; NaN = unscorable.
	Reward float64
}

// Group is the completions sampled from one prompt.
type Group []Completion

// Dead reports whether the outcome says nothing about the group: estimators
// give every completion of a dead group an advantage of exactly 0. It may be
// called once an estimator has run; before, ask the estimator.
func (g Group) Dead() bool {
	for i := range g {
		if g[i].Scalar != 0 {
			return false
		}
	}
	return true
}
