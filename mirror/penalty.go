package mirror

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

// Penalty is a convex function ψ, which may be the indicator function of a
// constraint, whose Bregman proximal step can be computed for some kernels.
type Penalty interface {
	// Check returns an error if a setting is invalid, or if the step cannot be
	// computed with the kernel in dimension d.
	Check(k kernel.Kernel, d int) error
	// Value returns ψ(x). For a constraint that is 0, even where x violates it.
	Value(x []float64) float64
	// Prox writes argmin a·ψ(x) + h(x) − ⟨z, x⟩ to x and changes z to its dual
	// point. It returns false, and both are undefined, if there is none.
	// Coordinates at a kink or a bound are there exactly.
	Prox(k kernel.Kernel, x, z []float64, a float64) bool
}

// L1 is ψ(x) = Weight·|x|₁. It works with separable kernels and with Polynomial,
// PNorm and Simplex, where the step is soft thresholding of z.
type L1 struct {
	// Weight is at least 0.
	Weight float64
}

// Check implements Penalty.
func (p L1) Check(k kernel.Kernel, d int) error {
	if !(p.Weight >= 0) || math.IsInf(p.Weight, 0) {
		return fmt.Errorf("mirror: L1.Weight is %v, want a finite number of at least 0", p.Weight)
	}
	switch k.(type) {
	case *kernel.Separable, kernel.Polynomial, kernel.PNorm, kernel.Simplex:
		return nil
	}
	return noProx("L1", k)
}

// Value implements Penalty.
func (p L1) Value(x []float64) (sum float64) {
	for _, v := range x {
		sum += math.Abs(v)
	}
	return p.Weight * sum
}

// Prox implements Penalty.
func (p L1) Prox(k kernel.Kernel, x, z []float64, a float64) bool {
	if _, ok := k.(kernel.Simplex); ok {
		return k.Inverse(x, z) // ψ is constant there
	}
	s, separable := k.(*kernel.Separable)
	t := a * p.Weight
	var zeros []int
	for i, v := range z {
		zero := 0.0 // the dual point of 0: ∇h is odd for the others
		if separable {
			switch lo, hi := s.At(i).Domain(); {
			case lo >= 0: // x > 0, where ψ is linear
				z[i] = v - t
				continue
			case hi <= 0:
				z[i] = v + t
				continue
			}
			zero = s.At(i).Deriv(0)
		}
		switch {
		case v > zero+t:
			z[i] = v - t
		case v < zero-t:
			z[i] = v + t
		default:
			z[i] = zero
			zeros = append(zeros, i)
		}
	}
	ok := k.Inverse(x, z)
	for _, i := range zeros {
		x[i] = 0
	}
	return ok
}

// Box is the constraint Lower ≤ x ≤ Upper. It works with separable kernels, where
// the step clamps z. Bounds outside the kernel's domain have no effect.
type Box struct {
	// Lower and Upper have one number for each coordinate; nil = no bounds.
	Lower, Upper []float64
}

// Check implements Penalty.
func (p Box) Check(k kernel.Kernel, d int) error {
	s, ok := k.(*kernel.Separable)
	if !ok {
		return noProx("Box", k)
	}
	for name, b := range map[string][]float64{"Lower": p.Lower, "Upper": p.Upper} {
		if b != nil && len(b) != d {
			return fmt.Errorf("mirror: Box.%s has %d numbers, want %d", name, len(b), d)
		}
	}
	for i := range d {
		lo, hi := p.bounds(i)
		l, u := s.At(i).Domain()
		if !(lo <= hi) || !(max(lo, l) < u) || !(l < min(hi, u)) {
			return fmt.Errorf("mirror: Box of coordinate %d is from %v to %v, want bounds in order that meet the domain (%v, %v) of %v", i, lo, hi, l, u, s.At(i))
		}
	}
	return nil
}

func (p Box) bounds(i int) (lo, hi float64) {
	lo, hi = math.Inf(-1), math.Inf(1)
	if p.Lower != nil {
		lo = p.Lower[i]
	}
	if p.Upper != nil {
		hi = p.Upper[i]
	}
	return lo, hi
}

// Value implements Penalty.
func (p Box) Value([]float64) float64 { return 0 }

// Prox implements Penalty.
func (p Box) Prox(k kernel.Kernel, x, z []float64, _ float64) bool {
	s := k.(*kernel.Separable)
	for i := range z {
		lo, hi := p.bounds(i)
		l, u := s.At(i).Domain()
		if lo > l {
			z[i] = max(z[i], s.At(i).Deriv(lo))
		}
		if hi < u {
			z[i] = min(z[i], s.At(i).Deriv(hi))
		}
		v, ok := s.At(i).Inverse(z[i])
		if !ok {
			return false
		}
		switch {
		case lo > l && z[i] == s.At(i).Deriv(lo):
			v = lo
		case hi < u && z[i] == s.At(i).Deriv(hi):
			v = hi
		}
		x[i] = v
	}
	return true
}

// Total is the constraint x ≥ 0, Σ xᵢ = Sum, a simplex. It works with separable
// kernels, where the step subtracts one number from all of z, found by a
// safeguarded Newton method. (With Entropy this is what the kernel Simplex does
// in closed form.)
type Total struct {
	// Sum is positive. The kernel must be defined at Sum/d in dimension d, and
	// in a neighbourhood of or just above 0.
	Sum float64
}

// Check implements Penalty.
func (p Total) Check(k kernel.Kernel, d int) error {
	s, ok := k.(*kernel.Separable)
	if !ok {
		return noProx("Total", k)
	}
	if err := checkPositive("Total.Sum", p.Sum); err != nil {
		return err
	}
	for i := range d {
		if lo, hi := s.At(i).Domain(); lo > 0 || !(p.Sum/float64(d) < hi) {
			return fmt.Errorf("mirror: Total.Sum is %v, but the domain of coordinate %d, (%v, %v) of %v, does not go from 0 to beyond %v", p.Sum, i, lo, hi, s.At(i), p.Sum/float64(d))
		}
	}
	return nil
}

// Value implements Penalty.
func (p Total) Value([]float64) float64 { return 0 }

// Prox implements Penalty.
func (p Total) Prox(k kernel.Kernel, x, z []float64, _ float64) bool {
	s := k.(*kernel.Separable)
	lo, hi := math.Inf(1), math.Inf(-1)
	for i, v := range z { // at lo all coordinates are at least the mean, at hi at most
		c := v - s.At(i).Deriv(p.Sum/float64(len(z)))
		lo, hi = min(lo, c), max(hi, c)
	}
	at := func(i int, shift float64) float64 {
		if z[i]-shift <= s.At(i).Deriv(0) {
			return 0
		}
		x, ok := s.At(i).Inverse(z[i] - shift)
		if !ok {
			return math.Inf(1)
		}
		return x
	}
	minusSum := func(shift float64) (sum float64) {
		for i := range z {
			sum -= at(i, shift)
		}
		return sum
	}
	slope := func(shift float64) (sum float64) {
		for i := range z {
			if x := at(i, shift); x > 0 && !math.IsInf(x, 0) {
				sum += 1 / s.At(i).Second(x)
			}
		}
		return sum
	}
	margin := 1e-3 * (1 + math.Abs(lo) + math.Abs(hi))
	shift, ok := kernel.Invert(minusSum, slope, lo-margin, hi+margin, -p.Sum)
	if !ok {
		return false
	}
	for i := range z {
		x[i] = at(i, shift)
		z[i] = max(z[i]-shift, s.At(i).Deriv(0))
	}
	return true
}

func noProx(name string, k kernel.Kernel) error {
	return fmt.Errorf("mirror: the proximal step of %s with %v is not known", name, k)
}
