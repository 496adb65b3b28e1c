package kernel_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/kernel/kerneltest"
)

// subject is a kernel with a way to draw points of its domain.
type subject struct {
	name string
	k    kernel.Kernel
	draw func(r *rand.Rand) []float64
}

// coordinates draws d numbers from [lo, hi].
func coordinates(d int, lo, hi float64) func(*rand.Rand) []float64 {
	return func(r *rand.Rand) []float64 {
		x := make([]float64, d)
		for i := range x {
			x[i] = lo + (hi-lo)*r.Float64()
		}
		return x
	}
}

func simplexPoint(d int) func(*rand.Rand) []float64 {
	return func(r *rand.Rand) []float64 {
		x := coordinates(d, 0.01, 1)(r)
		sum := 0.0
		for _, v := range x {
			sum += v
		}
		for i := range x {
			x[i] /= sum
		}
		return x
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var matrix = [][]float64{{2, 0.3, -0.1}, {0, 1, 0.4}, {0.2, 0, 0.5}}

// subjects are all kernels and one combination of every kind.
func subjects() []subject {
	each := kernel.Each
	positive := coordinates(3, 0.05, 5)
	list := []subject{
		{"Euclidean", each(kernel.Euclidean{}), coordinates(3, -5, 5)},
		{"Entropy", each(kernel.Entropy{}), positive},
		{"Burg", each(kernel.Burg{}), positive},
		{"Tsallis", each(kernel.Tsallis{Q: 0.5}), positive},
		{"Tsallis near 0", each(kernel.Tsallis{Q: 0.1}), positive},
		{"Tsallis near 1", each(kernel.Tsallis{Q: 0.9}), positive},
		{"FermiDirac", each(kernel.FermiDirac{Upper: 1}), coordinates(3, 0.02, 0.98)},
		{"Box", must(kernel.Box([]float64{-3, -3.5, -4}, []float64{3, 4, 3.1})), coordinates(3, -2.9, 2.9)},
		{"Hellinger", each(kernel.Hellinger{}), coordinates(3, -0.97, 0.97)},
		{"Exponential", each(kernel.Exponential{}), coordinates(3, -3, 3)},
		{"Cosh", each(kernel.Cosh{}), coordinates(3, -3, 3)},
		{"LogCosh", each(kernel.LogCosh{}), coordinates(3, -3, 3)},
		{"Simplex", kernel.Simplex{}, simplexPoint(3)},
		{"Polynomial", kernel.Polynomial{Quadratic: 1, Quartic: 1}, coordinates(3, -5, 5)},
		{"Quartic", kernel.Polynomial{Quartic: 2}, coordinates(3, 0.5, 5)},
		{"PNorm 1.5", kernel.PNorm{P: 1.5}, coordinates(3, 0.5, 5)},
		{"PNorm 3", kernel.PNorm{P: 3}, coordinates(3, -5, -0.5)},
		{"scaled", must(kernel.Scale(2.5, kernel.PNorm{P: 1.7})), coordinates(3, 0.5, 5)},
		{"sum", must(kernel.Sum(each(kernel.Entropy{}), must(kernel.Scale(0.3, each(kernel.Burg{}))), each(kernel.Euclidean{}))), positive},
		{"sum on a box", must(kernel.Sum(each(kernel.FermiDirac{Upper: 6}), each(kernel.Burg{}))), positive},
		{"sum of polynomials", must(kernel.Sum(kernel.Polynomial{Quadratic: 1, Quartic: 1}, must(kernel.Scale(2, each(kernel.Euclidean{}))))), coordinates(3, -5, 5)},
		{"separable blocks", must(kernel.Concat(kernel.Block{each(kernel.Burg{}), 1}, kernel.Block{each(kernel.Tsallis{Q: 0.5}), 2})), positive},
		{"blocks", must(kernel.Concat(kernel.Block{kernel.Polynomial{Quadratic: 1, Quartic: 1}, 2}, kernel.Block{each(kernel.Entropy{}), 1})), positive},
		{"affine", must(kernel.Affine(each(kernel.Cosh{}), matrix, []float64{1, 0, -1})), coordinates(3, -2, 2)},
		{"diagonal affine", must(kernel.Affine(each(kernel.Burg{}), [][]float64{{-1, 0, 0}, {0, 2, 0}, {0, 0, 1}}, []float64{6, 0, 1})), positive},
	}
	blocks := list[len(list)-3].k
	return append(list, subject{"sum of blocks", must(kernel.Sum(blocks, blocks)), positive})
}

func TestKernels(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) { kerneltest.Run(t, s.k, s.draw) })
	}
}

// The divergence of close points is half the Hessian's quadratic form, to all
// its digits where a formula without cancellation is claimed.
func TestDivergenceOfClosePoints(t *testing.T) {
	for _, h := range []kernel.Scalar{kernel.Entropy{}, kernel.Burg{}, kernel.FermiDirac{Upper: 1}, kernel.Hellinger{}, kernel.Euclidean{}} {
		x := 0.4
		y := x + 1e-9
		want := h.Second(x) / 2 * (y - x) * (y - x)
		assert.InEpsilon(t, want, h.Divergence(y, x), 1e-7, h.String())
	}
}

func TestRestrictedDualRanges(t *testing.T) {
	for _, c := range []struct {
		h        kernel.Scalar
		in, outs []float64
	}{
		{kernel.Burg{}, []float64{-1e-3, -5}, []float64{0, 1, math.NaN()}},
		{kernel.Tsallis{Q: 0.5}, []float64{1.9, -1e6}, []float64{2, 2.1, math.NaN()}},
		{kernel.Exponential{}, []float64{1e-9, 5}, []float64{0, -1, math.NaN()}},
		{kernel.LogCosh{}, []float64{-0.99, 0.5}, []float64{1, -1, 2, math.NaN()}},
		{kernel.Entropy{}, []float64{-700, 700}, []float64{800, math.NaN()}},
		{kernel.FermiDirac{Upper: 1}, []float64{-1e3, 1e3}, []float64{math.NaN()}},
		{kernel.Euclidean{}, []float64{1}, []float64{math.Inf(1), math.NaN()}},
	} {
		for _, z := range c.in {
			assert.True(t, kernel.Each(c.h).Inverse(make([]float64, 1), []float64{z}), "%v at %v", c.h, z)
		}
		for _, z := range c.outs {
			assert.False(t, kernel.Each(c.h).Inverse(make([]float64, 1), []float64{z}), "%v at %v", c.h, z)
		}
	}
	sum := must(kernel.Sum(kernel.Each(kernel.Burg{}), kernel.Each(kernel.Exponential{})))
	assert.True(t, sum.Inverse(make([]float64, 1), []float64{1e3}), "the exponential makes up for Burg")
	sum = must(kernel.Sum(kernel.Each(kernel.Burg{}), kernel.Each(kernel.Tsallis{Q: 0.5})))
	assert.False(t, sum.Inverse(make([]float64, 1), []float64{2.1}), "the range of a sum is the sum of the ranges")
	assert.True(t, sum.Inverse(make([]float64, 1), []float64{1.99}))
}

// Newton within a bracket, against closed forms over 600 orders of magnitude.
func TestInvert(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := math.Exp(rapid.Float64Range(-600, 600).Draw(t, "log x"))
		for _, h := range []kernel.Scalar{kernel.Entropy{}, kernel.Burg{}, kernel.Tsallis{Q: 0.5}} {
			lo, hi := h.Domain()
			z := h.Deriv(x)
			want, ok := h.Inverse(z)
			if !ok || h.Deriv(want) != z { // beyond the range of float64
				continue
			}
			got, ok := kernel.Invert(h.Deriv, h.Second, lo, hi, z)
			assert.True(t, ok, "%v at %v", h, x)
			assert.InDelta(t, z, h.Deriv(got), 1e-14*math.Abs(z), "%v at %v", h, x)
		}
	})
}

// A sum of entropy and Burg takes a dozen evaluations, wherever the point is.
func TestInvertIsFast(t *testing.T) {
	for _, x := range []float64{1e-6, .01, .9, 1.1, 50, 1e6} {
		calls := 0
		deriv := func(x float64) float64 { calls++; return math.Log(x) - 1/x }
		second := func(x float64) float64 { return 1/x + 1/(x*x) }
		got, ok := kernel.Invert(deriv, second, 0, math.Inf(1), math.Log(x)-1/x)
		assert.True(t, ok)
		assert.InEpsilon(t, x, got, 1e-14)
		assert.LessOrEqual(t, calls, 10+int(math.Abs(math.Log2(x))), "%v: the bracket, and 8", x)
	}
}

func TestCombinationsFold(t *testing.T) {
	e := kernel.Each(kernel.Euclidean{})
	k := must(kernel.Sum(kernel.Polynomial{Quadratic: 1, Quartic: 3}, must(kernel.Scale(2, must(kernel.Scale(2, e))))))
	assert.Equal(t, kernel.Polynomial{Quadratic: 5, Quartic: 3}, k)
	k = must(kernel.Sum(kernel.Simplex{}, must(kernel.Scale(2, kernel.Simplex{}))))
	assert.Equal(t, "3·simplex entropy", k.String())
	k = must(kernel.Sum(kernel.Each(kernel.Entropy{}), kernel.Each(kernel.Burg{})))
	assert.Equal(t, "entropy + Burg", k.String())
	assert.Zero(t, k.Dim())
}

func TestBadInputIsNamed(t *testing.T) {
	burg, e := kernel.Each(kernel.Burg{}), kernel.Each(kernel.Euclidean{})
	second := func(_ kernel.Kernel, err error) error { return err }
	for want, err := range map[string]error{
		"sum of simplex entropy and Burg has no inverse":     second(kernel.Sum(kernel.Simplex{}, burg)),
		"sum of p-norm(1.5) and Euclidean has no inverse":    second(kernel.Sum(kernel.PNorm{P: 1.5}, e)),
		"sum of polynomial(1, 1) and entropy has no inverse": second(kernel.Sum(kernel.Polynomial{1, 1}, kernel.Each(kernel.Entropy{}))),
		"sum of p-norm(1.5) and p-norm(2) has no inverse":    second(kernel.Sum(kernel.PNorm{P: 1.5}, kernel.PNorm{P: 2})),
		"sum of no kernels": second(kernel.Sum()),
		"domains of the sum of Fermi-Dirac(-2, -1) + Burg": second(kernel.Sum(kernel.Each(kernel.FermiDirac{-2, -1}), burg)),
		"scaled by -1":                            second(kernel.Scale(-1, burg)),
		"row 1 of an affine map":                  second(kernel.Affine(burg, [][]float64{{1, 0}, {1}}, []float64{0, 0})),
		"singular: pivot 1":                       second(kernel.Affine(burg, [][]float64{{1, 2}, {2, 4}}, []float64{0, 0})),
		"block 1 has dimension 0":                 second(kernel.Concat(kernel.Block{burg, 1}, kernel.Block{burg, 0})),
		"block 0 has no kernel":                   second(kernel.Concat(kernel.Block{nil, 1})),
		"Tsallis.Q is 1.5":                        kernel.Each(kernel.Tsallis{Q: 1.5}).Validate(),
		"PNorm.P is 1,":                           kernel.PNorm{P: 1}.Validate(),
		"Polynomial has the coefficients 0 and 0": kernel.Polynomial{}.Validate(),
		"FermiDirac bounds are 1 and 1":           kernel.Each(kernel.FermiDirac{1, 1}).Validate(),
		"coordinate 1 is -1, outside the domain (0, +Inf) of Burg": kernel.Check(burg, []float64{1, -1}),
		"the point is outside the domain of simplex entropy":       kernel.Check(kernel.Simplex{}, []float64{1, 1}),
		"a point of dimension 1, want the 2 of separable kernel":   kernel.Check(kernel.PerCoordinate(kernel.Burg{}, kernel.Entropy{}), []float64{1}),
		"there is no kernel": kernel.Check(nil, []float64{1}),
		"coordinate 0 is NaN, outside the domain (-Inf, +Inf) of Eu": kernel.Check(e, []float64{math.NaN()}),
	} {
		assert.ErrorContains(t, err, want)
	}
	_, err := kernel.Box([]float64{0, 1}, []float64{1, 1})
	assert.ErrorContains(t, err, "coordinate 1")
	_, err = kernel.Box([]float64{0}, nil)
	assert.ErrorContains(t, err, "1 lower and 0 upper")
}
