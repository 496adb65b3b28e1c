// Command mirror trains a logistic regression over 16 nodes, none of which sees
// the others' data, by mirror descent on a ring, and plots how far the nodes are
// from the optimum of all data in one place.
//
// Every node's examples are of another kind (its own shift of the inputs), so
// plain decentralised descent stops beside the optimum; gradient tracking, with
// the same steps of one size, reaches it. The kernel is Fermi-Dirac's, which
// keeps the coefficients in the box (−4, 4).
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

const nodes, examples, dimensions, rounds, step = 16, 30, 6, 3000, 0.02

var box = kernel.Each(kernel.FermiDirac{Lower: -4, Upper: 4})

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
func run(ctx context.Context, out io.Writer) ([]curve, error) {
	parts, all := data()
	start := make([]float64, dimensions)
	central, err := mirror.Minimize(ctx, mirror.Problem{Func: all.Func, Grad: all.Grad, Kernel: box}, start,
		mirror.Settings{Iterations: 10000, PointTol: 1e-15}, mirror.Descent{StepSize: mirror.Backtracking{Initial: 1}})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "all data in one place: %.3f after %d iterations\n", central.X, central.Iteration)

	weights, err := distributed.Metropolis(distributed.Ring(nodes))
	if err != nil {
		return nil, err
	}
	p := distributed.Problem{Kernel: box}
	for _, part := range parts {
		p.Grads = append(p.Grads, part.Grad)
	}
	var curves []curve
	for _, m := range []struct {
		name string
		net  distributed.Local
		distributed.Settings
	}{
		{"decentralised descent", distributed.Local{}, distributed.Settings{}},
		{"gradient tracking", distributed.Local{}, distributed.Settings{Tracking: true}},
		{"tracking, 3 links in 10 down", distributed.Local{Seed: 1, LinkFailure: 0.3}, distributed.Settings{Tracking: true}},
		{"tracking, 1 message in 1000 lost", distributed.Local{Seed: 1, Drop: 0.001}, distributed.Settings{Tracking: true}},
	} {
		c := curve{name: m.name}
		m.Mixing, m.StepSize, m.Space, m.Rounds = weights, step, distributed.SpaceDual, rounds
		m.OnRound = func(_ int, list []distributed.Node) { c.y = append(c.y, distributed.Distance(list, central.X)) }
		r, err := distributed.Run(ctx, p, start, m.Settings, &m.net)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "%-33s distance %.1e, consensus %.1e, %.1f Mbit sent\n", m.name, c.y[rounds], distributed.Consensus(r.Nodes), float64(r.Bits)/1e6)
		curves = append(curves, c)
	}
	return curves, nil
}

// data makes the examples of every node, and all together.
func data() (parts []problem.Fit, all problem.Fit) {
	rng := rand.New(rand.NewPCG(1, 0))
	truth := []float64{1, -2, 0.5, 1.5, -1, 0.2}
	all = problem.Fit{Loss: problem.Logistic{}, Ridge: 0.1}
	for range nodes {
		part := problem.Fit{Loss: all.Loss, Ridge: all.Ridge}
		shift := rng.NormFloat64()
		for range examples {
			row, u := make([]float64, dimensions), 0.0
			for j := range row {
				row[j] = shift*truth[j]/2 + rng.NormFloat64()
				u += row[j] * truth[j]
			}
			part.A = append(part.A, row)
			part.B = append(part.B, math.Copysign(1, u+rng.NormFloat64()))
		}
		parts = append(parts, part)
		all.A, all.B = append(all.A, part.A...), append(all.B, part.B...)
	}
	return parts, all
}
