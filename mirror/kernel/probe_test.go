package kernel_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/mirror/kernel"
)

var metrics = []kernel.Metric{kernel.MetricDual, kernel.MetricLocal, kernel.MetricPrimal}

// grid is n numbers from f(lo) to f(hi), as points of dimension 1.
func grid(f func(float64) float64, lo, hi float64, n int) (points [][]float64) {
	for i := range n {
		points = append(points, []float64{f(lo + (hi-lo)*float64(i)/float64(n-1))})
	}
	return points
}

func identity(x float64) float64 { return x }

// The constants of functions of one variable, sup |h‴|/(h″)ᵖ with p = 2 in the
// dual, 3/2 in the local and 1 in the primal metric, are elementary calculus.
// Where there is none, the modulus at a point near the end named is beyond 100.
func TestConstants(t *testing.T) {
	each, none := kernel.Each, math.Inf(1)
	positive := grid(math.Exp, -2, 2, 401)
	real := grid(identity, -4, 4, 801)
	for _, c := range []struct {
		k       kernel.Kernel
		centers [][]float64
		want    [3]float64 // dual, local, primal; 0: not asked
		near    float64    // the end where those without a constant grow,
		length  float64    // and a small primal distance there
	}{
		{each(kernel.Entropy{}), positive, [3]float64{1, none, none}, 1e-6, 1e-9},
		{each(kernel.FermiDirac{Upper: 1}), grid(identity, .0001, .9999, 401), [3]float64{1, none, none}, 1e-6, 1e-9},
		{each(kernel.Burg{}), positive, [3]float64{2 * math.Exp(2), 2, none}, 1e-6, 1e-9},
		{each(kernel.Burg{}), nil, [3]float64{none, 0, 0}, 1e3, 1},
		{each(kernel.Hellinger{}), grid(identity, -.99, .99, 801), [3]float64{1.5, none, none}, 1 - 1e-8, 1e-11},
		{each(kernel.Tsallis{Q: .5}), positive, [3]float64{3 * math.Exp(1), none, none}, 1e-11, 1e-14},
		{each(kernel.Tsallis{Q: .8}), positive, [3]float64{1.5 * math.Exp(.4), none, none}, 1e-6, 1e-9},
		{kernel.Polynomial{1, 1}, real, [3]float64{9. / 8, 4. / 3, math.Sqrt(3)}, 0, 0},
		{each(kernel.Exponential{}), real, [3]float64{none, none, 1}, -12, 1e-3},
		{each(kernel.Cosh{}), real, [3]float64{.5, math.Sqrt2 / math.Pow(3, .75), 1}, 0, 0},
		{each(kernel.LogCosh{}), real, [3]float64{none, none, 2}, 6, 1e-3},
		{kernel.Polynomial{Quartic: 1}, nil, [3]float64{none, none, none}, 1e-3, 1e-6},
	} {
		for i, want := range c.want {
			p := kernel.Probe{Metric: metrics[i], Radius: 1e-5}
			switch {
			case want == 0:
			case !math.IsInf(want, 1):
				m, err := p.Measure(c.k, c.centers...)
				require.NoError(t, err)
				assert.InDelta(t, want, m.PerRadius, 1e-3*want, "%v, %v", c.k, p.Metric)
				assert.Zero(t, m.Outside)
			default:
				curvature := []float64{0}
				c.k.Hess(curvature, []float64{c.near}, []float64{1})
				p.Radius = c.length * []float64{curvature[0], math.Sqrt(curvature[0]), 1}[i]
				m, err := p.Measure(c.k, []float64{c.near})
				require.NoError(t, err)
				assert.Greater(t, m.PerRadius, 100.0, "%v, %v", c.k, p.Metric)
			}
		}
	}
}

// A constant C of the limit r → 0 bounds the modulus at any radius: integrated
// along the ball, it is C·r in the primal and in the dual and
// −2·log(1 − C·r/2) in the local metric.
func bound(m kernel.Metric, c, r float64) float64 {
	if m != kernel.MetricLocal {
		return c * r
	}
	if c*r >= 2 {
		return math.Inf(1)
	}
	return -2 * math.Log(1-c*r/2)
}

// known are functions of one variable with a finite constant C in one metric.
var known = map[kernel.Metric][]struct {
	h kernel.Scalar
	c float64
}{
	kernel.MetricDual:   {{kernel.Entropy{}, 1}, {kernel.FermiDirac{Upper: 7}, 1}, {kernel.Cosh{}, .5}, {kernel.Euclidean{}, 0}},
	kernel.MetricLocal:  {{kernel.Burg{}, 2}, {kernel.Cosh{}, .6204}, {kernel.Euclidean{}, 0}},
	kernel.MetricPrimal: {{kernel.Exponential{}, 1}, {kernel.Cosh{}, 1}, {kernel.LogCosh{}, 2}, {kernel.Euclidean{}, 0}},
}

// How constants go with combinations, in any metric: under sums of separable
// kernels and under concatenation the larger one holds; under scaling by s it is
// C, C/√s and C/s in the primal, local and dual metric; under an affine map with
// matrix A it is C·‖A‖, C and C·‖A⁻¹‖.
func TestClosure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		metric := rapid.SampledFrom(metrics).Draw(t, "metric")
		pick := func(label string) (kernel.Kernel, float64) {
			f := rapid.SampledFrom(known[metric]).Draw(t, label)
			s := rapid.Float64Range(.2, 5).Draw(t, label+" scale")
			c := f.c
			switch metric {
			case kernel.MetricLocal:
				c /= math.Sqrt(s)
			case kernel.MetricDual:
				c /= s
			}
			return must(kernel.Scale(s, kernel.Each(f.h))), c
		}
		a, ca := pick("a")
		b, cb := pick("b")
		c := max(ca, cb)
		var k kernel.Kernel
		switch rapid.SampledFrom([]string{"sum", "concatenation", "affine"}).Draw(t, "rule") {
		case "sum":
			k = must(kernel.Sum(a, b))
		case "concatenation":
			k = must(kernel.Concat(kernel.Block{a, 1}, kernel.Block{b, 2}))
		case "affine": // a rotation in two coordinates, times 2
			k = must(kernel.Affine(a, [][]float64{{1.2, 1.6, 0}, {-1.6, 1.2, 0}, {0, 0, 2}}, []float64{0, 8, 0}))
			c = ca
			switch metric {
			case kernel.MetricPrimal:
				c *= 2
			case kernel.MetricDual:
				c /= 2
			}
		}
		x := rapid.SliceOfN(rapid.Float64Range(.05, 2), 3, 3).Draw(t, "x")
		p := kernel.Probe{Metric: metric, Radius: rapid.Float64Range(.01, .4).Draw(t, "r"), Directions: 8, Seed: 1}
		if kernel.Check(k, x) != nil {
			t.Skip("the sum's domain is smaller")
		}
		m, err := p.Measure(k, x)
		require.NoError(t, err)
		assert.LessOrEqual(t, m.LogRatio, bound(metric, c, p.Radius)*(1+1e-6)+1e-9, "%v in the %v metric", k, metric)
	})
}

// The simplex's Hessian is compared in the directions within it, also inside of
// combinations, and a constant added to dual points changes nothing.
func TestProbeOfTheSimplex(t *testing.T) {
	x := []float64{.2, .3, .5}
	p := kernel.Probe{Metric: kernel.MetricDual, Radius: .1, Directions: 50}
	m, err := p.Measure(kernel.Simplex{}, x)
	require.NoError(t, err)
	assert.Equal(t, 2*(2+50), m.Evaluated)
	assert.InDelta(t, .7, m.PerRadius, .3)
	shift := [][]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
	same, err := p.Measure(must(kernel.Affine(kernel.Simplex{}, shift, []float64{0, 0, 0})), x)
	require.NoError(t, err)
	assert.InDelta(t, m.LogRatio, same.LogRatio, 1e-9)
	same, err = p.Measure(must(kernel.Scale(1, kernel.Simplex{})), x)
	require.NoError(t, err)
	assert.InDelta(t, m.LogRatio, same.LogRatio, 1e-12)
	both, err := p.Measure(must(kernel.Concat(kernel.Block{kernel.Simplex{}, 3}, kernel.Block{kernel.Each(kernel.Euclidean{}), 1})), append(x, 0))
	require.NoError(t, err)
	assert.Equal(t, 2*(3+50), both.Evaluated)
	assert.LessOrEqual(t, both.LogRatio, m.LogRatio*1.05)
}

func TestProbeCountsWhatLeavesTheDomain(t *testing.T) {
	m, err := kernel.Probe{Metric: kernel.MetricPrimal, Radius: 1}.Measure(kernel.Each(kernel.Burg{}), []float64{.5})
	require.NoError(t, err)
	assert.Equal(t, 1, m.Evaluated)
	assert.Equal(t, 1, m.Outside)
	assert.InDelta(t, 2*math.Log(3), m.LogRatio, 1e-12, "h″ goes from 4 to 4/9")
	m, err = kernel.Probe{Metric: kernel.MetricDual, Radius: 3}.Measure(kernel.Each(kernel.Burg{}), []float64{.5})
	require.NoError(t, err)
	assert.Equal(t, 1, m.Outside, "z = 1")
}

func TestProbeErrors(t *testing.T) {
	burg := kernel.Each(kernel.Burg{})
	for want, p := range map[string]kernel.Probe{
		"Probe.Metric":                 {Radius: 1},
		"Probe.Radius is 0":            {Metric: kernel.MetricDual},
		"Probe.Directions is -1":       {Metric: kernel.MetricDual, Radius: 1, Directions: -1},
		"coordinate 0 is -1, outside ": {Metric: kernel.MetricDual, Radius: 1},
	} {
		_, err := p.Measure(burg, []float64{-1})
		assert.ErrorContains(t, err, want)
	}
}
