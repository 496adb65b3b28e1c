package problem

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

// Fit is the function f(x) = (1/m)·Σ φ(aᵢ·x, bᵢ) + Ridge/2·|x|² over m terms. Its
// other methods are for a Fit that is valid, see Validate, and for x of the rows'
// dimension.
type Fit struct {
	// A has the vectors aᵢ as rows, all of one dimension, and B the targets.
	A [][]float64
	B []float64
	// Loss is φ.
	Loss Loss
	// Ridge is at least 0.
	Ridge float64
}

// Loss is a differentiable function of the linear function's value u and a
// target b.
type Loss interface {
	// Value returns φ(u, b), and Slope its derivative in u.
	Value(u, b float64) float64
	Slope(u, b float64) float64
	// CheckTarget returns an error that says which targets are allowed.
	CheckTarget(b float64) error
}

// Validate returns an error that names the first row, target or setting that is
// invalid.
func (p Fit) Validate() error {
	switch {
	case len(p.A) == 0 || len(p.A[0]) == 0:
		return fmt.Errorf("problem: Fit.A is empty")
	case len(p.B) != len(p.A):
		return fmt.Errorf("problem: Fit has %d rows and %d targets, want as many of each", len(p.A), len(p.B))
	case p.Loss == nil:
		return fmt.Errorf("problem: Fit.Loss is missing")
	case !(p.Ridge >= 0) || math.IsInf(p.Ridge, 0):
		return fmt.Errorf("problem: Fit.Ridge is %v, want a finite number of at least 0", p.Ridge)
	}
	for i, row := range p.A {
		if len(row) != len(p.A[0]) {
			return fmt.Errorf("problem: row %d of Fit.A has %d numbers, want %d", i, len(row), len(p.A[0]))
		}
		for j, v := range row {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("problem: Fit.A[%d][%d] is %v", i, j, v)
			}
		}
		if err := p.Loss.CheckTarget(p.B[i]); err != nil {
			return fmt.Errorf("problem: Fit.B[%d]: %w", i, err)
		}
	}
	return nil
}

// Func returns f(x).
func (p Fit) Func(x []float64) float64 {
	sum := 0.0
	for i, row := range p.A {
		sum += p.Loss.Value(dot(row, x), p.B[i])
	}
	return sum/float64(len(p.A)) + p.Ridge/2*dot(x, x)
}

// Grad writes ∇f(x) to dst.
func (p Fit) Grad(dst, x []float64) {
	for j, v := range x {
		dst[j] = p.Ridge * v
	}
	for i, row := range p.A {
		s := p.Loss.Slope(dot(row, x), p.B[i]) / float64(len(p.A))
		to := dst[:len(row)]
		for j, v := range row {
			to[j] += s * v
		}
	}
}

// Term writes the gradient of term i to dst, φ(aᵢ·x, bᵢ) + Ridge/2·|x|²; the mean
// over the terms is ∇f.
func (p Fit) Term(dst, x []float64, i int) {
	s := p.Loss.Slope(dot(p.A[i], x), p.B[i])
	for j, v := range p.A[i] {
		dst[j] = s*v + p.Ridge*x[j]
	}
}

// Smoothness returns an L such that L·h − f is convex for the kernel h
// (relative smoothness), for the pairs where a formula is known:
//
//	Euclidean, a loss with φ″ ≤ c  L = c·mean |aᵢ|² + Ridge
//	Simplex, a loss with φ″ ≤ c    L = c·maxⱼ mean aᵢⱼ² + Ridge (Pinsker)
//	Burg, Poisson                  L = mean bᵢ (Bauschke, Bolte and Teboulle, Math.
//	                               Oper. Res. 2017, lemma 7), without Ridge
//	Polynomial(α, β), Magnitude    L = max((mean |bᵢ||aᵢ|² + Ridge)/α, 3·mean |aᵢ|⁴/β)
//	                               (after Bolte et al., SIAM J. Optim. 2018, lemma 5.1)
//
// Any other pair is an error: use mirror.Backtracking.
func (p Fit) Smoothness(h kernel.Kernel) (float64, error) {
	m := float64(len(p.A))
	var b, norm2, norm4, bNorm2 float64
	column := make([]float64, len(p.A[0]))
	for i, row := range p.A {
		n := dot(row, row)
		b += p.B[i] / m
		norm2 += n / m
		norm4 += n * n / m
		bNorm2 += math.Abs(p.B[i]) * n / m
		for j, v := range row {
			column[j] += v * v / m
		}
	}
	curvature, bounded := 0.0, true // φ″ is at most that
	switch p.Loss.(type) {
	case Square:
		curvature = 1
	case Logistic:
		curvature = 0.25
	default:
		bounded = false
	}
	switch k := h.(type) {
	case kernel.Simplex:
		if bounded {
			top := 0.0
			for _, v := range column {
				top = max(top, v)
			}
			return curvature*top + p.Ridge, nil
		}
	case *kernel.Separable:
		switch {
		case k.Dim() != 0:
		case k.At(0) == kernel.Scalar(kernel.Euclidean{}) && bounded:
			return curvature*norm2 + p.Ridge, nil
		case k.At(0) == kernel.Scalar(kernel.Burg{}) && p.Loss == Loss(Poisson{}) && p.Ridge == 0:
			return b, nil
		}
	case kernel.Polynomial:
		if p.Loss == Loss(Magnitude{}) && k.Quadratic > 0 && k.Quartic > 0 {
			return max((bNorm2+p.Ridge)/k.Quadratic, 3*norm4/k.Quartic), nil
		}
	}
	return 0, fmt.Errorf("problem: no constant of relative smoothness is known for %T with %v", p.Loss, h)
}

// Square is φ = (u−b)²/2.
type Square struct{}

// Value implements Loss.
func (Square) Value(u, b float64) float64 { return (u - b) * (u - b) / 2 }

// Slope implements Loss.
func (Square) Slope(u, b float64) float64 { return u - b }

// CheckTarget allows finite numbers.
func (Square) CheckTarget(b float64) error {
	if math.IsNaN(b) || math.IsInf(b, 0) {
		return fmt.Errorf("%v, want a finite number", b)
	}
	return nil
}

// Poisson is φ = u − b − b·log(u/b), the negative log-likelihood of b counts at
// rate u up to a constant. Rows and x must be such that u > 0.
type Poisson struct{}

// Value implements Loss.
func (Poisson) Value(u, b float64) float64 {
	if b == 0 {
		return u
	}
	return u - b - b*math.Log(u/b)
}

// Slope implements Loss.
func (Poisson) Slope(u, b float64) float64 { return 1 - b/u }

// CheckTarget allows finite numbers of at least 0.
func (Poisson) CheckTarget(b float64) error {
	if !(b >= 0) || math.IsInf(b, 0) {
		return fmt.Errorf("%v, want a finite number of at least 0", b)
	}
	return nil
}

// Magnitude is φ = (u²−b)²/4: b is a measured square. It is not convex.
type Magnitude struct{}

// Value implements Loss.
func (Magnitude) Value(u, b float64) float64 { return (u*u - b) * (u*u - b) / 4 }

// Slope implements Loss.
func (Magnitude) Slope(u, b float64) float64 { return (u*u - b) * u }

// CheckTarget allows finite numbers.
func (Magnitude) CheckTarget(b float64) error { return Square{}.CheckTarget(b) }

// Logistic is φ = log(1 + exp(−b·u)) for labels b of 1 and −1.
type Logistic struct{}

// Value implements Loss.
func (Logistic) Value(u, b float64) float64 {
	return max(0, -b*u) + math.Log1p(math.Exp(-math.Abs(u)))
}

// Slope implements Loss.
func (Logistic) Slope(u, b float64) float64 {
	if e := math.Exp(-math.Abs(u)); b*u > 0 {
		return -b * e / (1 + e)
	} else {
		return -b / (1 + e)
	}
}

// CheckTarget allows 1 and −1.
func (Logistic) CheckTarget(b float64) error {
	if math.Abs(b) != 1 {
		return fmt.Errorf("%v, want 1 or -1", b)
	}
	return nil
}

// dot adds in four sums, which the processor can do at once.
func dot(x, y []float64) float64 {
	y = y[:len(x)]
	var a, b, c, d float64
	for len(x) >= 4 {
		a += x[0] * y[0]
		b += x[1] * y[1]
		c += x[2] * y[2]
		d += x[3] * y[3]
		x, y = x[4:], y[4:]
	}
	for i, v := range x {
		a += v * y[i]
	}
	return a + b + (c + d)
}
