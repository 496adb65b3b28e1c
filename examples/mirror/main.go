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
	"log"
	"math"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/stepwise-rl/stepwise/mirror"
	"github.com/stepwise-rl/stepwise/mirror/distributed"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

const nodes, examples, dimensions, rounds, stepSize = 16, 30, 6, 3000, 0.02

func main() {
	log.SetFlags(0)
	log.SetPrefix("mirror: ")
	file := flag.String("svg", "mirror.svg", "file to write the plot to")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	curves, err := run(context.Background(), os.Stdout)
	if err == nil {
		err = os.WriteFile(*file, plot(curves), 0o666)
	}
	if err != nil {
		log.Fatal(err)
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

// curve is a quantity by round.
type curve struct {
	name string
	y    []float64
}

// rate fits y = c·ρᵏ by least squares to log y, where y is from 1e-9 to 1e-2.
func (c curve) rate() string {
	var n, sk, sy, skk, sky float64
	for i, v := range c.y {
		if k, y := float64(i), math.Log(v); v > 1e-9 && v < 1e-2 {
			n, sk, sy, skk, sky = n+1, sk+k, sy+y, skk+k*k, sky+k*y
		}
	}
	if n == 0 {
		return "stalls"
	}
	return fmt.Sprintf("factor %.4f a round", math.Exp((n*sky-sk*sy)/(n*skk-sk*sk)))
}

// plot draws curves as SVG, on a logarithmic scale from 1e-16 to 10.
func plot(curves []curve) []byte {
	var b strings.Builder
	y := func(v float64) float64 { return 20 + 20*(1-math.Log10(min(max(v, 1e-16), 10))) }
	fmt.Fprint(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 420" font-family="sans-serif" font-size="12">`+"\n"+`<rect width="640" height="420" fill="white"/>`+"\n")
	for e := 0; e >= -16; e -= 4 {
		at := y(math.Pow(10, float64(e)))
		fmt.Fprintf(&b, `<path d="M60 %.0fH620" stroke="#ddd"/><text x="54" y="%.0f" text-anchor="end">1e%d</text>`+"\n", at, at+4, e)
	}
	for i, c := range curves {
		color := []string{"#c33", "#06c", "#084", "#a6a"}[i%4]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%d 4" points="`, color, 40/(1+i*i))
		for k := 0; k < len(c.y); k += 10 {
			fmt.Fprintf(&b, "%.1f,%.1f ", 60+560*float64(k)/float64(len(c.y)-1), y(c.y[k]))
		}
		fmt.Fprintf(&b, `"/>`+"\n"+`<text x="80" y="%d" fill="%s">%s: %s</text>`+"\n", 260+16*i, color, c.name, c.rate())
	}
	fmt.Fprintf(&b, `<text x="340" y="394" text-anchor="middle">largest distance of a node from the optimum of all data, over %d rounds</text></svg>`+"\n", len(curves[0].y)-1)
	return []byte(b.String())
}
