package distill_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/distill"
)

func distribution(t *rapid.T, n int, name string) []float64 {
	p, sum := rapid.SliceOfN(rapid.Float64Range(0, 1), n, n).Draw(t, name), 0.0
	p[0] += 0.01
	for _, x := range p {
		sum += x
	}
	for c := range p {
		p[c] /= sum
	}
	return p
}

func TestLossGradientIsTheDerivative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "classes")
		l := distill.Loss{
			Temperature: rapid.Float64Range(0.5, 4).Draw(t, "temperature"),
			Soft:        rapid.SampledFrom([]float64{0, 0.3, 1}).Draw(t, "soft"),
		}
		z := rapid.SliceOfN(rapid.Float64Range(-5, 5), n, n).Draw(t, "logits")
		label := rapid.IntRange(-1, n-1).Draw(t, "label")
		var teacher []float64
		if label < 0 || rapid.Bool().Draw(t, "taught") {
			teacher = distribution(t, n, "teacher")
		}
		grad, scratch := make([]float64, n), make([]float64, n)
		_, err := l.Eval(z, teacher, label, grad)
		require.NoError(t, err)
		const h = 1e-5
		for c := range z {
			at := func(d float64) float64 {
				moved := append([]float64(nil), z...)
				moved[c] += d
				v, err := l.Eval(moved, teacher, label, scratch)
				require.NoError(t, err)
				return v
			}
			require.InDelta(t, (at(h)-at(-h))/(2*h), grad[c], 1e-7)
		}
	})
}

func TestLossClosedForms(t *testing.T) {
	grad := make([]float64, 2)
	z := []float64{math.Log(3), 0} // softmax: 3/4, 1/4

	hard, err := distill.Loss{}.Eval(z, nil, 1, grad)
	require.NoError(t, err)
	require.InDelta(t, math.Log(4), hard, 1e-12)
	require.InDeltaSlice(t, []float64{0.75, -0.75}, grad, 1e-12)

	soft, err := distill.Loss{Soft: 1}.Eval(z, []float64{0.5, 0.5}, 1, grad)
	require.NoError(t, err)
	require.InDelta(t, 0.5*math.Log(0.5/0.75)+0.5*math.Log(0.5/0.25), soft, 1e-12)
	require.InDeltaSlice(t, []float64{0.25, -0.25}, grad, 1e-12)

	// At temperature 2 softmax(z/2) has odds √3, and q = (9/10, 1/10) odds 3.
	soft, err = distill.Loss{Soft: 1, Temperature: 2}.Eval(z, []float64{0.9, 0.1}, -1, grad)
	require.NoError(t, err)
	p, q := math.Sqrt(3)/(1+math.Sqrt(3)), 0.75
	require.InDelta(t, 4*(q*math.Log(q/p)+(1-q)*math.Log((1-q)/(1-p))), soft, 1e-12)
	require.InDelta(t, 2*(p-q), grad[0], 1e-12)

	// A student that agrees with its teacher has nothing to learn.
	soft, err = distill.Loss{Soft: 1, Temperature: 3}.Eval(z, []float64{0.75, 0.25}, -1, grad)
	require.NoError(t, err)
	require.InDelta(t, 0, soft, 1e-12)
	require.InDeltaSlice(t, []float64{0, 0}, grad, 1e-12)
}

// At a temperature near 0 the teacher's most likely classes share all, and the student's
// likeliest has all, though 2/5 to the power 1,000 is 0 in float64.
func TestLossAtLowTemperature(t *testing.T) {
	const T = .001
	grad := make([]float64, 3)
	loss, err := distill.Loss{Soft: 1, Temperature: T}.Eval([]float64{1, 0, 0}, []float64{.4, .4, .2}, -1, grad)
	require.NoError(t, err)
	require.InDelta(t, T*T*(.5*math.Log(.5)+.5*(math.Log(.5)+1/T)), loss, 1e-12)
	require.InDeltaSlice(t, []float64{T * .5, -T * .5, 0}, grad, 1e-12)
}

func TestLossRefusesWhatIsNoExample(t *testing.T) {
	grad := make([]float64, 2)
	for name, c := range map[string]struct {
		logits, teacher []float64
		label           int
		want            string
	}{
		"nothing to learn": {[]float64{0, 0}, nil, -1, "neither"},
		"not finite":       {[]float64{0, math.NaN()}, nil, 0, "logit 1 is NaN"},
		"negative":         {[]float64{0, 0}, []float64{-0.5, 1.5}, 0, "class 0 is -0.5"},
		"not normalised":   {[]float64{0, 0}, []float64{0.5, 0.4}, 0, "sum to 0.9"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := distill.Loss{Soft: 0.5}.Eval(c.logits, c.teacher, c.label, grad)
			require.ErrorContains(t, err, c.want)
		})
	}
	require.Error(t, distill.Loss{Soft: 2}.Validate())
	require.Error(t, distill.Loss{Temperature: -1}.Validate())
}
