package sam

import (
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/advantage"
)

// Blend mixes two rules, each applied to the outcome's advantages:
//
//	Â = λ·A(Adv) + (1−λ)·B(Adv)
//
// A token is kept if a rule with weight above 0 keeps it. The gradient, and so
// what it optimises, is mixed likewise.
type Blend struct {
	A, B Rule
	// Lambda is the weight λ of A, in [0, 1].
	Lambda float64
}

// Credit implements Rule. Its statistics are those of the mixture. It is an
// error if a rule is nil or Lambda is out of range.
func (r Blend) Credit(batch []advantage.Group) (Stats, error) {
	if r.A == nil || r.B == nil {
		return Stats{}, errors.New("sam: Blend needs two rules")
	}
	if !(r.Lambda >= 0 && r.Lambda <= 1) {
		return Stats{}, fmt.Errorf("sam: Lambda is %v, want a number in [0, 1]", r.Lambda)
	}
	outcome := takeSnapshot(batch)
	if _, err := r.A.Credit(batch); err != nil {
		return Stats{}, fmt.Errorf("sam: first rule of blend: %w", err)
	}
	a := takeSnapshot(batch)
	outcome.restore(batch)
	if _, err := r.B.Credit(batch); err != nil {
		return Stats{}, fmt.Errorf("sam: second rule of blend: %w", err)
	}
	b := takeSnapshot(batch)
	outcome.restore(batch)

	next := 0
	return eachGroup(batch, func(g []completion) {
		for _, c := range g {
			for t := range c.Adv {
				c.Adv[t] = r.Lambda*a.adv[next] + (1-r.Lambda)*b.adv[next]
				c.Keep[t] = r.Lambda > 0 && a.keep[next] || r.Lambda < 1 && b.keep[next]
				next++
			}
		}
	})
}

// snapshot holds the advantages and keep flags of a batch, end to end.
type snapshot struct {
	adv  []float64
	keep []bool
}

func takeSnapshot(batch []advantage.Group) snapshot {
	tokens := 0
	for _, g := range batch {
		for i := range g {
			tokens += len(g[i].Adv)
		}
	}
	s := snapshot{make([]float64, 0, tokens), make([]bool, 0, tokens)}
	for _, g := range batch {
		for i := range g {
			s.adv = append(s.adv, g[i].Adv...)
			s.keep = append(s.keep, g[i].Keep...)
		}
	}
	return s
}

func (s snapshot) restore(batch []advantage.Group) {
	adv, keep := s.adv, s.keep
	for _, g := range batch {
		for i := range g {
			adv = adv[copy(g[i].Adv, adv):]
			keep = keep[copy(g[i].Keep, keep):]
		}
	}
}
