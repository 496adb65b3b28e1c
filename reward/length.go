package reward

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Length scores 1 for up to full tokens, 0 from zero tokens on, and in between
// what lies on the straight line from the one to the other:
//
//	(zero - tokens) / (zero - full)
//
// With zero == full it is a plain bound: 1 up to full tokens, 0 beyond. Asked
// for one step, it counts that step's tokens. A trace that was parsed without
// token offsets is unscorable: "no token offsets". Length panics unless
// 0 <= full <= zero.
func Length[E any](full, zero int) Rule[E] {
	if full < 0 || zero < full {
		panic(fmt.Sprintf("reward: Length needs 0 <= full <= zero, not full %d and zero %d", full, zero))
	}
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		n, s := tokens(trace, step)
		switch {
		case !s.Scorable():
			return s, nil
		case n <= full:
			return Score{Value: 1}, nil
		case n >= zero:
			return Score{Value: 0}, nil
		}
		return Score{Value: float64(zero-n) / float64(zero-full)}, nil
	})
}
