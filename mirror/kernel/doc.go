// Package kernel holds the distance-generating functions of mirror descent.
//
// A [Kernel] h is strictly convex and differentiable in the interior of its
// domain. Its gradient maps a point x to a dual point z = ∇h(x); the gradient of
// its convex conjugate maps back, x = ∇h*(z). Mirror descent steps in the dual:
//
//	z ← z − a·∇f(x),  x ← ∇h*(z)
//
// so with a kernel whose domain is the positive orthant, a box or the simplex, the
// constraint holds without a projection.
//
// # Kernels
//
// Of one variable; [Each] and [PerCoordinate] make a [Kernel] of many variables of
// them:
//
//	type         h(x)                        domain   ∇h(x)                    ∇h*(z)
//	Euclidean    x²/2                        ℝ        x                        z
//	Entropy      x·log x − x                 x > 0    log x                    exp z
//	FermiDirac   entropies of x−l and u−x    (l, u)   log((x−l)/(u−x))         l + (u−l)/(1+exp(−z))
//	Burg         −log x                      x > 0    −1/x                     −1/z, z < 0
//	Tsallis      (x^q − x)/(q−1), 0 < q < 1  x > 0    (q·x^(q−1) − 1)/(q−1)    ((1+(q−1)z)/q)^(1/(q−1)), (1−q)·z < 1
//	Hellinger    −√(1−x²)                    (−1, 1)  x/√(1−x²)                z/√(1+z²)
//	Exponential  exp x                       ℝ        exp x                    log z, z > 0
//	Cosh         cosh x                      ℝ        sinh x                   asinh z
//	LogCosh      log cosh x                  ℝ        tanh x                   atanh z, |z| < 1
//
// Of many variables:
//
//	Simplex      Σ xᵢ·log xᵢ on Σ xᵢ = 1     log x                    softmax z
//	Polynomial   a·|x|²/2 + b·|x|⁴/4         (a + b·|x|²)·x           z·r/|z|, a·r + b·r³ = |z|
//	PNorm        |x|ₚ²/2                     sign(xᵢ)|xᵢ|^(p−1)/|x|^(p−2)  the same with q, 1/p + 1/q = 1
//
// Burg, Tsallis, Exponential and LogCosh have a restricted dual range: not every z
// is a gradient. Kernel.Inverse then returns false, and mirror.Backtracking tries a
// shorter step.
//
// # Combinations
//
// [Sum], [Scale], [Concat] and [Affine] combine kernels. The inverse of a sum of
// separable kernels has no closed form; a safeguarded Newton method ([Invert])
// computes it for each coordinate to the last bits. A sum whose inverse cannot be
// computed is an error that names its parts.
//
// # How regular a kernel is
//
// [Probe] measures how much the Hessian changes, relative to itself, within a ball
// of a chosen metric.
//
// Examples are in example_test.go.
package kernel
