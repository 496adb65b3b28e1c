// Command mirror trains a logistic regression over 16 nodes on a ring, none of
// which sees the others' data, and plots how far they are from the optimum of all
// data in one place. The nodes' data differ, so plain decentralised descent stops
// beside it; gradient tracking gets there with the same steps of one size. The
// kernel is Fermi-Dirac's, which keeps the coefficients in the box (−4, 4).
//
//	go run ./examples/mirror        # writes mirror.svg
//
// examples/mirror/tcp has the nodes in processes of their own.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"

	"github.com/stepwise-rl/stepwise/mirror"
	"github.com/stepwise-rl/stepwise/mirror/distributed"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

const nodes, examples, dimensions, rounds, stepSize = 16, 30, 6, 3000, 0.02

func main() {
	file := flag.String("svg", "mirror.svg", "file to write the plot to")
	flag.Parse()
	curves, err := run(context.Background(), os.Stdout)
	if err == nil {
		err = os.WriteFile(*file, plot(curves), 0o666)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mirror:", err)
		os.Exit(1)
	}
}

// run returns for each method the distance of the farthest node from the
// optimum, by round.
func run(ctx context.Context, out io.Writer) (curves []curve, err error) {
	p, all := data()
	start := make([]float64, dimensions)
	central, err := mirror.Minimize(ctx, mirror.Problem{Func: all.Func, Grad: all.Grad, Kernel: p.Kernel}, start,
		mirror.Settings{Iterations: 10000, PointTol: 1e-15}, mirror.Descent{StepSize: mirror.Backtracking{Initial: 1}})
	if err != nil {
		return nil, err
	}
	ring, err := distributed.Metropolis(distributed.Ring(nodes))
	if err != nil {
		return nil, err
	}
	for _, m := range []struct {
		name     string
		tracking bool
		net      distributed.Local
	}{
		{"decentralised descent", false, distributed.Local{}},
		{"gradient tracking", true, distributed.Local{}},
		{"tracking, 3 links in 10 down", true, distributed.Local{Seed: 1, LinkFailure: 0.3}},
		{"tracking, 1 message in 1000 lost", true, distributed.Local{Seed: 1, Drop: 0.001}},
	} {
		c := curve{name: m.name}
		r, err := distributed.Run(ctx, p, start, distributed.Settings{
			Mixing: ring, StepSize: stepSize, Tracking: m.tracking, Space: distributed.SpaceDual, Rounds: rounds,
			OnRound: func(_ int, list []distributed.Node) { c.y = append(c.y, distributed.Distance(list, central.X)) },
		}, &m.net)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "%-32s distance %.1e, consensus %.1e, %.1f Mbit sent, %s\n", m.name, c.y[rounds], distributed.Consensus(r.Nodes), float64(r.Bits)/1e6, c.rate())
		curves = append(curves, c)
	}
	return curves, nil
}

// data makes the problem of the nodes, each with examples of its own, and that
// of all examples together.
func data() (p distributed.Problem, all problem.Fit) {
	rng := rand.New(rand.NewPCG(1, 0))
	truth := []float64{1, -2, 0.5, 1.5, -1, 0.2}
	p.Kernel, all = kernel.Each(kernel.FermiDirac{Lower: -4, Upper: 4}), problem.Fit{Loss: problem.Logistic{}, Ridge: 0.1}
	for range nodes {
		part := problem.Fit{Loss: all.Loss, Ridge: all.Ridge}
		shift := rng.NormFloat64()
		for range examples {
			row, u := make([]float64, dimensions), rng.NormFloat64()
			for j := range row {
				row[j] = shift*truth[j]/2 + rng.NormFloat64()
				u += row[j] * truth[j]
			}
			part.A, part.B = append(part.A, row), append(part.B, math.Copysign(1, u))
		}
		p.Grads = append(p.Grads, part.Grad)
		all.A, all.B = append(all.A, part.A...), append(all.B, part.B...)
	}
	return p, all
}
