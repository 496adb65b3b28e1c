package mirror

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

// Problem is the problem to minimise f(x) + ψ(x) over the domain of a kernel.
type Problem struct {
	// Func returns f(x). Backtracking, Settings.FuncTol and Settings.OnIteration
	// need it.
	Func func(x []float64) float64
	// Grad writes ∇f(x) to dst. All methods but Stochastic need it.
	Grad func(dst, x []float64)
	// Terms and Term are for Stochastic: f is the mean of Terms terms, and Term
	// writes the gradient of term i, counted from 0, to dst.
	Terms int
	Term  func(dst, x []float64, i int)
	// Kernel is h. Its domain constrains x.
	Kernel kernel.Kernel
	// Penalty is ψ; nil = none.
	Penalty Penalty
}

// Settings say when to stop. A run makes at least one iteration.
type Settings struct {
	// Iterations is the largest number of iterations, at least 1.
	Iterations int
	// PointTol stops the run when no coordinate of x changes by more than this in
	// an iteration; 0 = never.
	PointTol float64
	// FuncTol stops the run when f + ψ changes by at most FuncTol·max(1, |f + ψ|)
	// in an iteration; 0 = never.
	FuncTol float64
	// OnIteration, if not nil, is called with the start, as Iteration 0, and with
	// the location after every iteration. It must not change or keep the slices. If
	// it returns true, the run stops.
	OnIteration func(at Location) (stop bool)
}

// Validate returns an error that names the first invalid setting.
func (s Settings) Validate() error {
	switch {
	case s.Iterations < 1:
		return fmt.Errorf("mirror: Settings.Iterations is %d, want at least 1", s.Iterations)
	case !(s.PointTol >= 0):
		return fmt.Errorf("mirror: Settings.PointTol is %v, want at least 0", s.PointTol)
	case !(s.FuncTol >= 0):
		return fmt.Errorf("mirror: Settings.FuncTol is %v, want at least 0", s.FuncTol)
	}
	return nil
}

// Location is where a run stands.
type Location struct {
	Iteration int
	// X is the point, and Z the dual point in which the method takes its steps: X =
	// ∇h*(Z), except for Accelerated.
	X, Z []float64
	// F is f(X) + ψ(X); NaN if it was not needed.
	F float64
	// StepSize is the size of the last step.
	StepSize float64
}

// Status says why a run stopped.
type Status uint8

const (
	// StatusIterations: Settings.Iterations were made.
	StatusIterations Status = iota + 1
	// StatusPoint: Settings.PointTol was reached.
	StatusPoint
	// StatusFunc: Settings.FuncTol was reached.
	StatusFunc
	// StatusStopped: Settings.OnIteration returned true.
	StatusStopped
)

var statusNames = []string{
	StatusIterations: "iterations", StatusPoint: "point", StatusFunc: "function", StatusStopped: "stopped",
}

// String returns "iterations", "point", "function" or "stopped".
func (s Status) String() string { return settings.EnumString(statusNames, s) }

// Result is where a run ended.
type Result struct {
	Location
	Status Status
	// FuncEvaluations counts calls of Func, GradEvaluations those of Grad, and
	// TermEvaluations those of Term.
	FuncEvaluations, GradEvaluations, TermEvaluations int
}

// Method finds a minimum step by step.
type Method interface {
	// Validate returns an error that names the first invalid setting.
	Validate() error
	// Start prepares a run and returns the function that makes one iteration. That
	// function moves at.X and at.Z, sets at.StepSize, and sets at.F if it knows the
	// value (at.F is NaN before). Start returns an error if the method needs a
	// function of the problem that is nil; all else in the problem was checked.
	Start(p *Problem, at *Location) (iterate func() error, err error)
}

// Minimize runs the method on the problem from x0, which must be in the domain of
// the kernel. If the penalty is a constraint, x0 may violate it.
//
// If an iteration fails or the context ends, Minimize returns the error together
// with the last point reached; other errors have a nil result. It is an error if a
// gradient is not finite or a step of fixed size leaves the dual range.
func Minimize(ctx context.Context, p Problem, x0 []float64, s Settings, m Method) (*Result, error) {
	if err := check(p, x0, s, m); err != nil {
		return nil, err
	}
	r := &Result{Location: Location{X: append([]float64(nil), x0...), Z: make([]float64, len(x0)), F: math.NaN()}}
	p.Kernel.Grad(r.Z, x0)
	count(&p, r)
	iterate, err := m.Start(&p, &r.Location)
	if err != nil {
		return nil, err
	}
	needF := s.FuncTol > 0 || s.OnIteration != nil
	value := func() {
		if math.IsNaN(r.F) && p.Func != nil {
			r.F = p.value(r.X)
		}
	}
	if needF {
		value()
	}
	if s.OnIteration != nil && s.OnIteration(r.Location) {
		r.Status = StatusStopped
		return r, nil
	}
	old := make([]float64, len(x0))
	for r.Status == 0 {
		if err := ctx.Err(); err != nil {
			return r, fmt.Errorf("mirror: after iteration %d: %w", r.Iteration, err)
		}
		copy(old, r.X)
		oldF := r.F
		r.F = math.NaN()
		if err := iterate(); err != nil {
			r.F = oldF
			return r, fmt.Errorf("mirror: iteration %d: %w", r.Iteration+1, err)
		}
		r.Iteration++
		if needF {
			value()
		}
		change := 0.0
		for i, v := range r.X {
			change = max(change, math.Abs(v-old[i]))
		}
		switch {
		case s.OnIteration != nil && s.OnIteration(r.Location):
			r.Status = StatusStopped
		case s.PointTol > 0 && change <= s.PointTol:
			r.Status = StatusPoint
		case s.FuncTol > 0 && math.Abs(r.F-oldF) <= s.FuncTol*max(1, math.Abs(r.F)):
			r.Status = StatusFunc
		case r.Iteration == s.Iterations:
			r.Status = StatusIterations
		}
	}
	value()
	return r, nil
}

func check(p Problem, x0 []float64, s Settings, m Method) error {
	if err := kernel.Check(p.Kernel, x0); err != nil {
		return fmt.Errorf("mirror: the start: %w", err)
	}
	if err := s.Validate(); err != nil {
		return err
	}
	if p.Func == nil && (s.FuncTol > 0 || s.OnIteration != nil) {
		return errors.New("mirror: Settings.FuncTol and Settings.OnIteration need Problem.Func, which is missing")
	}
	if m == nil {
		return errors.New("mirror: there is no method")
	}
	if err := m.Validate(); err != nil {
		return err
	}
	if p.Penalty != nil {
		return p.Penalty.Check(p.Kernel, len(x0))
	}
	return nil
}

// count replaces the problem's functions by ones that count their calls.
func count(p *Problem, r *Result) {
	if f := p.Func; f != nil {
		p.Func = func(x []float64) float64 { r.FuncEvaluations++; return f(x) }
	}
	if g := p.Grad; g != nil {
		p.Grad = func(dst, x []float64) { r.GradEvaluations++; g(dst, x) }
	}
	if g := p.Term; g != nil {
		p.Term = func(dst, x []float64, i int) { r.TermEvaluations++; g(dst, x, i) }
	}
}

// value returns f(x) + ψ(x).
func (p *Problem) value(x []float64) float64 {
	f := p.Func(x)
	if p.Penalty != nil {
		f += p.Penalty.Value(x)
	}
	return f
}

// Point writes to x the minimiser of a·ψ(x) + h(x) − ⟨z, x⟩, which is ∇h*(z)
// without a penalty, and changes z to its dual point. It returns false, and leaves
// x and z undefined, if z is outside the dual range. Methods take their steps with
// it.
func (p *Problem) Point(x, z []float64, a float64) bool {
	if p.Penalty != nil {
		return p.Penalty.Prox(p.Kernel, x, z, a)
	}
	return p.Kernel.Inverse(x, z)
}

// checkGradient returns an error that names the first number that is not finite.
func checkGradient(g []float64) error {
	for i, v := range g {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("coordinate %d of the gradient is %v", i, v)
		}
	}
	return nil
}

func leaves(k kernel.Kernel, a float64) error {
	return fmt.Errorf("a step of size %v leaves the dual range of %v: use a shorter one, or Backtracking", a, k)
}
