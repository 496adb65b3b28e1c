package reward

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/stepwise-rl/stepwise/prompt"
)

// GradedDistance scores an answer by how near it is to the gold label on a
// numeric scale from low to high:
//
//	1 - |answer - gold| / (high - low)
//
// As an outcome rule it judges the final answer; as a step rule, that step's. A
// gold label "" means that there is none: "no gold label". An answer that is
// not a number on the scale is unscorable too; a template that lists the
// allowed answers rules that out. A gold label that is not a number on the
// scale is an error. GradedDistance panics unless low < high, both finite.
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
