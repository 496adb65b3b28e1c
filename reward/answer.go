package reward

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
)

// ExactLabel scores 1 if the answer equals the example's gold label, else 0.
// White space and line ends around either of them do not count. For the whole
// completion it judges the final answer, for a step that step's. A blank gold
// label counts as missing: the score is unscorable, "no gold label".
func ExactLabel[E any](gold func(E) string) Rule[E] {
	return RuleFunc[E](func(_ context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
		s := asked(trace, step)
		want := strings.TrimSpace(gold(example))
		switch {
		case s.Status != prompt.StatusOK:
			return broken(s), nil
		case want == "":
			return Unscorable("no gold label"), nil
		}
		return oneIf(strings.TrimSpace(s.Answer) == want), nil
	})
}

// GradedDistance scores how near an answer is to the gold label on a numeric
// scale from low to high:
//
//	1 - |answer - gold| / (high - low)
//
// For the whole completion it judges the final answer, for a step that step's.
// Both are plain decimal numbers, such as 2, -1 or 0.5; white space around them
// does not count.
//
// An answer that is not a number on the scale is worse than any that is: it
// scores 0. The policy wrote it, so it must not become unscorable and drop out of
// the loss. A gold label that is missing or not on the scale is not the policy's
// doing: the score is unscorable, "no gold label" or "gold label is not on the
// scale". GradedDistance panics unless low and high are finite and low < high.
//
// As an outcome it pays for the safe middle: a policy that does not know gets most for the
// median of the labels it thinks possible. Watch kappa (eval.QuadraticKappa) or the
// confusion matrix too, and not the reward alone.
func GradedDistance[E any](gold func(E) string, low, high float64) Rule[E] {
	if width := high - low; !(width > 0) || math.IsInf(width, 0) {
		panic(fmt.Sprintf("reward: GradedDistance needs a finite scale with low < high, not from %v to %v", low, high))
	}
	grade := func(s string) (float64, bool) {
		x, ok := decimal(strings.TrimSpace(s))
		return x, ok && low <= x && x <= high
	}
	return RuleFunc[E](func(_ context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
		s := asked(trace, step)
		label := strings.TrimSpace(gold(example))
		want, ok := grade(label)
		switch {
		case s.Status != prompt.StatusOK:
			return broken(s), nil
		case label == "":
			return Unscorable("no gold label"), nil
		case !ok:
			return Unscorable("gold label is not on the scale"), nil
		}
		got, ok := grade(s.Answer)
		if !ok {
			return Score{Value: 0}, nil
		}
		return Score{Value: 1 - math.Abs(got-want)/(high-low)}, nil
	})
}

// decimal reads digits with a sign or none, and a decimal point or none. What
// else strconv takes for a number is none here: 1e3, 0x1p1, 1_0, NaN, Inf.
func decimal(s string) (float64, bool) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || strings.Trim(digits, "0123456789.") != "" {
		return 0, false
	}
	x, err := strconv.ParseFloat(s, 64)
	return x, err == nil
}

// Predicate scores 1 if the step meets the criterion, as holds decides, else 0.
// holds gets the example, the step (the final one for the whole completion) and
// the completion's text, which the step's byte ranges index. If the criterion's
// When excludes the example, the score is unscorable, "criterion does not
// apply": combine several predicates as Optional parts.
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
