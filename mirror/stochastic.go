package mirror

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// Stochastic is stochastic mirror descent with random reshuffling: an iteration is
// an epoch, which visits every term of f once, in a new random order, and takes a
// step along the gradient of each:
//
//	z ← z − a·∇fᵢ(x),  x ← argmin a·ψ(x) + h(x) − ⟨z, x⟩
//
// The size is a = Size/epoch^Decay. With steps of one size the run ends in a
// neighbourhood of the minimum, which is the smaller the smaller the steps are.
type Stochastic struct {
	// Size is the size of the steps in the first epoch.
	Size float64
	// Decay is between 0, for steps of one size, and 1.
	Decay float64
	// Seed determines the random orders.
	Seed uint64
}

// Validate returns an error that names the first invalid setting.
func (m Stochastic) Validate() error {
	if !(m.Decay >= 0 && m.Decay <= 1) {
		return fmt.Errorf("mirror: Stochastic.Decay is %v, want a number from 0 to 1", m.Decay)
	}
	return checkPositive("Stochastic.Size", m.Size)
}

// Start implements Method.
func (m Stochastic) Start(p *Problem, at *Location) (func() error, error) {
	if p.Term == nil || p.Terms < 1 {
		return nil, errors.New("mirror: Stochastic needs Problem.Term and Problem.Terms, which are missing")
	}
	rng := rand.New(rand.NewPCG(m.Seed, 0))
	g, x, z := make([]float64, len(at.X)), make([]float64, len(at.X)), make([]float64, len(at.X))
	return func() error {
		at.StepSize = m.Size / math.Pow(float64(at.Iteration+1), m.Decay)
		copy(x, at.X)
		copy(z, at.Z)
		for _, i := range rng.Perm(p.Terms) {
			p.Term(g, x, i)
			if err := checkGradient(g); err != nil {
				return fmt.Errorf("term %d: %w", i, err)
			}
			for j := range z {
				z[j] -= at.StepSize * g[j]
			}
			if !p.Point(x, z, at.StepSize) {
				return fmt.Errorf("term %d: %w", i, leaves(p.Kernel, at.StepSize))
			}
		}
		copy(at.X, x)
		copy(at.Z, z)
		return nil
	}, nil
}
