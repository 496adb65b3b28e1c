package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"math"
)

// Descent is mirror descent (Nemirovski and Yudin 1983; in this form Beck and
// Teboulle 2003), and with a penalty the Bregman proximal gradient method
// (Bauschke, Bolte and Teboulle 2017):
//
//	z ← z − a·∇f(x),  x ← argmin a·ψ(x) + h(x) − ⟨z, x⟩
type Descent struct {
	// StepSize says how long the steps are; required.
	StepSize StepSize
}

// StepSize determines the size a of each step: [Fixed], [RelativeSmoothness] or
// [Backtracking].
type StepSize interface {
	Validate() error
	rule() Backtracking
}

// Fixed gives all steps the same size.
type Fixed struct {
	// Size is a, positive and finite.
	Size float64
}

// Validate returns an error if Size is not positive and finite.
func (s Fixed) Validate() error    { return checkPositive("Fixed.Size", s.Size) }
func (s Fixed) rule() Backtracking { return Backtracking{Initial: s.Size} }

// RelativeSmoothness gives all steps the size 1/L, where L·h − f is convex. Then f
// never increases.
type RelativeSmoothness struct {
	// L is the constant, positive and finite, for example from
	// problem.Fit.Smoothness.
	L float64
}

// Validate returns an error if L is not positive and finite.
func (s RelativeSmoothness) Validate() error    { return checkPositive("RelativeSmoothness.L", s.L) }
func (s RelativeSmoothness) rule() Backtracking { return Backtracking{Initial: 1 / s.L} }

// Backtracking shortens each step until the dual point is in range and
//
//	f(x) ≤ f(xₖ) + ⟨∇f(xₖ), x−xₖ⟩ + D(x, xₖ)/a
//
// which holds at the latest when a ≤ 1/L. The next iteration first tries a longer
// step.
type Backtracking struct {
	// Initial is the first size to try.
	Initial float64
	// Shrink is the factor between tries, below 1; 0 stands for 1/2.
	Shrink float64
	// Grow is the factor between iterations, at least 1; 0 stands for 1.2.
	Grow float64
}

// Validate returns an error that names the first invalid setting.
func (s Backtracking) Validate() error {
	switch {
	case !(s.Shrink >= 0 && s.Shrink < 1):
		return fmt.Errorf("mirror: Backtracking.Shrink is %v, want a number between 0 and 1", s.Shrink)
	case s.Grow != 0 && !(s.Grow >= 1) || math.IsInf(s.Grow, 0):
		return fmt.Errorf("mirror: Backtracking.Grow is %v, want a finite number of at least 1", s.Grow)
	}
	return checkPositive("Backtracking.Initial", s.Initial)
}

func (s Backtracking) rule() Backtracking {
	s.Shrink = cmp.Or(s.Shrink, 0.5)
	s.Grow = cmp.Or(s.Grow, 1.2)
	return s
}

// Validate returns an error that names the first invalid setting.
func (m Descent) Validate() error {
	if m.StepSize == nil {
		return errors.New("mirror: Descent.StepSize is missing, want Fixed, RelativeSmoothness or Backtracking")
	}
	return m.StepSize.Validate()
}

// Start implements Method.
func (m Descent) Start(p *Problem, at *Location) (func() error, error) {
	if p.Grad == nil {
		return nil, errors.New("mirror: Descent needs Problem.Grad, which is missing")
	}
	rule := m.StepSize.rule()
	search := rule.Shrink > 0
	if search && p.Func == nil {
		return nil, errors.New("mirror: Backtracking needs Problem.Func, which is missing")
	}
	if !search {
		return m.fixed(p, at, rule.Initial), nil
	}
	return m.search(p, at, rule), nil
}

func (m Descent) fixed(p *Problem, at *Location, size float64) func() error {
	at.StepSize = size
	d := len(at.X)
	g, x, z := make([]float64, d), make([]float64, d), make([]float64, d)
	return func() error {
		p.Grad(g, at.X)
		if err := checkGradient(g); err != nil {
			return err
		}
		for i := range z {
			z[i] = at.Z[i] - size*g[i]
		}
		if !p.Point(x, z, size) {
			return leaves(p.Kernel, size)
		}
		copy(at.X, x)
		copy(at.Z, z)
		return nil
	}
}

func (m Descent) search(p *Problem, at *Location, rule Backtracking) func() error {
	d := len(at.X)
	g, next, x, z := make([]float64, d), make([]float64, d), make([]float64, d), make([]float64, d)
	size := rule.Initial
	f := p.Func(at.X) // without ψ
	ready := false    // whether g is the gradient at at.X
	return func() error {
		if !ready {
			p.Grad(g, at.X)
		}
		if err := checkGradient(g); err != nil {
			return err
		}
		var value float64
		for try := 0; ; try++ {
			for i := range z {
				z[i] = at.Z[i] - size*g[i]
			}
			if p.Point(x, z, size) {
				value = p.Func(x)
				var ok bool
				if ok, ready = p.shortEnough(at, f, value, g, next, x, z, size); ok {
					break
				}
			}
			if try == 400 {
				return errors.New("no step is short enough: are Func and Grad finite there, and is Grad its gradient?")
			}
			size *= rule.Shrink
		}
		if ready {
			g, next = next, g
		}
		copy(at.X, x)
		copy(at.Z, z)
		f = value
		at.F, at.StepSize = f, size
		if p.Penalty != nil {
			at.F += p.Penalty.Value(x)
		}
		size *= rule.Grow
		return nil
	}
}

// shortEnough reports whether a step of the size satisfies Backtracking's
// condition: from at.X, with f and its gradient g, to x, with value and the dual
// point z. Where both values agree in so many digits that rounding would decide,
// it compares derivatives along the step in their place,
//
//	⟨∇f(x) − ∇f(xₖ), x−xₖ⟩ ≤ ⟨∇h(x) − ∇h(xₖ), x−xₖ⟩/a,
//
// twice the same up to terms of third order; next is then ∇f(x). If the step keeps
// the sum of the coordinates, as on the simplex, a constant in both gradients means
// nothing, and its rounding would decide: then it is subtracted.
func (p *Problem) shortEnough(at *Location, f, value float64, g, next, x, z []float64, size float64) (ok, gradient bool) {
	bound := p.Kernel.Divergence(x, at.X) / size
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return false, false
	}
	scale := math.Abs(f) + math.Abs(value)
	for i := range x {
		scale += math.Abs(g[i] * x[i])
	}
	if bound > 1e-9*scale {
		for i := range x {
			bound += g[i] * (x[i] - at.X[i])
		}
		return value <= f+bound, false
	}
	p.Grad(next, x)
	// dz is ∇h(x) − ∇h(xₖ), and slack what rounding may add to it. Without a penalty
	// it is known without the rounding of z, whose constant part may grow.
	dz := func(i int) (d, slack float64) {
		if p.Penalty == nil {
			return -size * g[i], 0
		}
		return z[i] - at.Z[i], 4e-16 * (math.Abs(z[i]) + math.Abs(at.Z[i]))
	}
	var change, mass, primal, dual float64
	for i := range x {
		change += x[i] - at.X[i]
		mass += math.Abs(x[i])
		primal += next[i] - g[i]
		d, _ := dz(i)
		dual += d
	}
	if math.Abs(change) > 1e-15*mass {
		primal, dual = 0, 0
	}
	n := float64(len(x))
	var left, right, rounding float64
	for i := range x {
		e := x[i] - at.X[i]
		left += (next[i] - g[i] - primal/n) * e
		d, slack := dz(i)
		right += (d - dual/n) * e / size
		rounding += math.Abs(e) * (1e-15*math.Abs(g[i]) + slack/size)
	}
	return left <= right+rounding, true
}

func checkPositive(name string, v float64) error {
	if !(v > 0) || math.IsInf(v, 0) {
		return fmt.Errorf("mirror: %s is %v, want a finite positive number", name, v)
	}
	return nil
}
