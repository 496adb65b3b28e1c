package reward

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
)

// WholeCompletion, as the step argument of a rule, asks for the score of the
// completion as a whole instead of one step's.
const WholeCompletion = -1

// Score is a rule's judgement of a step or a completion: a value or, if Reason is
// set, the reason why it has none. A missing value is never read as zero.
type Score struct {
	// Value is the score, by convention in [0, 1]. It means nothing if Reason
	// is set.
	Value float64
	// Reason, if not empty, is why there is no value, in a few fixed words such
	// as "no gold label". Reasons are counted.
	Reason string
	// Err, if not nil, is the failure because of which there is no value
	// (OnFailureUnscorable). It is said, not counted.
	Err error
}

// Cause is why the score has no value: the reason and, if there is one, the failure. It
// is nil for a score with a value.
func (s Score) Cause() error {
	switch {
	case s.Scorable():
		return nil
	case s.Err != nil:
		return fmt.Errorf("%s: %w", s.Reason, s.Err)
	}
	return errors.New(s.Reason)
}

// Unscorable returns a score without a value. It panics without a reason.
func Unscorable(reason string) Score {
	if reason == "" {
		panic("reward: Unscorable needs a reason")
	}
	return Score{Reason: reason}
}

// Scorable reports whether the score has a value.
func (s Score) Scorable() bool { return s.Reason == "" }

// Rule judges one step of a completion, or all of it if step is WholeCompletion.
// step indexes trace.Steps, which has one entry per step of the template;
// rollout.Completion.Steps is another list, with duplicate and surplus steps in
// it. Score may be called concurrently.
//
// An error means that the rule itself failed, for example because a service did
// not answer; the caller then ends the run or drops the sample. If the rule
// merely cannot judge the step, it returns an unscorable score and no error.
type Rule[E any] interface {
	Score(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error)
}

// RuleFunc is a function as a Rule.
type RuleFunc[E any] func(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error)

// Score calls f.
func (f RuleFunc[E]) Score(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
	return f(ctx, example, trace, step)
}

// asked returns the span of the step that a rule is asked about; for
// WholeCompletion, the final step's.
func asked(trace *prompt.Trace, step int) *prompt.Span {
	if step == WholeCompletion {
		step = trace.Final
	}
	if step < 0 || step >= len(trace.Steps) {
		panic(fmt.Sprintf("reward: there is no step %d in a trace of %d steps", step, len(trace.Steps)))
	}
	return &trace.Steps[step]
}

const brokenStep = "broken step: "

// broken returns the reason why a step that the policy broke has no score.
func broken(s *prompt.Span) Score { return Unscorable(brokenStep + s.Status.String()) }

// findsBroken reports whether a score comes from broken, perhaps through Combine,
// which puts its parts' names before it.
func findsBroken(s Score) bool { return strings.Contains(s.Reason, brokenStep) }

func oneIf(b bool) Score {
	if b {
		return Score{Value: 1}
	}
	return Score{Value: 0}
}
