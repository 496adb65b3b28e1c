package problem_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

// cases are the pairs whose constant is known. Points, rows and targets are
// positive, which all of them allow.
func cases(rng *rand.Rand) map[string]struct {
	p problem.Fit
	k kernel.Kernel
} {
	fit := func(l problem.Loss, ridge float64) problem.Fit {
		p := problem.Fit{Loss: l, Ridge: ridge}
		for range 7 {
			p.A = append(p.A, []float64{rng.Float64(), rng.Float64(), 2 * rng.Float64()})
			b := 1 + rng.Float64()
			if l == (problem.Logistic{}) {
				b = math.Copysign(1, rng.NormFloat64())
			}
			p.B = append(p.B, b)
		}
		return p
	}
	return map[string]struct {
		p problem.Fit
		k kernel.Kernel
	}{
		"square, Euclidean":     {fit(problem.Square{}, .1), kernel.Each(kernel.Euclidean{})},
		"square, simplex":       {fit(problem.Square{}, .1), kernel.Simplex{}},
		"logistic, Euclidean":   {fit(problem.Logistic{}, .1), kernel.Each(kernel.Euclidean{})},
		"logistic, simplex":     {fit(problem.Logistic{}, 0), kernel.Simplex{}},
		"Poisson, Burg":         {fit(problem.Poisson{}, 0), kernel.Each(kernel.Burg{})},
		"magnitude, polynomial": {fit(problem.Magnitude{}, .1), kernel.Polynomial{Quadratic: 2, Quartic: .5}},
	}
}

func point(rng *rand.Rand, k kernel.Kernel) []float64 {
	x := []float64{rng.Float64() * 3, rng.Float64(), rng.ExpFloat64()}
	if k == (kernel.Simplex{}) {
		s := x[0] + x[1] + x[2]
		x[0], x[1], x[2] = x[0]/s, x[1]/s, x[2]/s
	}
	return x
}

func TestGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	for name, c := range cases(rng) {
		require.NoError(t, c.p.Validate())
		for range 20 {
			x, g, mean, term := point(rng, c.k), make([]float64, 3), make([]float64, 3), make([]float64, 3)
			c.p.Grad(g, x)
			for i := range c.p.A {
				c.p.Term(term, x, i)
				for j := range mean {
					mean[j] += term[j] / float64(len(c.p.A))
				}
			}
			assert.InDeltaSlice(t, g, mean, 1e-12*(1+math.Abs(g[0])), name)
			for j := range x {
				const e = 1e-6
				at := x[j]
				x[j] = at + e
				up := c.p.Func(x)
				x[j] = at - e
				down := c.p.Func(x)
				x[j] = at
				assert.InDelta(t, (up-down)/(2*e), g[j], 1e-6*(1+math.Abs(g[j])), name)
			}
		}
	}
}

// L·h − f is convex: f's divergence is at most L times the kernel's.
func TestSmoothness(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 0))
	for name, c := range cases(rng) {
		l, err := c.p.Smoothness(c.k)
		require.NoError(t, err, name)
		tight := 0.0
		for range 3000 {
			x, y, g := point(rng, c.k), point(rng, c.k), make([]float64, 3)
			c.p.Grad(g, y)
			d := c.p.Func(x) - c.p.Func(y)
			for j := range g {
				d -= g[j] * (x[j] - y[j])
			}
			bound := l * c.k.Divergence(x, y)
			assert.LessOrEqual(t, d, bound+1e-12, name)
			tight = max(tight, d/bound)
		}
		assert.Greater(t, tight, .04, "%s: not so large that it means nothing", name)
	}
}

func TestLossesByHand(t *testing.T) {
	assert.InDelta(t, math.Ln2, problem.Logistic{}.Value(0, 1), 1e-15)
	assert.InDelta(t, 800.0, problem.Logistic{}.Value(-800, 1), 1e-12)
	assert.InDelta(t, -1.0, problem.Logistic{}.Slope(-800, 1), 1e-12)
	assert.InDelta(t, math.Exp(-50), problem.Logistic{}.Slope(-50, -1), 1e-30)
	assert.Zero(t, problem.Poisson{}.Value(3, 3))
	assert.Equal(t, 2., problem.Poisson{}.Value(2, 0))
	assert.Equal(t, 1., problem.Poisson{}.Slope(2, 0))
	assert.Equal(t, 2.25, problem.Magnitude{}.Value(2, 1))
}

func TestErrors(t *testing.T) {
	row := [][]float64{{1, 2}}
	for want, p := range map[string]problem.Fit{
		"Fit.A is empty":                         {},
		"1 rows and 0 targets":                   {A: row},
		"Fit.Loss is missing":                    {A: row, B: []float64{1}},
		"Fit.Ridge is -1":                        {A: row, B: []float64{1}, Loss: problem.Square{}, Ridge: -1},
		"row 1 of Fit.A has 1 numbers, want 2":   {A: [][]float64{{1, 2}, {1}}, B: []float64{1, 2}, Loss: problem.Square{}},
		"Fit.A[0][1] is NaN":                     {A: [][]float64{{1, math.NaN()}}, B: []float64{1}, Loss: problem.Square{}},
		"Fit.B[0]: 0.5, want 1 or -1":            {A: row, B: []float64{.5}, Loss: problem.Logistic{}},
		"Fit.B[0]: -1, want a finite number of ": {A: row, B: []float64{-1}, Loss: problem.Poisson{}},
	} {
		assert.ErrorContains(t, p.Validate(), want)
	}
	_, err := problem.Fit{A: row, B: []float64{1}, Loss: problem.Poisson{}}.Smoothness(kernel.Simplex{})
	assert.ErrorContains(t, err, "no constant of relative smoothness is known for problem.Poisson with simplex entropy")
}
