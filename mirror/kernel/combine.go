package kernel

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Scale is the kernel c·h, c > 0. Its dual points are c times those of h.
func Scale(c float64, h Kernel) (Kernel, error) {
	if !(c > 0) || !finite(c) {
		return nil, fmt.Errorf("kernel: a kernel scaled by %v, want a finite positive number", c)
	}
	if err := h.Validate(); err != nil {
		return nil, err
	}
	switch h := h.(type) {
	case *Separable:
		out := &Separable{each: h.each}
		for _, s := range h.scalars {
			out.scalars = append(out.scalars, scaledScalar{c, s})
		}
		return out, nil
	case Polynomial:
		return Polynomial{c * h.Quadratic, c * h.Quartic}, nil
	case scaled:
		return scaled{c * h.c, h.Kernel}, nil
	}
	return scaled{c, h}, nil
}

// Sum is the kernel h₁ + h₂ + … on the intersection of the domains. It exists
// for kernels whose sum has an inverse that can be computed:
//
//   - separable ones, whose coordinates are inverted by [Invert];
//   - polynomials, with multiples of Euclidean among them;
//   - concatenations into the same blocks, block by block;
//   - multiples of one and the same kernel.
//
// Any other sum is an error that names the parts.
func Sum(h ...Kernel) (Kernel, error) {
	if len(h) == 0 {
		return nil, errors.New("kernel: a sum of no kernels")
	}
	for _, k := range h {
		if err := k.Validate(); err != nil {
			return nil, err
		}
	}
	if len(h) == 1 {
		return h[0], nil
	}
	for _, try := range []func([]Kernel) (Kernel, error){sumSeparable, sumPolynomials, sumConcats, sumMultiples} {
		if k, err := try(h); k != nil || err != nil {
			return k, err
		}
	}
	names := make([]string, len(h))
	for i, k := range h {
		names[i] = k.String()
	}
	return nil, fmt.Errorf("kernel: the sum of %s has no inverse that can be computed", strings.Join(names, " and "))
}

func sumSeparable(h []Kernel) (Kernel, error) {
	dim := 0
	for _, k := range h {
		s, ok := k.(*Separable)
		if !ok {
			return nil, nil
		}
		if d := s.Dim(); d != 0 {
			if dim != 0 && d != dim {
				return nil, fmt.Errorf("kernel: a sum of kernels of dimensions %d and %d", dim, d)
			}
			dim = d
		}
	}
	out := &Separable{each: dim == 0}
	for i := range max(dim, 1) {
		var parts sumScalar
		for _, k := range h {
			parts = append(parts, k.(*Separable).At(i))
		}
		if lo, hi := parts.Domain(); !(lo < hi) {
			return nil, fmt.Errorf("kernel: the domains of the sum of %v do not meet", parts)
		}
		out.scalars = append(out.scalars, &parts)
	}
	return out, nil
}

func sumPolynomials(h []Kernel) (Kernel, error) {
	var sum Polynomial
	for _, k := range h {
		if s, ok := k.(*Separable); ok && s.each {
			c, f := unscale(s.scalars[0])
			if f != (Euclidean{}) {
				return nil, nil
			}
			sum.Quadratic += c
			continue
		}
		p, ok := k.(Polynomial)
		if !ok {
			return nil, nil
		}
		sum.Quadratic += p.Quadratic
		sum.Quartic += p.Quartic
	}
	return sum, nil
}

// unscale splits c·h into c and h.
func unscale(s Scalar) (float64, Scalar) {
	c := 1.0
	for {
		t, ok := s.(scaledScalar)
		if !ok {
			return c, s
		}
		c, s = c*t.c, t.Scalar
	}
}

func sumConcats(h []Kernel) (Kernel, error) {
	first, ok := h[0].(*concat)
	if !ok {
		return nil, nil
	}
	blocks := make([]Block, len(first.blocks))
	for b := range blocks {
		var parts []Kernel
		for _, k := range h {
			c, ok := k.(*concat)
			if !ok || len(c.blocks) != len(blocks) || c.blocks[b].Dim != first.blocks[b].Dim {
				return nil, nil
			}
			parts = append(parts, c.blocks[b].Kernel)
		}
		sum, err := Sum(parts...)
		if err != nil {
			return nil, fmt.Errorf("%w (block %d)", err, b)
		}
		blocks[b] = Block{sum, first.blocks[b].Dim}
	}
	return Concat(blocks...)
}

func sumMultiples(h []Kernel) (Kernel, error) {
	total, base := 0.0, Kernel(nil)
	for _, k := range h {
		c := 1.0
		if s, ok := k.(scaled); ok {
			c, k = s.c, s.Kernel
		}
		switch k.(type) {
		case Simplex, PNorm:
		default:
			return nil, nil
		}
		if base != nil && k != base {
			return nil, nil
		}
		total, base = total+c, k
	}
	return Scale(total, base)
}

// Block is a kernel on Dim successive coordinates.
type Block struct {
	Kernel Kernel
	Dim    int
}

// Concat is the kernel h₁(x₁) + h₂(x₂) + … of a vector (x₁, x₂, …) in blocks.
func Concat(blocks ...Block) (Kernel, error) {
	if len(blocks) == 0 {
		return nil, errors.New("kernel: a concatenation of no blocks")
	}
	var scalars []Scalar
	separable := true
	for i, b := range blocks {
		switch {
		case b.Kernel == nil:
			return nil, fmt.Errorf("kernel: block %d has no kernel", i)
		case b.Dim <= 0 || b.Kernel.Dim() != 0 && b.Kernel.Dim() != b.Dim:
			return nil, fmt.Errorf("kernel: block %d has dimension %d, which %v does not have", i, b.Dim, b.Kernel)
		}
		if err := b.Kernel.Validate(); err != nil {
			return nil, fmt.Errorf("%w (block %d)", err, i)
		}
		s, ok := b.Kernel.(*Separable)
		separable = separable && ok
		for j := 0; ok && j < b.Dim; j++ {
			scalars = append(scalars, s.At(j))
		}
	}
	if separable {
		return PerCoordinate(scalars...), nil
	}
	return &concat{append([]Block(nil), blocks...)}, nil
}

// scaled is c·h for kernels that do not absorb c.
type scaled struct {
	c float64
	Kernel
}

func (k scaled) String() string            { return fmt.Sprintf("%v·%v", k.c, k.Kernel) }
func (k scaled) Value(x []float64) float64 { return k.c * k.Kernel.Value(x) }
func (k scaled) Grad(dst, x []float64) {
	k.Kernel.Grad(dst, x)
	multiply(dst, k.c)
}
func (k scaled) Inverse(dst, z []float64) bool {
	copy(dst, z)
	multiply(dst, 1/k.c)
	return k.Kernel.Inverse(dst, dst)
}
func (k scaled) Hess(dst, x, v []float64) {
	k.Kernel.Hess(dst, x, v)
	multiply(dst, k.c)
}
func (k scaled) Divergence(x, y []float64) float64 { return k.c * k.Kernel.Divergence(x, y) }

func multiply(x []float64, c float64) {
	for i := range x {
		x[i] *= c
	}
}

// concat is a concatenation with a block that is not separable.
type concat struct{ blocks []Block }

func (k *concat) Validate() error { return nil } // Concat did
func (k *concat) Dim() (sum int) {
	for _, b := range k.blocks {
		sum += b.Dim
	}
	return sum
}
func (k *concat) String() string {
	names := make([]string, len(k.blocks))
	for i, b := range k.blocks {
		names[i] = b.Kernel.String()
	}
	return "(" + strings.Join(names, ", ") + ")"
}
func (k *concat) Contains(x []float64) bool {
	at := 0
	for _, b := range k.blocks {
		if !b.Kernel.Contains(x[at : at+b.Dim]) {
			return false
		}
		at += b.Dim
	}
	return true
}
func (k *concat) Value(x []float64) (sum float64) {
	at := 0
	for _, b := range k.blocks {
		sum += b.Kernel.Value(x[at : at+b.Dim])
		at += b.Dim
	}
	return sum
}
func (k *concat) Grad(dst, x []float64) {
	at := 0
	for _, b := range k.blocks {
		b.Kernel.Grad(dst[at:at+b.Dim], x[at:at+b.Dim])
		at += b.Dim
	}
}
func (k *concat) Inverse(dst, z []float64) bool {
	at := 0
	for _, b := range k.blocks {
		if !b.Kernel.Inverse(dst[at:at+b.Dim], z[at:at+b.Dim]) {
			return false
		}
		at += b.Dim
	}
	return true
}
func (k *concat) Hess(dst, x, v []float64) {
	at := 0
	for _, b := range k.blocks {
		b.Kernel.Hess(dst[at:at+b.Dim], x[at:at+b.Dim], v[at:at+b.Dim])
		at += b.Dim
	}
}
func (k *concat) Divergence(x, y []float64) (sum float64) {
	at := 0
	for _, b := range k.blocks {
		sum += b.Kernel.Divergence(x[at:at+b.Dim], y[at:at+b.Dim])
		at += b.Dim
	}
	return sum
}

// scaledScalar is c·h.
type scaledScalar struct {
	c float64
	Scalar
}

func (h scaledScalar) String() string           { return fmt.Sprintf("%v·%v", h.c, h.Scalar) }
func (h scaledScalar) Value(x float64) float64  { return h.c * h.Scalar.Value(x) }
func (h scaledScalar) Deriv(x float64) float64  { return h.c * h.Scalar.Deriv(x) }
func (h scaledScalar) Second(x float64) float64 { return h.c * h.Scalar.Second(x) }
func (h scaledScalar) Inverse(z float64) (float64, bool) {
	return h.Scalar.Inverse(z / h.c)
}
func (h scaledScalar) Divergence(x, y float64) float64 { return h.c * h.Scalar.Divergence(x, y) }

// sumScalar is h₁ + h₂ + …; a pointer to it is a comparable Scalar.
type sumScalar []Scalar

func (h sumScalar) Validate() error { return nil } // Sum did
func (h sumScalar) String() string {
	names := make([]string, len(h))
	for i, s := range h {
		names[i] = s.String()
	}
	return strings.Join(names, " + ")
}
func (h sumScalar) Domain() (lo, hi float64) {
	lo, hi = math.Inf(-1), math.Inf(1)
	for _, s := range h {
		l, u := s.Domain()
		lo, hi = max(lo, l), min(hi, u)
	}
	return lo, hi
}
func (h sumScalar) Value(x float64) (sum float64) {
	for _, s := range h {
		sum += s.Value(x)
	}
	return sum
}
func (h sumScalar) Deriv(x float64) (sum float64) {
	for _, s := range h {
		sum += s.Deriv(x)
	}
	return sum
}
func (h sumScalar) Second(x float64) (sum float64) {
	for _, s := range h {
		sum += s.Second(x)
	}
	return sum
}
func (h sumScalar) Inverse(z float64) (float64, bool) {
	lo, hi := h.Domain()
	return Invert(h.Deriv, h.Second, lo, hi, z)
}
func (h sumScalar) Divergence(x, y float64) (sum float64) {
	for _, s := range h {
		sum += s.Divergence(x, y)
	}
	return sum
}
