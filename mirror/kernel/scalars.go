package kernel

import (
	"fmt"
	"math"
)

var inf = math.Inf(1)

// Euclidean is h(x) = x²/2: mirror descent is then gradient descent.
type Euclidean struct{}

// Validate implements [Scalar].
func (Euclidean) Validate() error { return nil }

// Domain implements [Scalar].
func (Euclidean) Domain() (lo, hi float64) { return -inf, inf }

// Value implements [Scalar].
func (Euclidean) Value(x float64) float64 { return x * x / 2 }

// Deriv implements [Scalar].
func (Euclidean) Deriv(x float64) float64 { return x }

// Second implements [Scalar].
func (Euclidean) Second(float64) float64 { return 1 }

// Inverse implements [Scalar].
func (Euclidean) Inverse(z float64) (float64, bool) { return z, finite(z) }

// Divergence implements [Scalar].
func (Euclidean) Divergence(x, y float64) float64 { return (x - y) * (x - y) / 2 }

// String implements [Scalar].
func (Euclidean) String() string { return "Euclidean" }

// Entropy is the negative Boltzmann-Shannon entropy h(x) = x·log x − x on
// x > 0. Its divergence is the generalised Kullback-Leibler divergence.
type Entropy struct{}

// Validate implements [Scalar].
func (Entropy) Validate() error { return nil }

// Domain implements [Scalar].
func (Entropy) Domain() (lo, hi float64) { return 0, inf }

// Value implements [Scalar].
func (Entropy) Value(x float64) float64 {
	if x == 0 {
		return 0
	}
	return x*math.Log(x) - x
}

// Deriv implements [Scalar].
func (Entropy) Deriv(x float64) float64 { return math.Log(x) }

// Second implements [Scalar].
func (Entropy) Second(x float64) float64 { return 1 / x }

// Inverse implements [Scalar].
func (Entropy) Inverse(z float64) (float64, bool) {
	x := math.Exp(z)
	return x, finite(x)
}

// Divergence is y·ψ(t), ψ(t) = (1+t)·log(1+t) − t, t = (x−y)/y.
func (Entropy) Divergence(x, y float64) float64 {
	switch {
	case x == 0:
		return y
	case y == 0:
		return inf
	}
	t := (x - y) / y
	if math.Abs(t) < 0.02 { // the formula would cancel: ψ = Σ (−t)ᵏ/(k(k−1))
		sum, power := 0.0, -t
		for k := 2.0; k < 12; k++ {
			power *= -t
			sum += power / (k * (k - 1))
		}
		return y * sum
	}
	return x*math.Log(x/y) - x + y
}

// String implements [Scalar].
func (Entropy) String() string { return "entropy" }

// Burg is h(x) = −log x on x > 0. Its dual range is z < 0. Its divergence, that
// of Itakura and Saito, is x/y − log(x/y) − 1.
type Burg struct{}

// Validate implements [Scalar].
func (Burg) Validate() error { return nil }

// Domain implements [Scalar].
func (Burg) Domain() (lo, hi float64) { return 0, inf }

// Value implements [Scalar].
func (Burg) Value(x float64) float64 { return -math.Log(x) }

// Deriv implements [Scalar].
func (Burg) Deriv(x float64) float64 { return -1 / x }

// Second implements [Scalar].
func (Burg) Second(x float64) float64 { return 1 / (x * x) }

// Inverse implements [Scalar].
func (Burg) Inverse(z float64) (float64, bool) {
	x := -1 / z
	return x, z < 0 && finite(x)
}

// Divergence is t − log(1+t), t = (x−y)/y.
func (Burg) Divergence(x, y float64) float64 {
	t := (x - y) / y
	if math.Abs(t) < 0.02 { // Σ (−t)ᵏ/k
		sum, power := 0.0, -t
		for k := 2.0; k < 12; k++ {
			power *= -t
			sum += power / k
		}
		return sum
	}
	return t - math.Log1p(t)
}

// String implements [Scalar].
func (Burg) String() string { return "Burg" }

// Tsallis is the negative Tsallis entropy h(x) = (x^q − x)/(q−1) on x > 0. Its
// dual range is z < 1/(1−q).
type Tsallis struct {
	// Q is between 0 and 1, both excluded. Entropy is the limit at 1, up to a
	// linear function.
	Q float64
}

// Validate implements Scalar.
func (h Tsallis) Validate() error {
	if !(h.Q > 0 && h.Q < 1) {
		return fmt.Errorf("kernel: Tsallis.Q is %v, want a number between 0 and 1", h.Q)
	}
	return nil
}

// Domain implements [Scalar].
func (Tsallis) Domain() (lo, hi float64) { return 0, inf }

// Value implements [Scalar].
func (h Tsallis) Value(x float64) float64 { return (math.Pow(x, h.Q) - x) / (h.Q - 1) }

// Deriv implements [Scalar].
func (h Tsallis) Deriv(x float64) float64 { return (h.Q*math.Pow(x, h.Q-1) - 1) / (h.Q - 1) }

// Second implements [Scalar].
func (h Tsallis) Second(x float64) float64 { return h.Q * math.Pow(x, h.Q-2) }

// Inverse implements [Scalar].
func (h Tsallis) Inverse(z float64) (float64, bool) {
	u := 1 + (h.Q-1)*z
	x := math.Pow(u/h.Q, 1/(h.Q-1))
	return x, u > 0 && finite(x)
}

// Divergence is y^q·((1+t)^q − 1 − q·t)/(q−1), t = (x−y)/y.
func (h Tsallis) Divergence(x, y float64) float64 {
	t := (x - y) / y
	return max(0, math.Pow(y, h.Q)*(math.Expm1(h.Q*math.Log1p(t))-h.Q*t)/(h.Q-1))
}

// String implements [Scalar].
func (h Tsallis) String() string { return fmt.Sprintf("Tsallis(%v)", h.Q) }

// FermiDirac is the sum of the entropies of the distances to both ends of an
// interval, u·log u + v·log v with u = (x−Lower)/w, v = (Upper−x)/w, times the
// interval's width w; on (0, 1) it is the negative Fermi-Dirac entropy. With
// [Box] it serves boxes.
type FermiDirac struct{ Lower, Upper float64 }

// Box is FermiDirac for each coordinate: lower < x < upper.
func Box(lower, upper []float64) (*Separable, error) {
	if len(lower) != len(upper) || len(lower) == 0 {
		return nil, fmt.Errorf("kernel: a box with %d lower and %d upper bounds, want as many of each", len(lower), len(upper))
	}
	scalars := make([]Scalar, len(lower))
	for i := range scalars {
		h := FermiDirac{lower[i], upper[i]}
		if err := h.Validate(); err != nil {
			return nil, fmt.Errorf("%w (coordinate %d)", err, i)
		}
		scalars[i] = h
	}
	return PerCoordinate(scalars...), nil
}

// Validate implements Scalar.
func (h FermiDirac) Validate() error {
	if !(h.Lower < h.Upper) || !finite(h.Upper-h.Lower) {
		return fmt.Errorf("kernel: FermiDirac bounds are %v and %v, want finite ones with Lower below Upper", h.Lower, h.Upper)
	}
	return nil
}

// Domain implements [Scalar].
func (h FermiDirac) Domain() (lo, hi float64) { return h.Lower, h.Upper }

// Value implements [Scalar].
func (h FermiDirac) Value(x float64) (sum float64) {
	w := h.Upper - h.Lower
	for _, u := range [2]float64{x - h.Lower, h.Upper - x} {
		if u != 0 {
			sum += u * math.Log(u/w)
		}
	}
	return sum
}

// Deriv implements [Scalar].
func (h FermiDirac) Deriv(x float64) float64 { return math.Log((x - h.Lower) / (h.Upper - x)) }

// Second implements [Scalar].
func (h FermiDirac) Second(x float64) float64 {
	return 1/(x-h.Lower) + 1/(h.Upper-x)
}

// Inverse implements [Scalar].
func (h FermiDirac) Inverse(z float64) (float64, bool) {
	w := h.Upper - h.Lower
	if z < 0 {
		e := math.Exp(z)
		return h.Lower + w*(e/(1+e)), true
	}
	e := math.Exp(-z)
	return h.Upper - w*(e/(1+e)), !math.IsNaN(z)
}

// Divergence implements [Scalar].
func (h FermiDirac) Divergence(x, y float64) float64 {
	return Entropy{}.Divergence(x-h.Lower, y-h.Lower) + Entropy{}.Divergence(h.Upper-x, h.Upper-y)
}

// String implements [Scalar].
func (h FermiDirac) String() string { return fmt.Sprintf("Fermi-Dirac(%v, %v)", h.Lower, h.Upper) }

// Hellinger is h(x) = −√(1−x²) on (−1, 1).
type Hellinger struct{}

// Validate implements [Scalar].
func (Hellinger) Validate() error { return nil }

// Domain implements [Scalar].
func (Hellinger) Domain() (lo, hi float64) { return -1, 1 }

// Value implements [Scalar].
func (Hellinger) Value(x float64) float64 { return -root(x) }

// Deriv implements [Scalar].
func (Hellinger) Deriv(x float64) float64 { return x / root(x) }

// Second implements [Scalar].
func (Hellinger) Second(x float64) float64 { return 1 / (root(x) * (1 - x) * (1 + x)) }

// Inverse implements [Scalar].
func (Hellinger) Inverse(z float64) (float64, bool) {
	return z / math.Hypot(1, z), finite(z)
}

// Divergence is (1 − cos(α−β))/cos β with x = sin α, y = sin β.
func (Hellinger) Divergence(x, y float64) float64 {
	s := math.Sin((math.Asin(x) - math.Asin(y)) / 2)
	return 2 * s * s / root(y)
}

// String implements [Scalar].
func (Hellinger) String() string { return "Hellinger" }

// root is √(1−x²) without cancellation at the ends.
func root(x float64) float64 { return math.Sqrt((1 - x) * (1 + x)) }

// Exponential is h(x) = exp x. Its dual range is z > 0.
type Exponential struct{}

// Validate implements [Scalar].
func (Exponential) Validate() error { return nil }

// Domain implements [Scalar].
func (Exponential) Domain() (lo, hi float64) { return -inf, inf }

// Value implements [Scalar].
func (Exponential) Value(x float64) float64 { return math.Exp(x) }

// Deriv implements [Scalar].
func (Exponential) Deriv(x float64) float64 { return math.Exp(x) }

// Second implements [Scalar].
func (Exponential) Second(x float64) float64 { return math.Exp(x) }

// Inverse implements [Scalar].
func (Exponential) Inverse(z float64) (float64, bool) {
	return math.Log(z), z > 0 && finite(z)
}

// Divergence implements [Scalar].
func (Exponential) Divergence(x, y float64) float64 {
	return max(0, math.Exp(y)*(math.Expm1(x-y)-(x-y)))
}

// String implements [Scalar].
func (Exponential) String() string { return "exponential" }

// Cosh is h(x) = cosh x.
type Cosh struct{}

// Validate implements [Scalar].
func (Cosh) Validate() error { return nil }

// Domain implements [Scalar].
func (Cosh) Domain() (lo, hi float64) { return -inf, inf }

// Value implements [Scalar].
func (Cosh) Value(x float64) float64 { return math.Cosh(x) }

// Deriv implements [Scalar].
func (Cosh) Deriv(x float64) float64 { return math.Sinh(x) }

// Second implements [Scalar].
func (Cosh) Second(x float64) float64 { return math.Cosh(x) }

// Inverse implements [Scalar].
func (Cosh) Inverse(z float64) (float64, bool) { return math.Asinh(z), finite(z) }

// Divergence is the mean of exponential divergences at x, y and at −x, −y.
func (Cosh) Divergence(x, y float64) float64 {
	return (Exponential{}.Divergence(x, y) + Exponential{}.Divergence(-x, -y)) / 2
}

// String implements [Scalar].
func (Cosh) String() string { return "cosh" }

// LogCosh is h(x) = log cosh x. Its dual range is |z| < 1.
type LogCosh struct{}

// Validate implements [Scalar].
func (LogCosh) Validate() error { return nil }

// Domain implements [Scalar].
func (LogCosh) Domain() (lo, hi float64) { return -inf, inf }

// Value implements [Scalar].
func (LogCosh) Value(x float64) float64 {
	x = math.Abs(x)
	return x + math.Log1p(math.Exp(-2*x)) - math.Ln2
}

// Deriv implements [Scalar].
func (LogCosh) Deriv(x float64) float64 { return math.Tanh(x) }

// Second implements [Scalar].
func (LogCosh) Second(x float64) float64 {
	c := math.Cosh(x)
	return 1 / c / c
}

// Inverse implements [Scalar].
func (LogCosh) Inverse(z float64) (float64, bool) {
	return math.Atanh(z), math.Abs(z) < 1
}

// Divergence implements [Scalar].
func (h LogCosh) Divergence(x, y float64) float64 {
	return max(0, h.Value(x)-h.Value(y)-h.Deriv(y)*(x-y))
}

// String implements [Scalar].
func (LogCosh) String() string { return "log-cosh" }
