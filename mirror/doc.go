// Package mirror minimises functions by mirror descent, which measures distances by
// Bregman divergences instead of squared norms.
//
// A [Problem] is a function with its gradient, the kernel that shapes the steps
// (package mirror/kernel), and optionally a [Penalty]. [Minimize] runs a [Method]
// on it from a starting point; [Settings] say when to stop:
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
// Step sizes are [Fixed], 1/L by [RelativeSmoothness], or found by [Backtracking].
// [Accelerated] is the accelerated form, which is faster for kernels with a
// triangle-scaling exponent above 1. [Stochastic] takes a step along one term of a
// sum at a time, in random order.
//
// To add a method, implement the two functions of [Method].
//
// # Iterates stay in the dual
//
// Methods keep z = ∇h(x) and never recompute it from x. A probability of 1e-400 is
// 0 as a float64, but its logarithm is an ordinary number, so an iterate can come
// back from there.
//
// # What is known about convergence
//
// If L·h − f is convex and f is convex, steps of 1/L give f(xₖ) − f(u) ≤ L·D(u,
// x₀)/k for every u of the domain (Bauschke, Bolte and Teboulle 2017; Lu, Freund
// and Nesterov 2018), and f never increases, even if it is not convex. The tests of
// this package check these bounds. Without relative smoothness nothing is
// guaranteed.
//
// Package mirror/distributed solves such problems on many nodes, each with a
// part of the data.
//
// Examples are in example_test.go. A program that uses it: examples/mirror, whose
// run finds an optimum with Minimize and compares distributed methods with it.
package mirror
