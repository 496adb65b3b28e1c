package reward

import (
	"context"

	"github.com/stepwise-rl/stepwise/prompt"
)

// ExactLabel scores 1 if the answer equals the gold label of the example, and 0
// if not. As an outcome rule it judges the final answer; as a step rule, the
// boxed answer of that step. A gold label "" means that there is none: "no gold
// label".
func ExactLabel[E any](gold func(E) string) Rule[E] {
	return RuleFunc[E](func(_ context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
		s := asked(trace, step)
		want := gold(example)
		switch {
		case s.Status != prompt.StatusOK:
			return broken(s), nil
		case want == "":
			return Unscorable("no gold label"), nil
		}
		return oneIf(s.Answer == want), nil
	})
}
