package distributed_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/mirror/distributed"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

// Four nodes on a ring, each with a distribution of its own. The one that is
// closest to all, by the mean Kullback-Leibler divergence from it, is their
// normalised geometric mean.
func Example() {
	wishes := [][]float64{{.7, .2, .1}, {.1, .8, .1}, {.2, .2, .6}, {.4, .3, .3}}
	p := distributed.Problem{Kernel: kernel.Simplex{}}
	for _, w := range wishes {
		p.Grads = append(p.Grads, func(dst, x []float64) { // of KL(x‖w), up to a constant
			k := kernel.Simplex{}
			target := make([]float64, len(x))
			k.Grad(dst, x)
			k.Grad(target, w)
			for i := range dst {
				dst[i] -= target[i]
			}
		})
	}
	ring, err := distributed.Metropolis(distributed.Ring(4))
	if err != nil {
		panic(err)
	}
	for _, tracking := range []bool{false, true} {
		r, err := distributed.Run(context.Background(), p, []float64{.4, .3, .3}, distributed.Settings{
			Mixing: ring, StepSize: .2, Tracking: tracking, Space: distributed.SpaceDual, Rounds: 200,
		}, &distributed.Local{})
		if err != nil {
			panic(err)
		}
		fmt.Printf("tracking %v: node 0 %.4f, node 2 %.4f\n", tracking, r.Nodes[0].X, r.Nodes[2].X)
	}
	// Output:
	// tracking false: node 0 [0.4137 0.3710 0.2153], node 2 [0.3079 0.3686 0.3235]
	// tracking true: node 0 [0.3452 0.3950 0.2599], node 2 [0.3452 0.3950 0.2599]
}

// What a graph costs in speed: the norm of the mixing matrix off the mean.
func ExampleMatrix_Lambda() {
	for _, g := range []distributed.Graph{distributed.Ring(16), distributed.Torus(4, 4), distributed.Complete(16)} {
		w, err := distributed.Metropolis(g)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%2d neighbours: %.3f\n", len(g.Neighbors(0)), w.Lambda())
	}
	fmt.Printf("exponential: %.3f\n", distributed.Exponential(16).Lambda())
	fmt.Printf("one peer, 4 rounds: %.3f\n", distributed.OnePeer(16).Lambda())
	// Output:
	//  2 neighbours: 0.949
	//  4 neighbours: 0.600
	// 15 neighbours: 0.000
	// exponential: 0.600
	// one peer, 4 rounds: 0.000
}
