package reward

import (
	"context"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Predicate scores 1 if holds says that the step meets the criterion, else 0.
// holds is given the example, the step (for Answer the final one) and the
// completion's text, which the step's byte ranges index. Where the criterion's
// When excludes the example, the score is unscorable: "criterion does not
// apply". Combine several with Optional parts.
func Predicate[E any](criterion prompt.Criterion[E], holds func(example E, step *prompt.Span, text string) bool) Rule[E] {
	return RuleFunc[E](func(_ context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
		s := asked(trace, step)
		switch {
		case s.Status != prompt.StatusOK:
			return broken(s), nil
		case criterion.When != nil && !criterion.When(example):
			return Unscorable("criterion does not apply"), nil
		}
		return oneIf(holds(example, s, trace.Text)), nil
	})
}
