package kernel

import "math"

// cholesky returns the lower triangular L with L·Lᵀ = a; false if a is not
// positive definite and finite.
func cholesky(a [][]float64) (l [][]float64, ok bool) {
	l = make([][]float64, len(a))
	for i := range a {
		l[i] = make([]float64, len(a))
		for j := range i + 1 {
			s := a[i][j]
			for k := range j {
				s -= l[i][k] * l[j][k]
			}
			if i != j {
				l[i][j] = s / l[j][j]
			} else if s > 0 && finite(s) {
				l[i][i] = math.Sqrt(s)
			} else {
				return nil, false
			}
		}
	}
	return l, true
}

// logRatio returns the largest |log λ| over the eigenvalues λ of a⁻¹b, where
// a = L·Lᵀ; false if b is not positive definite and finite.
func logRatio(l, b [][]float64) (float64, bool) {
	d := len(l)
	m := make([][]float64, d) // L⁻¹·b·L⁻ᵀ, by two forward substitutions
	for i := range m {
		m[i] = append([]float64(nil), b[i]...)
		forward(l, m[i])
	}
	for i := range d {
		for j := range i {
			m[i][j], m[j][i] = m[j][i], m[i][j]
		}
	}
	for i := range m {
		forward(l, m[i])
	}
	top := 0.0
	for _, v := range eigenvalues(m) {
		if !(v > 0) || !finite(v) {
			return 0, false
		}
		top = max(top, math.Abs(math.Log(v)))
	}
	return top, true
}

// forward solves L·y = x in place.
func forward(l [][]float64, x []float64) {
	for i := range x {
		for j := range i {
			x[i] -= l[i][j] * x[j]
		}
		x[i] /= l[i][i]
	}
}

// eigenvalues returns those of a symmetric matrix, which it overwrites, by
// cyclic Jacobi rotations.
func eigenvalues(a [][]float64) []float64 {
	d := len(a)
	for range 60 {
		off, diag := 0.0, 0.0
		for i := range d {
			diag += a[i][i] * a[i][i]
			for j := range i {
				off += a[i][j] * a[i][j]
			}
		}
		if !(off > 1e-32*diag) {
			break
		}
		for i := range d {
			for j := i + 1; j < d; j++ {
				rotate(a, i, j)
			}
		}
	}
	values := make([]float64, d)
	for i := range values {
		values[i] = a[i][i]
	}
	return values
}

// rotate makes a[i][j] zero.
func rotate(a [][]float64, i, j int) {
	if a[i][j] == 0 {
		return
	}
	theta := (a[j][j] - a[i][i]) / (2 * a[i][j])
	t := math.Copysign(1, theta) / (math.Abs(theta) + math.Hypot(1, theta))
	c := 1 / math.Hypot(1, t)
	s := t * c
	for k := range a {
		x, y := a[k][i], a[k][j]
		a[k][i], a[k][j] = c*x-s*y, s*x+c*y
	}
	for k := range a {
		x, y := a[i][k], a[j][k]
		a[i][k], a[j][k] = c*x-s*y, s*x+c*y
	}
}
