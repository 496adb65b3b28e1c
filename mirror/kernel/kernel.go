package kernel

import (
	"fmt"
	"math"
	"slices"
)

// Kernel is a distance-generating function h of a vector. Methods change none of
// their arguments except dst, do not keep them, and are safe for concurrent use.
// Except in Hess, dst may be the argument itself.
type Kernel interface {
	// Validate returns an error that names the first invalid setting.
	Validate() error
	// Dim returns the only dimension in which the kernel is defined; 0 if it is
	// defined in all.
	Dim() int
	// Contains reports whether x is in the interior of the domain (for the
	// simplex: the relative interior), where h is differentiable.
	Contains(x []float64) bool
	// Value returns h(x), continued to the boundary of the domain.
	Value(x []float64) float64
	// Grad writes ∇h(x) to dst.
	Grad(dst, x []float64)
	// Inverse writes ∇h*(z), the point whose gradient is z, to dst. It returns
	// false if there is none, or none in the range of float64; dst is then
	// undefined. Components of a point may underflow to the boundary.
	Inverse(dst, z []float64) bool
	// Hess writes ∇²h(x)·v to dst, which must not be x.
	Hess(dst, x, v []float64)
	// Divergence returns the Bregman divergence D(x, y) = h(x) − h(y) − ⟨∇h(y),
	// x−y⟩, for x also on the boundary. Kernels of one variable compute it without
	// cancellation where there is a formula for that.
	Divergence(x, y []float64) float64
	// String returns the kernel's name, for errors.
	String() string
}

// Check returns an error if k is nil, invalid, or not defined at x: of another
// dimension, or outside the domain. The error says where.
func Check(k Kernel, x []float64) error {
	if k == nil {
		return fmt.Errorf("kernel: there is no kernel")
	}
	if err := k.Validate(); err != nil {
		return err
	}
	if d := k.Dim(); d != 0 && d != len(x) {
		return fmt.Errorf("kernel: a point of dimension %d, want the %d of %v", len(x), d, k)
	}
	if len(x) == 0 {
		return fmt.Errorf("kernel: a point of dimension 0")
	}
	if !k.Contains(x) {
		if s, ok := k.(*Separable); ok {
			for i, v := range x {
				if lo, hi := s.At(i).Domain(); !(lo < v && v < hi) {
					return fmt.Errorf("kernel: coordinate %d is %v, outside the domain (%v, %v) of %v", i, v, lo, hi, s.At(i))
				}
			}
		}
		return fmt.Errorf("kernel: the point is outside the domain of %v", k)
	}
	return nil
}

// divergence is D(x, y) by its definition, for kernels without a better formula.
// Its error is about that of h(x), which is large beside D if x is close to y.
func divergence(k Kernel, x, y []float64) float64 {
	g := make([]float64, len(y))
	k.Grad(g, y)
	d := k.Value(x) - k.Value(y)
	for i := range g {
		d -= g[i] * (x[i] - y[i])
	}
	return max(d, 0)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func allFinite(x []float64) bool {
	return !slices.ContainsFunc(x, func(v float64) bool { return !finite(v) })
}
