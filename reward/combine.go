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
	// Optional lets the combination do without this part where it is
	// unscorable.
	Optional bool
}

// Combine scores the weighted mean of its parts,
//
//	Σ weight · value / Σ weight
//
// Where an optional part is unscorable, it leaves both sums, so that it counts
// neither for nor against. Where any other part is, or all are, the combination
// is unscorable, with the part's name and reason as reason, or "no part is
// scorable". Parts are asked in their order; those after an unscorable part
// that is not optional are not asked. An error of a part is returned with the
// part's name, and so is a value that is not finite. Combine panics on a part
// without name, rule or valid weight, and on an empty list.
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
		if !(p.Weight > 0) || math.IsInf(p.Weight, 0) {
			panic(fmt.Sprintf("reward: the weight %v of part %q is not positive and finite", p.Weight, p.Name))
		}
	}
	return RuleFunc[E](func(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
		var sum, weight float64
		for _, p := range parts {
			if err := ctx.Err(); err != nil {
				return Score{}, err
			}
			s, err := p.Rule.Score(ctx, example, trace, step)
			switch {
			case err != nil:
				return Score{}, fmt.Errorf("reward: part %q: %w", p.Name, err)
			case !s.Scorable() && p.Optional:
				continue
			case !s.Scorable():
				return Unscorable(p.Name + ": " + s.Reason), nil
			case math.IsNaN(s.Value) || math.IsInf(s.Value, 0):
				return Score{}, fmt.Errorf("reward: part %q: the score %v is not finite", p.Name, s.Value)
			}
			sum += p.Weight * s.Value
			weight += p.Weight
		}
		if weight == 0 {
			return Unscorable("no part is scorable"), nil
		}
		return Score{Value: sum / weight}, nil
	})
}
