package sam

import (
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Blend mixes two kinds of credit, each applied to the outcome advantages:
//
//	Â = λ·A(Adv) + (1−λ)·B(Adv)
//
// A token is kept if a kind with weight above 0 keeps it. The gradient, and so
// the optimised value, is the same mixture.
type Blend struct {
	A Credit `json:"a"`
	B Credit `json:"b"`
	// Lambda is the weight λ of A, in [0, 1].
	Lambda float64 `json:"lambda"`
}

// Validate implements Credit.
func (r Blend) Validate() error {
	if r.A == nil {
		return errors.New("sam: Blend.A is nil, want a kind of credit")
	}
	if r.B == nil {
		return errors.New("sam: Blend.B is nil, want a kind of credit")
	}
	if !(r.Lambda >= 0 && r.Lambda <= 1) {
		return fmt.Errorf("sam: Blend.Lambda is %v, want a number in [0, 1]", r.Lambda)
	}
	if err := r.A.Validate(); err != nil {
		return err
	}
	return r.B.Validate()
}

// Assign implements Credit. Its statistics are those of the mixture.
func (r Blend) Assign(batch []rollout.Group) (Stats, error) {
	outcome := takeSnapshot(batch)
	if _, err := r.A.Assign(batch); err != nil {
		return Stats{}, fmt.Errorf("sam: Blend.A: %w", err)
	}
	a := takeSnapshot(batch)
	outcome.restore(batch)
	if _, err := r.B.Assign(batch); err != nil {
		return Stats{}, fmt.Errorf("sam: Blend.B: %w", err)
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

func takeSnapshot(batch []rollout.Group) snapshot {
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

func (s snapshot) restore(batch []rollout.Group) {
	adv, keep := s.adv, s.keep
	for _, g := range batch {
		for i := range g {
			adv = adv[copy(g[i].Adv, adv):]
			keep = keep[copy(g[i].Keep, keep):]
		}
	}
}
