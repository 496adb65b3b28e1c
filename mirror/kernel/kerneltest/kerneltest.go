// Package kerneltest checks that a kernel.Kernel is what the methods of mirror
// descent take it for: a convex function with the derivatives, the inverse gradient
// and the divergence that it claims. Run it on kernels of your own:
//
//	func TestMyKernel(t *testing.T) {
//		kerneltest.Run(t, myKernel{}, func(r *rand.Rand) []float64 {
//			return []float64{r.Float64(), r.Float64()} // a point of its domain
//		})
//	}
//
// An example is in example_test.go.
package kerneltest

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

// Run tests k at 100 random triples of points, always the same. draw returns a new
// point in the interior of the domain, far enough from its boundary that differences
// of 1e-5 stay within it and derivatives are moderate; all points have one dimension.
func Run(t *testing.T, k kernel.Kernel, draw func(*rand.Rand) []float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		c := check{t, k}
		x, y, z := draw(r), draw(r), draw(r)
		for _, p := range [][]float64{x, y, z} {
			if err := kernel.Check(k, p); err != nil {
				t.Fatalf("at %v: %v", p, err)
			}
		}
		c.inverse(x)
		c.conjugate(x, y)
		c.convex(x, y, r.Float64())
		c.threePoints(x, y, z)
		c.differences(x, y)
		if t.Failed() {
			return
		}
	}
}

type check struct {
	t *testing.T
	k kernel.Kernel
}

// close fails the test unless got is within tolerance of want.
func (c check) close(what string, want, got, tolerance float64, at ...[]float64) {
	c.t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		c.t.Errorf("%v: %s is %v, want %v, at %v", c.k, what, got, want, at)
	}
}

func (c check) grad(x []float64) []float64 {
	g := make([]float64, len(x))
	c.k.Grad(g, x)
	return g
}

// inverse: ∇h* inverts ∇h to 1e-10, also in place, and changes no argument.
func (c check) inverse(x []float64) {
	c.t.Helper()
	z := c.grad(x)
	before, back := slices.Clone(z), make([]float64, len(x))
	if !c.k.Inverse(back, z) || !slices.Equal(before, z) {
		c.t.Errorf("%v: Inverse refuses or changes the gradient %v of %v", c.k, before, x)
		return
	}
	for i := range x {
		c.close("a coordinate of the inverse of the gradient", x[i], back[i], 1e-10*(1+maxAbs(x)), x)
	}
	if !c.k.Inverse(z, z) || !slices.Equal(back, z) {
		c.t.Errorf("%v: Inverse in place gives %v, want %v", c.k, z, back)
	}
	g := slices.Clone(x)
	if c.k.Grad(g, g); !slices.Equal(g, before) {
		c.t.Errorf("%v: Grad in place gives %v, want %v", c.k, g, before)
	}
}

// conjugate: ∇h*(z) attains the supremum in h*(z) = sup ⟨x, z⟩ − h(x), so no other
// point does better.
func (c check) conjugate(x, other []float64) {
	c.t.Helper()
	z, at := c.grad(x), make([]float64, len(x))
	if !c.k.Inverse(at, z) {
		return // inverse has said so
	}
	best, value := dot(at, z)-c.k.Value(at), dot(other, z)-c.k.Value(other)
	if value > best+1e-9*(1+math.Abs(best)) {
		c.t.Errorf("%v: ⟨x, z⟩ − h(x) is %v at %v and %v at Inverse(z) = %v", c.k, value, other, best, at)
	}
}

// convex: h is below its chords; divergences are at least 0, as defined, and add up
// to what monotone gradients say: D(x,y) + D(y,x) = ⟨∇h(x) − ∇h(y), x − y⟩.
func (c check) convex(x, y []float64, w float64) {
	c.t.Helper()
	mid := make([]float64, len(x))
	for i := range mid {
		mid[i] = w*x[i] + (1-w)*y[i]
	}
	hx, hy := c.k.Value(x), c.k.Value(y)
	scale := 1 + math.Abs(hx) + math.Abs(hy)
	if v := c.k.Value(mid); !(v <= w*hx+(1-w)*hy+1e-12*scale) {
		c.t.Errorf("%v: the value %v at %v is above the chord from %v to %v", c.k, v, mid, x, y)
	}
	d, back := c.k.Divergence(x, y), c.k.Divergence(y, x)
	if !(d >= 0) {
		c.t.Errorf("%v: the divergence of %v and %v is %v, want at least 0", c.k, x, y, d)
	}
	c.close("the divergence of a point and itself", 0, c.k.Divergence(x, x), 0, x)
	want := hx - hy - dot(c.grad(y), minus(x, y))
	c.close("the divergence", want, d, 1e-10*(scale+math.Abs(want)), x, y)
	inner := dot(minus(c.grad(x), c.grad(y)), minus(x, y))
	c.close("the sum of both divergences", inner, d+back, 1e-10*(scale+inner), x, y)
}

// threePoints: D(x,z) = D(x,y) + D(y,z) + ⟨∇h(y) − ∇h(z), x − y⟩ (Chen and Teboulle
// 1993).
func (c check) threePoints(x, y, z []float64) {
	c.t.Helper()
	xy, yz, xz := c.k.Divergence(x, y), c.k.Divergence(y, z), c.k.Divergence(x, z)
	want := xy + yz + dot(minus(c.grad(y), c.grad(z)), minus(x, y))
	c.close("the three-point identity", want, xz, 1e-10*(1+xz+xy+yz), x, y, z)
}

// differences: gradient and Hessian are central differences along the way to another
// point, and the Hessian is not negative there.
func (c check) differences(x, other []float64) {
	c.t.Helper()
	v := minus(other, x)
	if top := maxAbs(v); top > 0 {
		for i := range v {
			v[i] /= top
		}
	}
	const e = 1e-5
	plus, less := make([]float64, len(x)), make([]float64, len(x))
	for i := range x {
		plus[i], less[i] = x[i]+e*v[i], x[i]-e*v[i]
	}
	g, hv := c.grad(x), make([]float64, len(x))
	c.k.Hess(hv, x, v)
	c.close("the derivative", (c.k.Value(plus)-c.k.Value(less))/(2*e), dot(g, v), 1e-5*(1+maxAbs(g)), x, v)
	up, down := c.grad(plus), c.grad(less)
	for i := range hv {
		c.close("a coordinate of the Hessian's product", (up[i]-down[i])/(2*e), hv[i], 1e-4*(1+maxAbs(hv)), x, v)
	}
	if q := dot(v, hv); !(q >= 0) {
		c.t.Errorf("%v: the Hessian's quadratic form at %v along %v is %v, want at least 0", c.k, x, v, q)
	}
}

func dot(x, y []float64) (s float64) {
	for i := range x {
		s += x[i] * y[i]
	}
	return s
}

func minus(x, y []float64) []float64 {
	d := make([]float64, len(x))
	for i := range d {
		d[i] = x[i] - y[i]
	}
	return d
}

func maxAbs(x []float64) (m float64) {
	for _, v := range x {
		m = max(m, math.Abs(v))
	}
	return m
}
