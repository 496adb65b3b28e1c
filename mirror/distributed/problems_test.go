package distributed_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/mirror/distributed"
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
