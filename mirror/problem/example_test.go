package problem_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/mirror"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

// A mixture's shares from counts with Poisson noise. Burg's kernel keeps them
// positive, and the smoothness relative to it gives the step size.
func ExampleFit() {
	fit := problem.Fit{
		A:    [][]float64{{1, 0}, {1, 1}, {0, 2}},
		B:    []float64{2, 5, 6},
		Loss: problem.Poisson{},
	}
	burg := kernel.Each(kernel.Burg{})
	l, err := fit.Smoothness(burg)
	if err != nil {
		panic(err)
	}
	result, err := mirror.Minimize(context.Background(),
		mirror.Problem{Func: fit.Func, Grad: fit.Grad, Kernel: burg},
		[]float64{1, 1}, mirror.Settings{Iterations: 10_000, PointTol: 1e-10},
		mirror.Descent{StepSize: mirror.RelativeSmoothness{L: l}})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.3f\n", result.X)
	// Output: [2.000 3.000]
}
