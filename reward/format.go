package reward

import (
	"context"

	"github.com/stepwise-rl/stepwise/prompt"
)

// FormatShare scores the share of steps that are OK. Duplicates and surplus
// steps count as steps that are not. Asked for one step, it scores 1 if that
// is OK, else 0.
func FormatShare[E any]() Rule[E] {
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		if step != Answer {
			return oneIf(asked(trace, step).Status == prompt.StatusOK), nil
		}
		ok := 0
		for _, s := range trace.Steps {
			if s.Status == prompt.StatusOK {
				ok++
			}
		}
		return Score{Value: float64(ok) / float64(len(trace.Steps)+len(trace.Extra))}, nil
	})
}

// FormatStrict scores 1 if nothing in the completion deviates from the
// template, else 0. Asked for one step, it scores 1 if that is OK, else 0.
func FormatStrict[E any]() Rule[E] {
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		if step != Answer {
			return oneIf(asked(trace, step).Status == prompt.StatusOK), nil
		}
		return oneIf(!trace.Malformed()), nil
	})
}
