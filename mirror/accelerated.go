package mirror

import (
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

// Accelerated is the accelerated Bregman proximal gradient method (ABPG of
// Hanzely, Richtárik and Xiao, Comput. Optim. Appl. 2021):
//
//	y = (1−θ)·x + θ·v
//	v ← argmin ⟨∇f(y), v⟩ + ψ(v) + θ^(γ−1)·L·D(v, vₖ)
//	x ← (1−θ)·x + θ·v
//
// from θ = 1, and then the θ with (1−θ)/θ^γ = 1/θₖ^γ. If L·h − f is convex and γ
// is a triangle-scaling exponent of the kernel,
//
//	D((1−θ)x+θu, (1−θ)x+θv) ≤ θ^γ·D(u, v) for all x, u, v and 0 ≤ θ ≤ 1,
//
// then f(xₖ) − f(u) ≤ (γ/(k−1+γ))^γ·L·D(u, x₀). For Euclidean γ = 2 holds, which
// gives Nesterov's rate. For every kernel whose divergence is jointly convex, such
// as Entropy, Simplex and FermiDirac, γ = 1 holds, which is no better than Descent;
// no larger γ is known for these in general. Their exponent tends to 2 for close
// points, so γ = 2 often works for them too, but without proof: watch the
// function's value.
//
// Location.X is an average of points; Location.Z is the dual point of v, so X is
// not ∇h*(Z).
type Accelerated struct {
	// L is the constant of relative smoothness.
	L float64
	// Exponent is γ, above 0 and at most 2.
	Exponent float64
}

// Validate returns an error that names the first invalid setting.
func (m Accelerated) Validate() error {
	if !(m.Exponent > 0 && m.Exponent <= 2) {
		return fmt.Errorf("mirror: Accelerated.Exponent is %v, want a number above 0 and at most 2", m.Exponent)
	}
	return checkPositive("Accelerated.L", m.L)
}

// Start implements Method.
func (m Accelerated) Start(p *Problem, at *Location) (func() error, error) {
	if p.Grad == nil {
		return nil, errors.New("mirror: Accelerated needs Problem.Grad, which is missing")
	}
	d := len(at.X)
	y, v, g, z := make([]float64, d), append([]float64(nil), at.X...), make([]float64, d), make([]float64, d)
	theta := 1.0
	return func() error {
		for i := range y {
			y[i] = (1-theta)*at.X[i] + theta*v[i]
		}
		p.Grad(g, y)
		if err := checkGradient(g); err != nil {
			return err
		}
		size := math.Pow(theta, 1-m.Exponent) / m.L
		for i := range z {
			z[i] = at.Z[i] - size*g[i]
		}
		if !p.Point(v, z, size) {
			return leaves(p.Kernel, size)
		}
		copy(at.Z, z)
		for i := range v {
			at.X[i] = (1-theta)*at.X[i] + theta*v[i]
		}
		at.StepSize = size
		theta = nextTheta(theta, m.Exponent)
		return nil
	}, nil
}

// nextTheta solves t^γ/(1−t) = θ^γ for t in (0, 1).
func nextTheta(theta, gamma float64) float64 {
	value := func(t float64) float64 { return math.Pow(t, gamma) / (1 - t) }
	slope := func(t float64) float64 {
		return math.Pow(t, gamma-1) * (gamma*(1-t) + t) / ((1 - t) * (1 - t))
	}
	t, ok := kernel.Invert(value, slope, 0, 1, math.Pow(theta, gamma))
	if !ok {
		return theta // it is 0 to rounding
	}
	return t
}
