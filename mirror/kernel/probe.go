package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// Metric says how [Probe] measures the distance of a point from a centre x.
type Metric uint8

const (
	// MetricPrimal is |y − x|, the Euclidean distance.
	MetricPrimal Metric = iota + 1
	// MetricDual is |∇h(y) − ∇h(x)|.
	MetricDual
	// MetricLocal is the norm that the Hessian at x defines,
	// √⟨y−x, ∇²h(x)·(y−x)⟩, as for self-concordant functions.
	MetricLocal
)

var metricNames = []string{MetricPrimal: "primal", MetricDual: "dual", MetricLocal: "local"}

// String returns "primal", "dual" or "local".
func (m Metric) String() string { return settings.EnumString(metricNames, m) }

// Probe measures numerically how much a kernel's Hessian changes, relative to
// itself, within a ball: the modulus
//
//	ω(r) = sup { |log λ| : λ eigenvalue of ∇²h(x)⁻¹∇²h(y), y within r of x }
//
// over the centres x given and the directions drawn. ω = 0.1 says that no
// curvature changes by more than a factor of about 1.1. For small r and a
// function of one variable ω(r)/r tends to a constant that is known for many:
//
//	metric  ω(r)/r → sup of      bounded for
//	primal  |h‴|/h″              exponential, cosh, log-cosh
//	local   |h‴|/(h″)^(3/2)      Burg (self-concordance), cosh
//	dual    |h‴|/(h″)²           entropy, Fermi-Dirac, Hellinger, cosh
//
// This measure is specific to this package. It is neither a proof nor the condition
// of any paper: as a supremum over samples it is at most the true value.
type Probe struct {
	Metric Metric
	// Radius of the ball, r > 0.
	Radius float64
	// Directions is how many random directions to try at each centre, each
	// both ways, beside the coordinate directions.
	Directions int
	// Seed determines them.
	Seed uint64
}

// Modulus is what Probe found.
type Modulus struct {
	// LogRatio is ω (0 if no point could be evaluated), and PerRadius is ω/r.
	LogRatio, PerRadius float64
	// Center and Point are the x and y at which it was found.
	Center, Point []float64
	// Evaluated counts the points that were evaluated. Outside counts those skipped
	// because they are outside the domain or the dual range, or because the Hessian
	// is not positive and finite there or at the centre.
	Evaluated, Outside int
}

// Validate returns an error that names the first invalid setting.
func (p Probe) Validate() error {
	if err := settings.CheckEnum("kernel: Probe.Metric", metricNames, p.Metric); err != nil {
		return err
	}
	switch {
	case !(p.Radius > 0) || !finite(p.Radius):
		return fmt.Errorf("kernel: Probe.Radius is %v, want a finite positive number", p.Radius)
	case p.Directions < 0:
		return fmt.Errorf("kernel: Probe.Directions is %d, want at least 0", p.Directions)
	}
	return nil
}

// Measure returns the modulus of h over balls around the centres.
func (p Probe) Measure(h Kernel, centers ...[]float64) (m Modulus, err error) {
	if err := p.Validate(); err != nil {
		return m, err
	}
	rng := rand.New(rand.NewPCG(p.Seed, 0))
	for i, x := range centers {
		if err := Check(h, x); err != nil {
			return m, fmt.Errorf("%w (centre %d)", err, i)
		}
		basis := tangent(h, len(x))
		d := len(basis)
		l, ok := cholesky(hessian(h, x, basis))
		for n := range d + p.Directions {
			c := make([]float64, d) // the direction, in the basis
			if n < d {
				c[n] = 1
			} else {
				for j := range c {
					c[j] = rng.NormFloat64()
				}
			}
			u := timesTransposed(basis, c)
			for _, sign := range [2]float64{1, -1} {
				y, inside := p.point(h, x, u, sign)
				if !ok || !inside {
					m.Outside++
					continue
				}
				ratio, ok := logRatio(l, hessian(h, y, basis))
				if !ok {
					m.Outside++
					continue
				}
				m.Evaluated++
				if ratio > m.LogRatio || m.Center == nil {
					m.LogRatio, m.Center, m.Point = ratio, x, y
				}
			}
		}
	}
	m.PerRadius = m.LogRatio / p.Radius
	return m, nil
}

// point returns the point at distance Radius from x in direction ±u.
func (p Probe) point(h Kernel, x, u []float64, sign float64) (y []float64, ok bool) {
	y = make([]float64, len(x))
	length := math.Sqrt(dot(u, u))
	if p.Metric == MetricLocal {
		h.Hess(y, x, u)
		length = math.Sqrt(dot(y, u))
	}
	step := sign * p.Radius / length
	if !finite(step) {
		return y, false
	}
	if p.Metric == MetricDual {
		h.Grad(y, x)
	} else {
		copy(y, x)
	}
	for i := range y {
		y[i] += step * u[i]
	}
	if p.Metric == MetricDual && !h.Inverse(y, y) {
		return y, false
	}
	return y, h.Contains(y)
}

// tangent returns an orthonormal basis, in rows, of the directions in which the
// domain of h extends.
func tangent(h Kernel, d int) (basis [][]float64) {
	unit := func(i int) []float64 {
		e := make([]float64, d)
		e[i] = 1
		return e
	}
	switch h := h.(type) {
	case Simplex:
		for i := 1; i < d; i++ { // Helmert's contrasts
			e := make([]float64, d)
			f := 1 / math.Sqrt(float64(i)*float64(i+1))
			for j := range i {
				e[j] = f
			}
			e[i] = -float64(i) * f
			basis = append(basis, e)
		}
		return basis
	case scaled:
		return tangent(h.Kernel, d)
	case *concat:
		at := 0
		for _, b := range h.blocks {
			for _, row := range tangent(b.Kernel, b.Dim) {
				e := make([]float64, d)
				copy(e[at:], row)
				basis = append(basis, e)
			}
			at += b.Dim
		}
		return basis
	case *affine:
		for _, row := range tangent(h.h, d) { // pulled back, then orthonormalised
			e := times(h.inv, row)
			for _, q := range basis {
				f := dot(q, e)
				for j := range e {
					e[j] -= f * q[j]
				}
			}
			multiply(e, 1/math.Sqrt(dot(e, e)))
			basis = append(basis, e)
		}
		return basis
	}
	for i := range d {
		basis = append(basis, unit(i))
	}
	return basis
}

// hessian returns the matrix of ∇²h(x) in the basis.
func hessian(h Kernel, x []float64, basis [][]float64) [][]float64 {
	m := make([][]float64, len(basis))
	hv := make([]float64, len(x))
	for i, u := range basis {
		h.Hess(hv, x, u)
		m[i] = times(basis, hv)
	}
	return m
}
