package kernel

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// Simplex is the negative entropy h(x) = Σ xᵢ·log xᵢ on the probability simplex.
// Dual points that differ by a constant stand for the same x, and Inverse is the
// softmax. Grad gives log x. Hess is that of the orthant and is meant for
// directions that sum to 0.
//
// Where all derivatives are equal but not 0, as at a minimum, each step adds a
// constant to z. Nothing takes it away, so after very many steps x loses as many
// digits as z has before the point.
type Simplex struct{}

// Validate implements [Kernel].
func (Simplex) Validate() error { return nil }

// Dim implements [Kernel].
func (Simplex) Dim() int { return 0 }

// String implements [Kernel].
func (Simplex) String() string { return "simplex entropy" }

// Contains allows for a sum that rounding made different from 1, up to 1e-9.
func (Simplex) Contains(x []float64) bool {
	sum := 0.0
	for _, v := range x {
		if !(v > 0) {
			return false
		}
		sum += v
	}
	return math.Abs(sum-1) <= 1e-9
}

// Value implements [Kernel].
func (Simplex) Value(x []float64) (sum float64) {
	for _, v := range x {
		if v != 0 {
			sum += v * math.Log(v)
		}
	}
	return sum
}

// Grad implements [Kernel].
func (Simplex) Grad(dst, x []float64) {
	for i, v := range x {
		dst[i] = math.Log(v)
	}
}

// Inverse implements [Kernel].
func (Simplex) Inverse(dst, z []float64) bool {
	top := math.Inf(-1)
	for _, v := range z {
		top = max(top, v)
	}
	if !finite(top) {
		return false
	}
	for i, v := range z {
		dst[i] = v - top
	}
	vecmath.Exp(dst, dst)
	sum := 0.0
	for _, v := range dst {
		sum += v
	}
	for i := range dst {
		dst[i] /= sum
	}
	return true
}

// Hess implements [Kernel].
func (Simplex) Hess(dst, x, v []float64) {
	for i := range x {
		dst[i] = v[i] / x[i]
	}
}

// Divergence is the Kullback-Leibler divergence of x from y.
func (Simplex) Divergence(x, y []float64) (sum float64) {
	for i := range x {
		sum += Entropy{}.Divergence(x[i], y[i])
	}
	return sum
}

// Polynomial is h(x) = Quadratic·|x|²/2 + Quartic·|x|⁴/4, the kernel of
// quadratic inverse problems (Bolte, Sabach, Teboulle and Vaisbourd, SIAM J.
// Optim. 2018, section 5).
type Polynomial struct{ Quadratic, Quartic float64 }

// Validate implements Kernel.
func (k Polynomial) Validate() error {
	if !(k.Quadratic >= 0 && k.Quartic >= 0 && k.Quadratic+k.Quartic > 0) || !finite(k.Quadratic+k.Quartic) {
		return fmt.Errorf("kernel: Polynomial has the coefficients %v and %v, want finite ones of at least 0, not both 0", k.Quadratic, k.Quartic)
	}
	return nil
}

// Dim implements [Kernel].
func (Polynomial) Dim() int { return 0 }

// String implements [Kernel].
func (k Polynomial) String() string { return fmt.Sprintf("polynomial(%v, %v)", k.Quadratic, k.Quartic) }

// Contains implements [Kernel].
func (Polynomial) Contains(x []float64) bool { return allFinite(x) }

// Value implements [Kernel].
func (k Polynomial) Value(x []float64) float64 {
	s := dot(x, x)
	return k.Quadratic*s/2 + k.Quartic*s*s/4
}

// Grad implements [Kernel].
func (k Polynomial) Grad(dst, x []float64) {
	c := k.Quadratic + k.Quartic*dot(x, x)
	for i, v := range x {
		dst[i] = c * v
	}
}

// Inverse is x = z·r/|z|, where r solves Quadratic·r + Quartic·r³ = |z|.
func (k Polynomial) Inverse(dst, z []float64) bool {
	n := math.Sqrt(dot(z, z))
	if !finite(n) {
		return false
	}
	scale := 0.0
	if n > 0 {
		deriv := func(r float64) float64 { return (k.Quadratic + k.Quartic*r*r) * r }
		second := func(r float64) float64 { return k.Quadratic + 3*k.Quartic*r*r }
		r, ok := Invert(deriv, second, 0, inf, n)
		if !ok {
			return false
		}
		scale = r / n
	}
	for i, v := range z {
		dst[i] = scale * v
	}
	return true
}

// Hess implements [Kernel].
func (k Polynomial) Hess(dst, x, v []float64) {
	c, xv := k.Quadratic+k.Quartic*dot(x, x), dot(x, v)
	for i := range x {
		dst[i] = c*v[i] + 2*k.Quartic*xv*x[i]
	}
}

// Divergence with e = x−y is Quadratic·|e|²/2 for the one term, and
// ((|x|²−|y|²)² + 2·|y|²·|e|²)/4 times Quartic for the other.
func (k Polynomial) Divergence(x, y []float64) float64 {
	var e2, diff, y2 float64
	for i := range x {
		e := x[i] - y[i]
		e2 += e * e
		diff += e * (x[i] + y[i])
		y2 += y[i] * y[i]
	}
	return k.Quadratic*e2/2 + k.Quartic*(diff*diff+2*y2*e2)/4
}

// PNorm is h(x) = |x|ₚ²/2. With P = 1 + 1/log d it behaves like an entropy on
// all of ℝᵈ (Gentile, Machine Learning 2003).
type PNorm struct {
	// P is above 1. Below 2 the Hessian is infinite where a coordinate is 0.
	P float64
}

// Validate implements Kernel.
func (k PNorm) Validate() error {
	if !(k.P > 1) || !finite(k.P) {
		return fmt.Errorf("kernel: PNorm.P is %v, want a finite number above 1", k.P)
	}
	return nil
}

// Dim implements [Kernel].
func (PNorm) Dim() int { return 0 }

// String implements [Kernel].
func (k PNorm) String() string { return fmt.Sprintf("p-norm(%v)", k.P) }

// Contains implements [Kernel].
func (PNorm) Contains(x []float64) bool { return allFinite(x) }

// Value implements [Kernel].
func (k PNorm) Value(x []float64) float64 {
	n := norm(x, k.P)
	return n * n / 2
}

// Grad implements [Kernel].
func (k PNorm) Grad(dst, x []float64) { dualMap(dst, x, k.P) }

// Inverse implements [Kernel].
func (k PNorm) Inverse(dst, z []float64) bool {
	dualMap(dst, z, k.P/(k.P-1))
	return allFinite(dst)
}

// Hess is |x|²⁻ᵖ·(p−1)·diag|xᵢ|ᵖ⁻² plus (2−p)·|x|⁻²·∇h·∇hᵀ, |x| the p-norm.
func (k PNorm) Hess(dst, x, v []float64) {
	n := norm(x, k.P)
	g := make([]float64, len(x))
	k.Grad(g, x)
	gv := dot(g, v)
	for i := range x {
		dst[i] = (k.P-1)*math.Pow(math.Abs(x[i])/n, k.P-2)*v[i] + (2-k.P)/(n*n)*gv*g[i]
	}
}

// Divergence implements [Kernel].
func (k PNorm) Divergence(x, y []float64) float64 { return divergence(k, x, y) }

// dualMap is the gradient of |x|ₚ²/2: sign(xᵢ)·|x|·(|xᵢ|/|x|)ᵖ⁻¹.
func dualMap(dst, x []float64, p float64) {
	n := norm(x, p)
	for i, v := range x {
		if v == 0 {
			dst[i] = 0
			continue
		}
		dst[i] = math.Copysign(n*math.Pow(math.Abs(v)/n, p-1), v)
	}
}

// norm is the p-norm, scaled by the largest coordinate against overflow.
func norm(x []float64, p float64) float64 {
	top := 0.0
	for _, v := range x {
		top = max(top, math.Abs(v))
	}
	if top == 0 || !finite(top) {
		return top
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Pow(math.Abs(v)/top, p)
	}
	return top * math.Pow(sum, 1/p)
}

func dot(x, y []float64) (sum float64) {
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}
