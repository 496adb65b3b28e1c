package kernel

import (
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// Scalar is a strictly convex function of one variable, from which [Each] and
// [PerCoordinate] make kernels. Implement it for a custom kernel; [Invert] computes
// an Inverse that has no formula.
type Scalar interface {
	// Validate returns an error that names the first invalid setting.
	Validate() error
	// Domain returns the open interval where h is differentiable.
	Domain() (lo, hi float64)
	// Value returns h(x), continued to the finite ends of the domain.
	Value(x float64) float64
	// Deriv returns h'(x), at the ends of the domain its limit.
	Deriv(x float64) float64
	// Second returns h″(x).
	Second(x float64) float64
	// Inverse returns the x with h'(x) = z, and false if there is none.
	Inverse(z float64) (x float64, ok bool)
	// Divergence returns h(x) − h(y) − h'(y)·(x−y).
	Divergence(x, y float64) float64
	// String returns the function's name, for errors.
	String() string
}

// Separable is the kernel h(x) = Σ hᵢ(xᵢ).
type Separable struct {
	scalars []Scalar // one for all coordinates, or one for each
	each    bool
}

// Each is the kernel that sums h over the coordinates, in any dimension.
func Each(h Scalar) *Separable { return &Separable{[]Scalar{h}, true} }

// PerCoordinate is the kernel Σ hᵢ(xᵢ), whose dimension is the number of
// functions given.
func PerCoordinate(h ...Scalar) *Separable { return &Separable{slices.Clone(h), false} }

// At returns the function of coordinate i.
func (k *Separable) At(i int) Scalar {
	if k.each {
		return k.scalars[0]
	}
	return k.scalars[i]
}

// Validate implements Kernel.
func (k *Separable) Validate() error {
	if len(k.scalars) == 0 {
		return fmt.Errorf("kernel: PerCoordinate of no functions")
	}
	for i, h := range k.scalars {
		if h == nil {
			return fmt.Errorf("kernel: function %d is nil", i)
		}
		if err := h.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Dim implements Kernel.
func (k *Separable) Dim() int {
	if k.each {
		return 0
	}
	return len(k.scalars)
}

// String implements Kernel.
func (k *Separable) String() string {
	if k.each {
		return k.scalars[0].String()
	}
	first := k.scalars[0].String()
	for _, h := range k.scalars {
		if h.String() != first {
			return fmt.Sprintf("separable kernel (%s, …)", first)
		}
	}
	return first
}

// Contains implements Kernel.
func (k *Separable) Contains(x []float64) bool {
	for i, v := range x {
		if lo, hi := k.At(i).Domain(); !(lo < v && v < hi) {
			return false
		}
	}
	return true
}

// Value implements Kernel.
func (k *Separable) Value(x []float64) (sum float64) {
	for i, v := range x {
		sum += k.At(i).Value(v)
	}
	return sum
}

// Grad implements Kernel.
func (k *Separable) Grad(dst, x []float64) {
	for i, v := range x {
		dst[i] = k.At(i).Deriv(v)
	}
}

// Inverse implements Kernel.
func (k *Separable) Inverse(dst, z []float64) bool {
	if _, ok := k.scalars[0].(Entropy); ok && k.each {
		vecmath.Exp(dst, z)
		return allFinite(dst)
	}
	for i, v := range z {
		x, ok := k.At(i).Inverse(v)
		if !ok {
			return false
		}
		dst[i] = x
	}
	return true
}

// Hess implements Kernel.
func (k *Separable) Hess(dst, x, v []float64) {
	for i := range x {
		dst[i] = k.At(i).Second(x[i]) * v[i]
	}
}

// Divergence implements Kernel.
func (k *Separable) Divergence(x, y []float64) (sum float64) {
	for i := range x {
		sum += k.At(i).Divergence(x[i], y[i])
	}
	return sum
}

// Invert solves deriv(x) = z for an increasing deriv on the open interval
// (lo, hi), whose own derivative is second: Newton's method within a bracket,
// which is halved where Newton would leave it or does not halve its steps. It returns false if no float64 in
// the interval solves it to its last bits, that is if z is out of range.
func Invert(deriv, second func(float64) float64, lo, hi, z float64) (x float64, ok bool) {
	if !finite(z) || !(lo < hi) {
		return 0, false
	}
	a, b, ok := bracket(deriv, lo, hi, z)
	if !ok {
		return 0, false
	}
	x = a + (b-a)/2
	step, before := b-a, b-a // the last step and the one before it
	for range 200 {
		r, slope := deriv(x)-z, second(x)
		switch {
		case r == 0:
			return x, true
		case r < 0:
			a = x
		default:
			b = x
		}
		next := x - r/slope
		if !(a < next && next < b) || !(2*math.Abs(r) <= math.Abs(before*slope)) {
			next = a + (b-a)/2
		}
		before, step = step, next-x
		if next == a || next == b || math.Abs(step) <= 1e-16*math.Abs(x) {
			return next, true
		}
		x = next
	}
	return x, true
}

// bracket returns a < b in (lo, hi) with deriv(a) <= z <= deriv(b). From a
// point inside it goes towards the end that z lies at: doubling the distance to
// go if that end is infinite, halving the distance left if it is not.
func bracket(deriv func(float64) float64, lo, hi, z float64) (a, b float64, ok bool) {
	left, right := math.IsInf(lo, -1), math.IsInf(hi, 1)
	m := 0.0
	switch {
	case !left && !right:
		m = lo + (hi-lo)/2
	case !left:
		m = lo + max(1, math.Abs(lo))
	case !right:
		m = hi - max(1, math.Abs(hi))
	}
	up := deriv(m) < z
	end, infinite, step := lo, left, -1.0
	if up {
		end, infinite, step = hi, right, 1.0
	}
	prev := m
	for range 2200 {
		var next float64
		if infinite {
			next = m + step
			step *= 2
		} else {
			next = prev + (end-prev)/2
		}
		if math.IsInf(next, 0) || next == end || next == prev {
			return 0, 0, false
		}
		switch d := deriv(next); {
		case up && d >= z:
			return prev, next, true
		case !up && d <= z:
			return next, prev, true
		case math.IsNaN(d):
			return 0, 0, false
		}
		prev = next
	}
	return 0, 0, false
}
