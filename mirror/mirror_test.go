package mirror_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/optimize"

	"github.com/stepwise-rl/stepwise/mirror"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

var ctx = context.Background()

// instance is a problem with a known constant of relative smoothness.
type instance struct {
	name   string
	fit    problem.Fit
	k      kernel.Kernel
	start  []float64
	convex bool
}

func (in instance) problem() mirror.Problem {
	return mirror.Problem{Func: in.fit.Func, Grad: in.fit.Grad, Terms: len(in.fit.A), Term: in.fit.Term, Kernel: in.k}
}

func (in instance) smoothness(t testing.TB) float64 {
	require.NoError(t, in.fit.Validate())
	l, err := in.fit.Smoothness(in.k)
	require.NoError(t, err)
	return l
}

func instances() []instance {
	fit := func(loss problem.Loss, truth ...float64) problem.Fit {
		rng := rand.New(rand.NewPCG(3, 0))
		p := problem.Fit{Loss: loss}
		for range 20 {
			var row []float64
			u := 0.1 * rng.NormFloat64()
			for _, x := range truth {
				v := rng.NormFloat64()
				if (loss == problem.Poisson{}) {
					v = math.Abs(v)
				}
				row = append(row, v)
				u += v * x
			}
			switch loss.(type) {
			case problem.Logistic:
				u = math.Copysign(1, u+rng.NormFloat64())
				p.Ridge = .1
			case problem.Poisson:
				u = math.Abs(u)
			case problem.Magnitude:
				u *= u
			}
			p.A, p.B = append(p.A, row), append(p.B, u)
		}
		return p
	}
	return []instance{
		{"least squares, Euclidean", fit(problem.Square{}, 1, -2, .5), kernel.Each(kernel.Euclidean{}), []float64{0, 0, 0}, true},
		{"least squares, simplex", fit(problem.Square{}, .2, .5, .3), kernel.Simplex{}, []float64{.4, .3, .3}, true},
		{"least squares, corner", fit(problem.Square{}, 2, -1, -1), kernel.Simplex{}, []float64{.4, .3, .3}, true},
		{"logistic, Euclidean", fit(problem.Logistic{}, 1, -2, .5), kernel.Each(kernel.Euclidean{}), []float64{0, 0, 0}, true},
		{"Poisson, Burg", fit(problem.Poisson{}, 1, 2, .5), kernel.Each(kernel.Burg{}), []float64{1, 1, 1}, true},
		{"quadratic, polynomial", fit(problem.Magnitude{}, 1, -1, .5), kernel.Polynomial{Quadratic: 1, Quartic: 1}, []float64{.5, -.5, .5}, false},
	}
}

// optimum is found by short backtracking steps for very long.
func (in instance) optimum(t testing.TB) []float64 {
	r, err := mirror.Minimize(ctx, in.problem(), in.start, mirror.Settings{Iterations: 400000, PointTol: 1e-15},
		mirror.Descent{StepSize: mirror.RelativeSmoothness{L: in.smoothness(t)}})
	require.NoError(t, err)
	return r.X
}

// Steps of 1/L: f never increases, and where it is convex,
// f(xₖ) − f(u) ≤ L·D(u, x₀)/k for every u.
func TestRelativeSmoothness(t *testing.T) {
	for _, in := range instances() {
		l, opt := in.smoothness(t), in.optimum(t)
		best, d := in.fit.Func(opt), in.k.Divergence(opt, in.start)
		last := math.Inf(1)
		_, err := mirror.Minimize(ctx, in.problem(), in.start, mirror.Settings{Iterations: 2000, OnIteration: func(at mirror.Location) bool {
			assert.LessOrEqual(t, at.F, last+1e-13*(1+math.Abs(at.F)), "%s, iteration %d", in.name, at.Iteration)
			last = at.F
			if in.convex && at.Iteration > 0 {
				assert.LessOrEqual(t, at.F-best, l*d/float64(at.Iteration)+1e-12, "%s, iteration %d", in.name, at.Iteration)
			}
			return false
		}}, mirror.Descent{StepSize: mirror.RelativeSmoothness{L: l}})
		require.NoError(t, err, in.name)
	}
}

func TestBacktrackingReachesTheSamePointSooner(t *testing.T) {
	for _, in := range instances() {
		opt := in.optimum(t)
		s := mirror.Settings{Iterations: 100000, FuncTol: 1e-13}
		fixed, err := mirror.Minimize(ctx, in.problem(), in.start, s, mirror.Descent{StepSize: mirror.RelativeSmoothness{L: in.smoothness(t)}})
		require.NoError(t, err, in.name)
		r, err := mirror.Minimize(ctx, in.problem(), in.start, s, mirror.Descent{StepSize: mirror.Backtracking{Initial: 100}})
		require.NoError(t, err, in.name)
		assert.Equal(t, mirror.StatusFunc, r.Status, in.name)
		assert.InDelta(t, in.fit.Func(opt), r.F, 1e-9, in.name)
		t.Logf("%-25s %5d iterations of 1/L, %4d with backtracking", in.name, fixed.Iteration, r.Iteration)
		assert.Less(t, r.Iteration, fixed.Iteration, in.name)
	}
}

// From a step that would leave the dual range backtracking finds one that does
// not, and goes on to the minimum.
func TestBacktrackingStaysInTheDualRange(t *testing.T) {
	c := []float64{.7, 3}
	for _, h := range []kernel.Scalar{kernel.Burg{}, kernel.Tsallis{Q: .5}, kernel.Exponential{}, kernel.LogCosh{}} {
		p := mirror.Problem{
			Func:   func(x []float64) float64 { return ((x[0]-c[0])*(x[0]-c[0]) + (x[1]-c[1])*(x[1]-c[1])) / 2 },
			Grad:   func(dst, x []float64) { dst[0], dst[1] = x[0]-c[0], x[1]-c[1] },
			Kernel: kernel.Each(h),
		}
		s := mirror.Settings{Iterations: 5000, PointTol: 1e-15}
		start := []float64{2, .5}
		_, err := mirror.Minimize(ctx, p, start, s, mirror.Descent{StepSize: mirror.Fixed{Size: 1e4}})
		require.ErrorContains(t, err, "leaves the dual range of "+h.String())
		r, err := mirror.Minimize(ctx, p, start, s, mirror.Descent{StepSize: mirror.Backtracking{Initial: 1e4}})
		require.NoError(t, err, h.String())
		assert.InDeltaSlice(t, c, r.X, 1e-10, "%v after %d iterations", h, r.Iteration)
	}
}

// (γ/(k−1+γ))^γ·L·D(u, x₀) bounds the accelerated method for γ = 2 with Euclidean
// and for γ = 1 with jointly convex divergences.
func TestAcceleratedBound(t *testing.T) {
	for _, in := range instances() {
		gamma := 1.0
		switch in.name {
		case "least squares, Euclidean", "logistic, Euclidean":
			gamma = 2
		case "Poisson, Burg", "quadratic, polynomial": // no exponent is known
			continue
		}
		l, opt := in.smoothness(t), in.optimum(t)
		best, d := in.fit.Func(opt), in.k.Divergence(opt, in.start)
		_, err := mirror.Minimize(ctx, in.problem(), in.start, mirror.Settings{Iterations: 500, OnIteration: func(at mirror.Location) bool {
			if k := float64(at.Iteration); k > 0 {
				assert.LessOrEqual(t, at.F-best, math.Pow(gamma/(k-1+gamma), gamma)*l*d+1e-12, "%s, iteration %v", in.name, k)
			}
			return false
		}}, mirror.Accelerated{L: l, Exponent: gamma})
		require.NoError(t, err, in.name)
	}
}

// On an ill-conditioned quadratic the exponent 2 is worth a factor of ten.
func TestAccelerationAccelerates(t *testing.T) {
	fit := problem.Fit{A: [][]float64{{1, 0}, {0, .01}}, B: []float64{1, 1}, Loss: problem.Square{}}
	p := mirror.Problem{Func: fit.Func, Grad: fit.Grad, Kernel: kernel.Each(kernel.Euclidean{})}
	gap := func(m mirror.Method) float64 {
		r, err := mirror.Minimize(ctx, p, []float64{0, 0}, mirror.Settings{Iterations: 300}, m)
		require.NoError(t, err)
		return r.F
	}
	plain, fast := gap(mirror.Descent{StepSize: mirror.RelativeSmoothness{L: .5}}), gap(mirror.Accelerated{L: .5, Exponent: 2})
	t.Logf("f after 300 iterations: %.2e, accelerated %.2e", plain, fast)
	assert.Less(t, fast, plain/10)
}

// The entropy on the simplex reaches a corner, whose other coordinates underflow
// to 0, and comes back from there: the iterate is kept in the dual.
func TestComesBackFromUnderflow(t *testing.T) {
	sign := 1.0
	p := mirror.Problem{Grad: func(dst, _ []float64) { dst[0], dst[1] = sign, 0 }, Kernel: kernel.Simplex{}}
	step := mirror.Descent{StepSize: mirror.Fixed{Size: 1000}}
	method := func(at mirror.Location) mirror.Method { return resumed{step, at.Z} }
	r, err := mirror.Minimize(ctx, p, []float64{.5, .5}, mirror.Settings{Iterations: 1}, step)
	require.NoError(t, err)
	assert.Equal(t, []float64{0, 1}, r.X)
	sign = -1
	r, err = mirror.Minimize(ctx, p, []float64{.5, .5}, mirror.Settings{Iterations: 1}, method(r.Location))
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float64{.5, .5}, r.X, 1e-12)
}

// resumed is a method of a user's own: Descent from a dual point.
type resumed struct {
	mirror.Descent
	z []float64
}

func (m resumed) Start(p *mirror.Problem, at *mirror.Location) (func() error, error) {
	copy(at.Z, m.z)
	return m.Descent.Start(p, at)
}

func TestStochastic(t *testing.T) {
	in := instances()[1]
	opt := in.optimum(t)
	end := func(m mirror.Stochastic, epochs int) *mirror.Result {
		r, err := mirror.Minimize(ctx, in.problem(), in.start, mirror.Settings{Iterations: epochs}, m)
		require.NoError(t, err)
		assert.Equal(t, epochs*len(in.fit.A), r.TermEvaluations)
		return r
	}
	far := func(r *mirror.Result) (d float64) {
		for i, v := range r.X {
			d = max(d, math.Abs(v-opt[i]))
		}
		return d
	}
	long, short := far(end(mirror.Stochastic{Size: .1}, 3000)), far(end(mirror.Stochastic{Size: .01}, 3000))
	decayed := far(end(mirror.Stochastic{Size: 1, Decay: 1}, 20000))
	t.Logf("distance: steps of .1 %.1e, of .01 %.1e, decaying %.1e", long, short, decayed)
	assert.Less(t, short, long/5, "a smaller neighbourhood")
	assert.Less(t, decayed, 1e-4)
	assert.Equal(t, end(mirror.Stochastic{Size: .1, Seed: 4}, 5).X, end(mirror.Stochastic{Size: .1, Seed: 4}, 5).X)
	assert.NotEqual(t, end(mirror.Stochastic{Size: .1, Seed: 4}, 5).X, end(mirror.Stochastic{Size: .1, Seed: 5}, 5).X)
}

// Every epoch takes every term once.
func TestReshuffling(t *testing.T) {
	var seen []int
	p := mirror.Problem{Terms: 5, Term: func(dst, _ []float64, i int) { seen = append(seen, i); dst[0] = 0 }, Kernel: kernel.Each(kernel.Euclidean{})}
	_, err := mirror.Minimize(ctx, p, []float64{0}, mirror.Settings{Iterations: 3}, mirror.Stochastic{Size: 1})
	require.NoError(t, err)
	require.Len(t, seen, 15)
	for e := range 3 {
		assert.ElementsMatch(t, []int{0, 1, 2, 3, 4}, seen[5*e:5*e+5])
	}
	assert.NotEqual(t, seen[:5], seen[5:10])
}

// The same minima as gonum's BFGS, for what has no constraints.
func TestAgainstGonum(t *testing.T) {
	for _, in := range instances() {
		if in.name != "logistic, Euclidean" && in.name != "quadratic, polynomial" {
			continue
		}
		r, err := optimize.Minimize(optimize.Problem{Func: in.fit.Func, Grad: in.fit.Grad}, in.start, &optimize.Settings{GradientThreshold: 1e-11}, &optimize.BFGS{})
		if err != nil { // the line search ends at rounding errors
			require.Less(t, norm(r.Gradient), 1e-7)
		}
		assert.InDeltaSlice(t, r.X, in.optimum(t), 1e-7, in.name)
	}
}

func norm(x []float64) (s float64) {
	for _, v := range x {
		s += v * v
	}
	return math.Sqrt(s)
}

func TestStopping(t *testing.T) {
	in := instances()[0]
	step := mirror.Descent{StepSize: mirror.Fixed{Size: .1}}
	status := func(s mirror.Settings) (mirror.Status, int) {
		r, err := mirror.Minimize(ctx, in.problem(), in.start, s, step)
		require.NoError(t, err)
		assert.InDelta(t, in.fit.Func(r.X), r.F, 1e-15)
		return r.Status, r.Iteration
	}
	got, n := status(mirror.Settings{Iterations: 3})
	assert.Equal(t, mirror.StatusIterations, got)
	assert.Equal(t, 3, n)
	got, _ = status(mirror.Settings{Iterations: 10000, PointTol: 1e-6})
	assert.Equal(t, "point", got.String())
	got, _ = status(mirror.Settings{Iterations: 10000, FuncTol: 1e-6})
	assert.Equal(t, mirror.StatusFunc, got)
	got, n = status(mirror.Settings{Iterations: 10000, OnIteration: func(at mirror.Location) bool { return at.Iteration == 7 }})
	assert.Equal(t, mirror.StatusStopped, got)
	assert.Equal(t, 7, n)
	got, n = status(mirror.Settings{Iterations: 10000, OnIteration: func(mirror.Location) bool { return true }})
	assert.Equal(t, mirror.StatusStopped, got)
	assert.Equal(t, 0, n)

	stopped, cancel := context.WithCancel(ctx)
	r, err := mirror.Minimize(stopped, in.problem(), in.start, mirror.Settings{Iterations: 10, OnIteration: func(at mirror.Location) bool {
		if at.Iteration == 4 {
			cancel()
		}
		return false
	}}, step)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 4, r.Iteration)
}

func TestErrors(t *testing.T) {
	in := instances()[4]
	once := mirror.Settings{Iterations: 1}
	fixed := mirror.Descent{StepSize: mirror.Fixed{Size: 1}}
	without := func(change func(*mirror.Problem)) mirror.Problem {
		p := in.problem()
		change(&p)
		return p
	}
	for _, c := range []struct {
		want  string
		p     mirror.Problem
		start []float64
		s     mirror.Settings
		m     mirror.Method
	}{
		{"the start: kernel: coordinate 1 is -1, outside the domain (0, +Inf) of Burg", in.problem(), []float64{1, -1, 1}, once, fixed},
		{"the start: kernel: there is no kernel", without(func(p *mirror.Problem) { p.Kernel = nil }), in.start, once, fixed},
		{"Settings.Iterations is 0", in.problem(), in.start, mirror.Settings{}, fixed},
		{"Settings.PointTol is -1", in.problem(), in.start, mirror.Settings{Iterations: 1, PointTol: -1}, fixed},
		{"Settings.FuncTol is NaN", in.problem(), in.start, mirror.Settings{Iterations: 1, FuncTol: math.NaN()}, fixed},
		{"need Problem.Func", without(func(p *mirror.Problem) { p.Func = nil }), in.start, mirror.Settings{Iterations: 1, FuncTol: 1}, fixed},
		{"there is no method", in.problem(), in.start, once, nil},
		{"Descent.StepSize is missing", in.problem(), in.start, once, mirror.Descent{}},
		{"Fixed.Size is 0", in.problem(), in.start, once, mirror.Descent{StepSize: mirror.Fixed{}}},
		{"RelativeSmoothness.L is +Inf", in.problem(), in.start, once, mirror.Descent{StepSize: mirror.RelativeSmoothness{L: math.Inf(1)}}},
		{"Backtracking.Shrink is 1", in.problem(), in.start, once, mirror.Descent{StepSize: mirror.Backtracking{Initial: 1, Shrink: 1}}},
		{"Backtracking.Grow is 0.5", in.problem(), in.start, once, mirror.Descent{StepSize: mirror.Backtracking{Initial: 1, Grow: .5}}},
		{"Backtracking.Initial is -1", in.problem(), in.start, once, mirror.Descent{StepSize: mirror.Backtracking{Initial: -1}}},
		{"Descent needs Problem.Grad", without(func(p *mirror.Problem) { p.Grad = nil }), in.start, once, fixed},
		{"Backtracking needs Problem.Func", without(func(p *mirror.Problem) { p.Func = nil }), in.start, once, mirror.Descent{StepSize: mirror.Backtracking{Initial: 1}}},
		{"Accelerated.Exponent is 3", in.problem(), in.start, once, mirror.Accelerated{L: 1, Exponent: 3}},
		{"Accelerated.L is 0", in.problem(), in.start, once, mirror.Accelerated{Exponent: 1}},
		{"Accelerated needs Problem.Grad", without(func(p *mirror.Problem) { p.Grad = nil }), in.start, once, mirror.Accelerated{L: 1, Exponent: 1}},
		{"Stochastic.Decay is 2", in.problem(), in.start, once, mirror.Stochastic{Size: 1, Decay: 2}},
		{"Stochastic needs Problem.Term", without(func(p *mirror.Problem) { p.Term = nil }), in.start, once, mirror.Stochastic{Size: 1}},
		{"iteration 1: a step of size 1000 leaves the dual range of Burg: use a shorter one, or Backtracking", in.problem(), []float64{.1, .1, .1}, once, mirror.Descent{StepSize: mirror.Fixed{Size: 1000}}},
		{"iteration 1: a step of size 1000 leaves the dual range of Burg", in.problem(), []float64{.1, .1, .1}, once, mirror.Accelerated{L: .001, Exponent: 1}},
		{"a step of size 1000 leaves the dual range of Burg", in.problem(), []float64{.1, .1, .1}, once, mirror.Stochastic{Size: 1000}},
		{"iteration 1: coordinate 2 of the gradient is NaN", without(func(p *mirror.Problem) {
			p.Grad = func(dst, _ []float64) { dst[2] = math.NaN() }
		}), in.start, once, fixed},
		{"no step is short enough: are Func and Grad finite", without(func(p *mirror.Problem) {
			p.Func = func([]float64) float64 { return math.NaN() }
		}), in.start, once, mirror.Descent{StepSize: mirror.Backtracking{Initial: 1}}},
	} {
		_, err := mirror.Minimize(ctx, c.p, c.start, c.s, c.m)
		assert.ErrorContains(t, err, c.want)
	}
	// On an error the result is where the run was.
	fail := errors.New("enough")
	r, err := mirror.Minimize(ctx, in.problem(), in.start, mirror.Settings{Iterations: 9}, failing{fixed, fail})
	assert.ErrorIs(t, err, fail)
	assert.Equal(t, in.start, r.X)
	r, err = mirror.Minimize(ctx, in.problem(), in.start, mirror.Settings{Iterations: 9, FuncTol: 1e-9}, failing{fixed, fail})
	assert.ErrorIs(t, err, fail)
	assert.Equal(t, in.problem().Func(in.start), r.F, "it was needed")
}

type failing struct {
	mirror.Descent
	err error
}

func (f failing) Start(*mirror.Problem, *mirror.Location) (func() error, error) {
	return func() error { return f.err }, nil
}

// A constant in the gradient means nothing on the simplex; its rounding must not
// decide how long a step may be.
func TestBacktrackingOnTheSimplexSeesNoConstant(t *testing.T) {
	c := []float64{.5, .3, .2}
	for _, shift := range []float64{0, .01, 1, 100} {
		p := mirror.Problem{
			Kernel: kernel.Simplex{},
			Func: func(x []float64) (f float64) {
				for i := range x {
					f += float64(i+1)*(x[i]-c[i])*(x[i]-c[i])/2 + shift*x[i]
				}
				return f
			},
			Grad: func(dst, x []float64) {
				for i := range x {
					dst[i] = float64(i+1)*(x[i]-c[i]) + shift
				}
			},
		}
		r, err := mirror.Minimize(t.Context(), p, []float64{.2, .2, .6}, mirror.Settings{Iterations: 100, PointTol: 1e-15}, mirror.Descent{StepSize: mirror.Backtracking{Initial: 1}})
		require.NoError(t, err)
		require.InDeltaSlice(t, c, r.X, 1e-15*(1+100*shift), "shift %v", shift)
		require.Greater(t, r.StepSize, .3, "shift %v", shift)
	}
}
