package reward

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/stepwise-rl/stepwise/prompt"
)

// ExactLabel scores 1 if the answer equals the example's gold label, else 0.
// For the whole completion it judges the final answer, for a step that step's.
// An empty gold label means that there is none: the score is unscorable, "no
// gold label".
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

// GradedDistance scores how near an answer is to the gold label on a numeric
// scale from low to high:
//
//	1 - |answer - gold| / (high - low)
//
// For the whole completion it judges the final answer, for a step that step's.
// An empty gold label means that there is none: the score is unscorable, "no
// gold label". So is it if the answer is not a number on the scale; a template
// that lists the allowed answers rules that out. A gold label that is not a
// number on the scale is an error. GradedDistance panics unless low and high
// are finite and low < high.
func GradedDistance[E any](gold func(E) string, low, high float64) Rule[E] {
	if width := high - low; !(width > 0) || math.IsInf(width, 0) {
		panic(fmt.Sprintf("reward: GradedDistance needs a finite scale with low < high, not from %v to %v", low, high))
	}
	grade := func(s string) (float64, bool) {
		x, err := strconv.ParseFloat(s, 64)
		return x, err == nil && low <= x && x <= high
	}
	return RuleFunc[E](func(_ context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
		s := asked(trace, step)
		label := gold(example)
		switch {
		case s.Status != prompt.StatusOK:
			return broken(s), nil
		case label == "":
			return Unscorable("no gold label"), nil
		}
		want, ok := grade(label)
		if !ok {
			return Score{}, fmt.Errorf("reward: the gold label %q is not a number from %v to %v", label, low, high)
		}
		got, ok := grade(s.Answer)
		if !ok {
			return Unscorable("answer is not a number on the scale"), nil
		}
		return Score{Value: 1 - math.Abs(got-want)/(high-low)}, nil
	})
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
