package distributed_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/mirror"
	"github.com/stepwise-rl/stepwise/mirror/distributed"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

const nodes = 16

// instance is a problem over 16 nodes with data of different distributions.
type instance struct {
	name   string
	parts  []problem.Fit
	k      kernel.Kernel
	start  []float64
	step   float64
	rounds int // enough for 1e-8
}

// instances are the four problems: each node has 6 rows and a truth of its own.
func instances() []instance {
	make := func(name string, loss problem.Loss, k kernel.Kernel, truth, start []float64, step, spread float64, rounds int) instance {
		rng := rand.New(rand.NewPCG(7, 0))
		in := instance{name: name, k: k, start: start, step: step, rounds: rounds}
		for range nodes {
			p := problem.Fit{Loss: loss}
			own := append([]float64(nil), truth...)
			for j := range own {
				own[j] *= math.Exp(spread * rng.NormFloat64())
			}
			for range 6 {
				row, u := []float64{}, 0.0
				for j := range truth {
					v := rng.NormFloat64()
					if (loss == problem.Poisson{}) {
						v = math.Abs(v)
					}
					row = append(row, v)
					u += v * own[j]
				}
				b := u
				switch loss.(type) {
				case problem.Magnitude:
					b = u * u
				case problem.Logistic:
					b = 1
					if rng.Float64() > 1/(1+math.Exp(-u)) {
						b = -1
					}
					p.Ridge = 0.2
				}
				p.A, p.B = append(p.A, row), append(p.B, b)
			}
			in.parts = append(in.parts, p)
		}
		return in
	}
	box := kernel.Each(kernel.FermiDirac{Lower: -4, Upper: 4})
	return []instance{
		make("least squares, simplex", problem.Square{}, kernel.Simplex{}, []float64{.1, .3, .2, .25, .15}, []float64{.2, .2, .2, .2, .2}, .3, .3, 1500),
		make("Poisson, Burg", problem.Poisson{}, kernel.Each(kernel.Burg{}), []float64{1, 2, .5, 1.5, .8}, []float64{1, 1, 1, 1, 1}, .1, .05, 7000),
		make("quadratic, polynomial", problem.Magnitude{}, kernel.Polynomial{Quadratic: 1, Quartic: 1}, []float64{1, -1, .5, .7, -.6}, []float64{.9, -.9, .6, .6, -.5}, .005, .2, 5000),
		make("logistic, Fermi-Dirac", problem.Logistic{}, box, []float64{1, -2, .5, 1.5, -.8}, []float64{0, 0, 0, 0, 0}, .01, .3, 4000),
	}
}

func (in instance) problem() distributed.Problem {
	p := distributed.Problem{Kernel: in.k}
	for _, part := range in.parts {
		p.Grads = append(p.Grads, part.Grad)
	}
	return p
}

// whole is all data in one place.
func (in instance) whole() problem.Fit {
	all := problem.Fit{Loss: in.parts[0].Loss, Ridge: in.parts[0].Ridge}
	for _, p := range in.parts {
		all.A, all.B = append(all.A, p.A...), append(all.B, p.B...)
	}
	return all
}

// optimum is the minimum with all data in one place.
func (in instance) optimum(t testing.TB) []float64 {
	all := in.whole()
	require.NoError(t, all.Validate())
	r, err := mirror.Minimize(context.Background(), mirror.Problem{Func: all.Func, Grad: all.Grad, Kernel: in.k}, in.start,
		mirror.Settings{Iterations: 100000, PointTol: 1e-16}, mirror.Descent{StepSize: mirror.Fixed{Size: in.step}})
	require.NoError(t, err)
	require.Equal(t, mirror.StatusPoint, r.Status, "%s: %v iterations", in.name, r.Iteration)
	return r.X
}

func ring(t testing.TB) *distributed.Matrix {
	w, err := distributed.Metropolis(distributed.Ring(nodes))
	require.NoError(t, err)
	return w
}
