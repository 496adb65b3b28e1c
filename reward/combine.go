package reward

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Part is one rule of a combination.
type Part[E any] struct {
	// Name stands before the part's reasons and errors. It must be unique.
	Name string
	Rule Rule[E]
	// Weight is positive and finite.
	Weight float64
	// Optional lets the combination leave this part out where it is
	// unscorable, unless the policy broke the step.
	Optional bool
}

// Combine scores the weighted mean of its parts,
//
//	Σ weight · value / Σ weight
//
// An optional part that is unscorable is left out of both sums: it counts neither
// for nor against. If any other part is unscorable, so is the combination, and
// its reason is that part's name and reason; if every part was left out, the
// reason is "no part is scorable". A part that finds the step broken is never
// left out, or a policy could escape its judgement by breaking the step.
//
// Parts are asked in order, up to the first that makes the combination
// unscorable. A part that returns an error, or a value that is not finite, makes
// the combination return an error that names it. Combine panics on an empty
// list, on a part without a name, a rule or a valid weight, and on a [GroupRule],
// which it could not show the group.
func Combine[E any](parts ...Part[E]) Rule[E] {
	if len(parts) == 0 {
		panic("reward: Combine needs at least one part")
	}
	names := make(map[string]bool, len(parts))
	for i, p := range parts {
		if p.Name == "" || names[p.Name] {
			panic(fmt.Sprintf("reward: the name %q of part %d is empty or not unique", p.Name, i))
		}
		names[p.Name] = true
		if p.Rule == nil {
			panic(fmt.Sprintf("reward: part %q has no rule", p.Name))
		}
		if _, ok := p.Rule.(GroupRule[E]); ok {
			panic(fmt.Sprintf("reward: part %q is a GroupRule, which Combine cannot show the group", p.Name))
		}
		if !(p.Weight > 0) || math.IsInf(p.Weight, 0) {
			panic(fmt.Sprintf("reward: the weight %v of part %q is not positive and finite", p.Weight, p.Name))
		}
	}
	return RuleFunc[E](func(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
		var sum, weight float64
		var failure error // the first of those left out
		for _, p := range parts {
			if err := ctx.Err(); err != nil {
				return Score{}, err
			}
			s, err := p.Rule.Score(ctx, example, trace, step)
			switch {
			case err != nil:
				return Score{}, fmt.Errorf("reward: part %q: %w", p.Name, err)
			case !s.Scorable() && p.Optional && !findsBroken(s):
				if failure == nil {
					failure = s.Err
				}
				continue
			case !s.Scorable():
				return Score{Reason: p.Name + ": " + s.Reason, Err: s.Err}, nil
			case math.IsNaN(s.Value) || math.IsInf(s.Value, 0):
				return Score{}, fmt.Errorf("reward: part %q: the score %v is not finite", p.Name, s.Value)
			}
			sum += p.Weight * s.Value
			weight += p.Weight
		}
		if weight == 0 {
			return Score{Reason: "no part is scorable", Err: failure}, nil
		}
		return Score{Value: sum / weight}, nil
	})
}
