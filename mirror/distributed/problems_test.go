package distributed_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/mirror/distributed"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

// rate fits log e = c + k·log ρ by least squares, to the rounds where e is
// between 1e-9 and 1e-2, and returns ρ.
func rate(e []float64) float64 {
	var n, sk, se, skk, ske float64
	for k, v := range e {
		if v < 1e-9 || v > 1e-2 {
			continue
		}
		x, y := float64(k), math.Log(v)
		n, sk, se, skk, ske = n+1, sk+x, se+y, skk+x*x, ske+x*y
	}
	return math.Exp((n*ske - sk*se) / (n*skk - sk*sk))
}

// With steps of one size over 16 nodes on a ring, tracking ends at the optimum of
// all data in one place, and plain descent beside it. The log is the table of
// docs/log.md.
func TestFourProblems(t *testing.T) {
	for _, in := range instances() {
		opt := in.optimum(t)
		for _, mix := range []distributed.Space{distributed.SpaceDual, distributed.SpacePrimal} {
			for _, tracking := range []bool{true, false} {
				var errors []float64
				s := distributed.Settings{
					Mixing: ring(t), StepSize: in.step, Tracking: tracking, Space: mix, Rounds: in.rounds,
					OnRound: func(_ int, n []distributed.Node) { errors = append(errors, distributed.Distance(n, opt)) },
				}
				r, err := distributed.Run(context.Background(), in.problem(), in.start, s, &distributed.Local{})
				require.NoError(t, err, in.name)
				last := errors[len(errors)-1]
				reached := -1
				for k, e := range errors {
					if e <= 1e-8 {
						reached = k
						break
					}
				}
				t.Logf("%-24s %-6v mixing, tracking %-5v: distance %.1e, consensus %.1e", in.name, mix, tracking, last, distributed.Consensus(r.Nodes))
				if tracking {
					t.Logf("%-24s 1e-8 after %d rounds, rate %.4f, %.1f Mbit sent until then", "", reached, rate(errors), float64(r.Bits)/1e6*float64(reached)/float64(in.rounds))
					assert.LessOrEqual(t, last, 1e-8, in.name)
				} else {
					assert.Greater(t, last, 5e-3, in.name)
					assert.Less(t, last, 5e-2, in.name)
				}
			}
		}
	}
}

// Eight nodes with least squares whose minimum is in the interior, on a ring and
// on the complete graph, for the three entropies: tracking agrees with the
// centralised minimum to rounding, and without it the nodes stay apart.
func TestEntropiesReachRounding(t *testing.T) {
	for _, c := range []struct {
		k        kernel.Kernel
		truth    []float64
		start    float64
		stepSize float64
		spread   float64
	}{
		{kernel.Each(kernel.Entropy{}), []float64{.8, 1.2, .5, 2, 1}, 1, .05, .3},
		{kernel.Each(kernel.FermiDirac{Upper: 1}), []float64{.3, .7, .5, .2, .9}, .5, .3, .1},
		{kernel.Simplex{}, []float64{.1, .3, .2, .25, .15}, .2, .3, .1},
	} {
		rng := rand.New(rand.NewPCG(1, 0))
		in := instance{name: c.k.String(), k: c.k, step: c.stepSize}
		for range c.truth {
			in.start = append(in.start, c.start)
		}
		for range 8 {
			p := problem.Fit{Loss: problem.Square{}}
			for range 6 {
				row, u := []float64{}, c.spread*rng.NormFloat64()
				for _, x := range c.truth {
					v := rng.NormFloat64()
					row, u = append(row, v), u+v*x
				}
				p.A, p.B = append(p.A, row), append(p.B, u)
			}
			in.parts = append(in.parts, p)
		}
		opt := in.optimum(t)
		for _, g := range []distributed.Graph{distributed.Ring(8), distributed.Complete(8)} {
			s := distributed.Settings{Mixing: metropolis(t, g), StepSize: c.stepSize, Space: distributed.SpaceDual, Rounds: 8000}
			plain := run(t, in, s, &distributed.Local{})
			s.Tracking = true
			r := run(t, in, s, &distributed.Local{})
			t.Logf("%-18s %d neighbours: distance %.1e, consensus %.1e; without tracking consensus %.1e", in.name, len(g.Neighbors(0)),
				distributed.Distance(r.Nodes, opt), distributed.Consensus(r.Nodes), distributed.Consensus(plain.Nodes))
			assert.LessOrEqual(t, distributed.Distance(r.Nodes, opt), 1e-13, in.name)
			assert.LessOrEqual(t, distributed.Consensus(r.Nodes), 1e-14, in.name)
			assert.Greater(t, distributed.Consensus(plain.Nodes), 4e-3, in.name)
		}
	}
}

// Combinations of kernels serve as well: a sum inverted by Newton's method,
// blocks, and an affine map end at the same optimum.
func TestCombinedKernels(t *testing.T) {
	in := instances()[1]
	opt := in.optimum(t)
	burg, entropy := kernel.Each(kernel.Burg{}), kernel.Each(kernel.Entropy{})
	sum, err := kernel.Sum(burg, entropy)
	require.NoError(t, err)
	blocks, err := kernel.Concat(kernel.Block{Kernel: burg, Dim: 2}, kernel.Block{Kernel: kernel.Polynomial{Quadratic: .4, Quartic: .4}, Dim: 3})
	require.NoError(t, err)
	lower := [][]float64{{1, 0, 0, 0, 0}, {-.1, 1, 0, 0, 0}, {0, -.1, 1, 0, 0}, {0, 0, -.1, 1, 0}, {0, 0, 0, -.1, 1}}
	affine, err := kernel.Affine(entropy, lower, make([]float64, 5))
	require.NoError(t, err)
	for _, c := range []struct {
		k        kernel.Kernel
		stepSize float64
	}{{sum, .3}, {blocks, .1}, {affine, .2}} {
		in.k = c.k
		s := distributed.Settings{Mixing: ring(t), StepSize: c.stepSize, Tracking: true, Space: distributed.SpaceDual, Rounds: 8000}
		r := run(t, in, s, &distributed.Local{})
		assert.LessOrEqual(t, distributed.Distance(r.Nodes, opt), 1e-8, c.k.String())
	}
}
