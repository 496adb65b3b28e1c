// Package mirror minimises functions by mirror descent, with Bregman divergences
// in the place of squared distances.
//
// A [Problem] is a function with its gradient, the kernel that shapes the steps
// (package mirror/kernel), and perhaps a [Penalty]. [Minimize] runs a [Method]
// on it from a start, under [Settings] that say when to stop:
//
//	fit := problem.Fit{A: a, B: b, Loss: problem.Square{}}
//	result, err := mirror.Minimize(ctx, mirror.Problem{
//		Func: fit.Func, Grad: fit.Grad, Kernel: kernel.Simplex{},
//	}, start, mirror.Settings{Iterations: 1000, PointTol: 1e-12},
//		mirror.Descent{StepSize: mirror.Backtracking{Initial: 1}})
//
// # Methods
//
// [Descent] is mirror descent, z ← z − a·∇f(x), x ← ∇h*(z). With a penalty ψ it is
// the Bregman proximal gradient method,
//
//	x ← argmin ⟨∇f(xₖ), x⟩ + ψ(x) + D(x, xₖ)/a
//
// Steps are [Fixed], 1/L by [RelativeSmoothness], or found by [Backtracking].
// [Accelerated] is its accelerated form, which is faster for kernels with a
// triangle-scaling exponent above 1. [Stochastic] steps along one term of a sum
// at a time, in a random order.
//
// A method of your own implements two functions; see [Method].
//
// # Iterates stay in the dual
//
// Methods keep z = ∇h(x) and never compute it from x again. A probability of
// 1e-400 is 0 as a float64, but its logarithm is still a number, and so the
// iterate can come back from there.
//
// # What is known about convergence
//
// If L·h − f is convex and f is convex, steps of 1/L give
// f(xₖ) − f(u) ≤ L·D(u, x₀)/k for every u of the domain (Bauschke, Bolte and
// Teboulle 2017; Lu, Freund and Nesterov 2018), and f never increases, also if
// it is not convex. This package's tests check these bounds. Without relative
// smoothness nothing is promised.
//
// Package mirror/distributed solves such problems on many nodes, each with a
// part of the data.
//
// Examples are in example_test.go. A program that uses it: examples/mirror.
package mirror
