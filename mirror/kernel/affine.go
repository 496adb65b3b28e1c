package kernel

import (
	"fmt"
	"math"
)

// Affine is the kernel g(x) = h(A·x + b) for an invertible matrix A, in rows.
// Its gradient is Aᵀ∇h(A·x+b), and its inverse A⁻¹(∇h*(A⁻ᵀz) − b). A diagonal A
// keeps a separable kernel separable. It is an error if A is not square or is
// singular to rounding.
//
// Composed with Simplex the points are those whose image A·x + b is on the
// simplex.
func Affine(h Kernel, a [][]float64, b []float64) (Kernel, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	d := len(a)
	if d == 0 || len(b) != d || h.Dim() != 0 && h.Dim() != d {
		return nil, fmt.Errorf("kernel: an affine map of %d rows and %d shifts for %v", d, len(b), h)
	}
	k := &affine{h: h, a: make([][]float64, d), b: append([]float64(nil), b...)}
	for i, row := range a {
		if len(row) != d || !allFinite(row) || !finite(b[i]) {
			return nil, fmt.Errorf("kernel: row %d of an affine map is not of %d finite numbers with a finite shift", i, d)
		}
		k.a[i] = append([]float64(nil), row...)
	}
	var err error
	if k.inv, err = invertMatrix(k.a); err != nil {
		return nil, err
	}
	if s, ok := h.(*Separable); ok && diagonal(k.a) {
		scalars := make([]Scalar, d)
		for i := range scalars {
			scalars[i] = affineScalar{s.At(i), k.a[i][i], b[i]}
		}
		return PerCoordinate(scalars...), nil
	}
	return k, nil
}

func diagonal(a [][]float64) bool {
	for i, row := range a {
		for j, v := range row {
			if i != j && v != 0 {
				return false
			}
		}
	}
	return true
}

// affineScalar is h(a·x + b).
type affineScalar struct {
	h    Scalar
	a, b float64
}

func (h affineScalar) Validate() error { return nil } // Affine did
func (h affineScalar) String() string  { return fmt.Sprintf("%v of %v·x + %v", h.h, h.a, h.b) }
func (h affineScalar) Domain() (lo, hi float64) {
	lo, hi = h.h.Domain()
	lo, hi = (lo-h.b)/h.a, (hi-h.b)/h.a
	return min(lo, hi), max(lo, hi)
}
func (h affineScalar) Value(x float64) float64  { return h.h.Value(h.a*x + h.b) }
func (h affineScalar) Deriv(x float64) float64  { return h.a * h.h.Deriv(h.a*x+h.b) }
func (h affineScalar) Second(x float64) float64 { return h.a * h.a * h.h.Second(h.a*x+h.b) }
func (h affineScalar) Inverse(z float64) (float64, bool) {
	y, ok := h.h.Inverse(z / h.a)
	return (y - h.b) / h.a, ok
}
func (h affineScalar) Divergence(x, y float64) float64 {
	return h.h.Divergence(h.a*x+h.b, h.a*y+h.b)
}

type affine struct {
	h      Kernel
	a, inv [][]float64
	b      []float64
}

func (k *affine) Validate() error { return nil } // Affine did
func (k *affine) Dim() int        { return len(k.b) }
func (k *affine) String() string  { return fmt.Sprintf("%v of an affine map", k.h) }
func (k *affine) image(x []float64) []float64 {
	y := times(k.a, x)
	for i := range y {
		y[i] += k.b[i]
	}
	return y
}
func (k *affine) Contains(x []float64) bool { return k.h.Contains(k.image(x)) }
func (k *affine) Value(x []float64) float64 { return k.h.Value(k.image(x)) }
func (k *affine) Grad(dst, x []float64) {
	y := k.image(x)
	k.h.Grad(y, y)
	copy(dst, timesTransposed(k.a, y))
}
func (k *affine) Inverse(dst, z []float64) bool {
	y := timesTransposed(k.inv, z)
	if !k.h.Inverse(y, y) {
		return false
	}
	for i := range y {
		y[i] -= k.b[i]
	}
	copy(dst, times(k.inv, y))
	return true
}
func (k *affine) Hess(dst, x, v []float64) {
	y := make([]float64, len(x))
	k.h.Hess(y, k.image(x), times(k.a, v))
	copy(dst, timesTransposed(k.a, y))
}
func (k *affine) Divergence(x, y []float64) float64 {
	return k.h.Divergence(k.image(x), k.image(y))
}

func times(a [][]float64, x []float64) []float64 {
	y := make([]float64, len(a))
	for i, row := range a {
		y[i] = dot(row, x)
	}
	return y
}

func timesTransposed(a [][]float64, x []float64) []float64 {
	y := make([]float64, len(a[0]))
	for i, row := range a {
		for j, v := range row {
			y[j] += v * x[i]
		}
	}
	return y
}

// invertMatrix returns the inverse by Gauss-Jordan elimination with partial
// pivoting. A pivot below 1e-13 of the largest element counts as 0.
func invertMatrix(a [][]float64) ([][]float64, error) {
	d := len(a)
	m, inv, top := make([][]float64, d), make([][]float64, d), 0.0
	for i, row := range a {
		m[i], inv[i] = append([]float64(nil), row...), make([]float64, d)
		inv[i][i] = 1
		for _, v := range row {
			top = max(top, math.Abs(v))
		}
	}
	for c := range d {
		p := c
		for r := c + 1; r < d; r++ {
			if math.Abs(m[r][c]) > math.Abs(m[p][c]) {
				p = r
			}
		}
		if !(math.Abs(m[p][c]) > 1e-13*top) {
			return nil, fmt.Errorf("kernel: the matrix of an affine map is singular: pivot %d is %.3g", c, m[p][c])
		}
		m[c], m[p] = m[p], m[c]
		inv[c], inv[p] = inv[p], inv[c]
		f := 1 / m[c][c]
		multiply(m[c], f)
		multiply(inv[c], f)
		for r := range d {
			if f := m[r][c]; r != c && f != 0 {
				for j := range d {
					m[r][j] -= f * m[c][j]
					inv[r][j] -= f * inv[c][j]
				}
			}
		}
	}
	return inv, nil
}
