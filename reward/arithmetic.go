package reward

import (
	"context"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Arithmetic scores the share of a step's equations that recompute exactly: 1
// if all do. With Answer it judges the whole completion. A text without an
// equation is unscorable: "no equation".
//
// An equation is two expressions with a = between them. Expressions are made of
// decimal numbers (with , between thousands if at all), + - * / (or × ÷ − //),
// signs and parentheses; currency signs are passed over. One side at least has
// an operator, unless the equation is marked as such, <<12*3=36>>, which is how
// GSM8K annotates its solutions (arXiv:2110.14168). In a=b=c both are
// equations. Numbers are exact rationals: 10/3=3.33 is wrong, and so is a
// division by zero.
//
// Text around an equation can change its sense ("10% of 50+5=10", "x-5+3=2").
// Where a sign or a word that may do so stands beside it, the equation is not
// judged; nor is one with a side longer than 256 bytes.
//
// A right equation need not be of use: a step that says 1=1+0 is right. Combine
// Arithmetic with a rule for the step's answer.
func Arithmetic[E any]() Rule[E] {
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		if step != Answer {
			if s := asked(trace, step); s.Status != prompt.StatusOK {
				return broken(s), nil
			}
		}
		right, all := checkEquations(textOf(trace, step))
		if all == 0 {
			return Unscorable("no equation"), nil
		}
		return Score{Value: float64(right) / float64(all)}, nil
	})
}
