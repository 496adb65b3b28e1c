package advantage

import "fmt"

// Verdict is a rule's judgement of one step.
type Verdict uint8

const (
	// Unknown: the rule cannot judge the step (exogenous: not the policy's doing).
	Unknown Verdict = iota
	// Correct: the step is right.
	Correct
	// Incorrect: the step is wrong, or the policy broke it (missing,
	// duplicate, out of order, truncated, unparsable).
	Incorrect
)

var verdictNames = [...]string{"unknown", "correct", "incorrect"}

// String returns "unknown", "correct" or "incorrect".
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Step is one judged step of a completion.
//
// A step that the policy left out has Start == End, the index of the token at
// which it should have begun; so has a step so short that no token begins in
// it. Steps of one name in one completion (a duplicate and its original) are
// one step to every rule that compares across a group.
type Step struct {
	Name       string
	Start, End int // token range, end exclusive
	Verdict    Verdict
	// Broken marks a step that the policy caused to be unjudgeable (missing,
	// duplicate, out of order, truncated, unparsable answer), as against one
	// that the rule cannot judge.
	Broken bool
	// Reward is the step's score; NaN = unscorable.
	Reward float64
}

// Completion is what estimators and credit rules read and write.
type Completion struct {
	// Rewards holds the outcome rewards in the task's order, unweighted;
	// NaN = unscorable.
	Rewards []float64
	// Tokens is the number of completion tokens: the length of Adv and Keep.
	Tokens int
	// Steps holds the judged steps, in the order of the text.
	Steps []Step
	// Final is the index in Steps of the step that states the final answer;
	// -1 if there is none.
	Final int
	// Malformed marks a completion that deviates from its template.
	Malformed bool
	// Shaping is an optional reward per token (a KL penalty), nil = none.
	// Estimators with token returns (REINFORCE++) fold it in; for all others
	// it is added after step credit, so that it never decides a sign.
	Shaping []float64

	// Scalar is written by estimators: the outcome advantage of the whole
	// completion, 0 for an unscorable one.
	Scalar float64
	// Adv is written by estimators and rewritten by credit rules: the
	// advantage of each token.
	Adv []float64
	// Keep is set true by estimators and rewritten by credit rules. A false
	// marks a masked token, which is not the same as Adv == 0: objectives
	// and denominators treat the two differently.
	Keep []bool
}

// Group is the completions sampled from one prompt.
type Group []Completion

// Estimator turns rewards into advantages. It writes Scalar, Adv and Keep of
// every completion, allocating Adv and Keep if their length is not Tokens. It
// sees the whole batch, because batch-wide statistics need more than a group.
// An error names group and completion.
type Estimator interface {
	Estimate(batch []Group) error
}

// Normalizer is the part of a group-relative estimator that step rules use
// too: it turns the rewards of one group into advantages.
type Normalizer interface {
	// Normalize writes len(rewards) advantages into dst, which may be
	// rewards itself. NaN rewards stay out of all statistics and get 0. A
	// group whose rewards are constant up to rounding gets exact zeros.
	Normalize(dst, rewards []float64)
}
