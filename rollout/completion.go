package rollout

import "github.com/stepwise-rl/stepwise/prompt"

// Completion is one sample and all later annotations on it. The same
// value passes through a whole training step: the engine fills in what it
// sampled, the judge the steps and rewards, the trainer log-probs, the estimator
// and then step credit the advantages.
//
// Slices "per token" have one entry for each of Tokens.
type Completion struct {
	// Written by the engine:

	// Request and Index identify the sample: the index of its request in the
	// call, and its own index in the request.
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
	// Err, if not nil, is why there is no sample; every other field but Request
	// and Index is then empty.
	Err error

	// Written by the judge (rl.Problem.Judge):

	// Trace is the parsed completion; nil if the judge parses nothing.
	Trace *prompt.Trace
	// Rewards holds the outcome rewards in the task's order, unweighted;
	// NaN = unscorable.
	Rewards []float64
	// Causes says, per reward, why it is NaN; nil if it is not, or if the judge gives
	// no cause. It may be shorter than Rewards.
	Causes []error
	// Steps holds the judged steps, in the order of the text.
	Steps []Step
	// Malformed marks a completion that deviates from its template.
	Malformed bool

	// Written by the trainer:

	// Old and Ref are, per token, the log-probs under the policy before the
	// update and under the reference policy; nil until they are needed.
	Old, Ref []float64
	// Shaping is an optional reward per token (a KL penalty); nil = none.
	// Estimators of token returns (REINFORCE++) include it in the returns; for
	// all others it is added after step credit, so that it never decides a
	// sign.
	Shaping []float64

	// Written by the estimator, then rewritten by step credit:

	// Unscorable is set by the estimator if it cannot use the rewards. Then
	// Advantage is 0, and the completion is left out of every baseline; unless
	// step credit or shaping gives it an advantage, training excludes it.
	Unscorable bool
	// Advantage is the outcome advantage of the whole completion. Step credit
	// leaves it alone.
	Advantage float64
	// Adv is the advantage per token.
	Adv []float64
	// Keep is true for every token until step credit masks some. A masked token
	// differs from one with Adv 0 in objectives and denominators.
	Keep []bool
}

// Step is one judged step of a completion.
//
// Steps never overlap. A step that the policy left out has Start == End, the
// index of the token at which it should have begun, or len(Tokens) if the text
// ended there; see Completion.Blamed. Start == End also if no token begins in the
// step. Step credit that compares steps across a group takes steps of one name in
// one completion (a duplicate and its original) as one.
type Step struct {
	Name       string
	Start, End int // token range, end exclusive
	Verdict    Verdict
	// Status is the reason why a step is broken. It is prompt.StatusOK for all
	// other steps, and if the judge gives no reason.
	Status prompt.Status
	// Reward is the step's score; NaN = unscorable. Step credit does not read that of
	// a step whose verdict is unknown.
	Reward float64
	// Cause is why no rule could judge a step whose verdict is unknown; nil for all
	// other steps, and if the judge gives no cause.
	Cause error
	// Final marks the step that states the final answer, which the outcome reward
	// judges.
	Final bool
}

// Label is the name under which metrics count the step: its own or, of a step
// that the policy made up, "surplus", so that no policy invents names of metrics.
func (s *Step) Label() string {
	if s.Status == prompt.StatusSurplus {
		return prompt.StatusSurplus.String()
	}
	return s.Name
}

// Blamed returns the token that answers for a step without tokens: the one at which
// the step should have begun, or the last if the text ended there. It returns false
// for a step that has tokens, and if the completion has none.
func (c *Completion) Blamed(s *Step) (token int, ok bool) {
	token = min(s.Start, len(c.Tokens)-1)
	return token, s.Start == s.End && token >= 0
}

// Group holds the completions sampled from one prompt.
type Group []Completion

// HasAdvantage reports whether an estimator gave any completion of the group an
// advantage. Before an estimator has run, ask Estimator.Dead.
func (g Group) HasAdvantage() bool {
	for i := range g {
		if g[i].Advantage != 0 {
			return true
		}
	}
	return false
}
