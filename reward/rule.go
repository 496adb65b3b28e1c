package reward

import (
	"context"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Answer, as a rule's step argument, asks for the score of the completion as
// a whole instead of one step's.
const Answer = -1

// Score is what a rule says of a step or an answer: a value, or, if Reason is
// not empty, that it cannot say. An unscorable score is never read as zero.
type Score struct {
	// Value is the score, by convention in [0, 1]; meaningless if Reason is set.
	Value float64
	// Reason, if not empty, says in a few stable words why there is no score,
	// such as "no gold grade"; reasons are counted.
	Reason string
}

// Unscorable returns a score without value.
func Unscorable(reason string) Score {
	if reason == "" {
		panic("reward: Unscorable needs a reason")
	}
	return Score{Reason: reason}
}

// Scorable reports whether the score has a value.
func (s Score) Scorable() bool { return s.Reason == "" }

// Rule judges one step of a completion, or with step == Answer all of it.
//
// An error means that the rule itself failed (a service did not answer); it
// ends the run or drops the sample, as the caller decides. What the rule
// cannot judge is not an error but an unscorable score.
// Score may be called concurrently.
type Rule[E any] interface {
	Score(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error)
}

// RuleFunc makes a rule of a function.
type RuleFunc[E any] func(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error)

// Score calls f.
func (f RuleFunc[E]) Score(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
	return f(ctx, example, trace, step)
}
