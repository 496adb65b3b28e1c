package mirror_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/mirror"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

// Least squares over the probability simplex. At the minimum all derivatives
// are equal.
func Example() {
	fit := problem.Fit{
		A: [][]float64{{1, 0, 1}, {0, 2, 0}, {1, 1, 0}}, B: []float64{.6, .5, .4},
		Loss: problem.Square{},
	}
	p := mirror.Problem{Func: fit.Func, Grad: fit.Grad, Kernel: kernel.Simplex{}}
	start := []float64{1. / 3, 1. / 3, 1. / 3}

	r, err := mirror.Minimize(context.Background(), p, start,
		mirror.Settings{Iterations: 1000, PointTol: 1e-10},
		mirror.Descent{StepSize: mirror.Backtracking{Initial: 1}})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.4f, f = %.6f, stopped by %v\n", r.X, r.F, r.Status)
	// Output:
	// [0.1200 0.2800 0.6000], f = 0.003000, stopped by point
}

// The same with another kernel, and the simplex as a penalty.
func Example_proximal() {
	fit := problem.Fit{
		A: [][]float64{{1, 0, 1}, {0, 2, 0}, {1, 1, 0}}, B: []float64{.6, .5, .4},
		Loss: problem.Square{},
	}
	k, err := kernel.Sum(kernel.Each(kernel.Burg{}), kernel.Each(kernel.Euclidean{}))
	if err != nil {
		panic(err)
	}
	p := mirror.Problem{Func: fit.Func, Grad: fit.Grad, Kernel: k, Penalty: mirror.Total{Sum: 1}}

	r, err := mirror.Minimize(context.Background(), p, []float64{1, 1, 1},
		mirror.Settings{Iterations: 1000, PointTol: 1e-10},
		mirror.Descent{StepSize: mirror.Backtracking{Initial: 1}})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.4f with %v\n", r.X, k)
	// Output:
	// [0.1200 0.2800 0.6000] with Burg + Euclidean
}
