package distill_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/rl"
)

// fixed is a student with one input, whose outputs are its parameters.
type fixed struct{ outputs, grad []float64 }

func (s *fixed) Logits(_ context.Context, inputs [][]int32, dst [][]float64, _ bool) error {
	for i := range inputs {
		copy(dst[i], s.outputs)
	}
	return nil
}

func (s *fixed) Backward(_ context.Context, dlogits [][]float64) error {
	s.grad = make([]float64, len(s.outputs))
	for _, row := range dlogits {
		for c, d := range row {
			s.grad[c] += d
		}
	}
	return nil
}

func (*fixed) OptimStep(context.Context, rl.OptimOptions) (rl.OptimInfo, error) {
	return rl.OptimInfo{}, nil
}
func (*fixed) Save(context.Context, string) (string, error) { return "", nil }
func (*fixed) Load(context.Context, string) error           { return nil }

// evalOne is the loss of one example, and its gradient with respect to the outputs.
func evalOne(t require.TestingT, f distill.Fit, e distill.Example, outputs []float64) (float64, []float64) {
	s := &fixed{outputs: outputs}
	e.Input = []int32{0}
	f.Student, f.Examples, f.Batch, f.Epochs, f.LR = s, []distill.Example{e}, 1, 1, rl.Constant{LR: 1}
	require.NoError(t, f.Validate())
	require.Len(t, outputs, f.Outputs())
	loss, err := f.Step(context.Background(), 0)
	require.NoError(t, err)
	return loss, s.grad
}

// requireDerivative compares a gradient with central differences of the loss.
func requireDerivative(t require.TestingT, at []float64, grad []float64, loss func(x []float64) float64) {
	const h = 1e-5
	for i := range at {
		moved := append([]float64(nil), at...)
		moved[i] = at[i] + h
		up := loss(moved)
		moved[i] = at[i] - h
		require.InDelta(t, (up-loss(moved))/(2*h), grad[i], 1e-6)
	}
}

func TestFitGradientIsTheDerivative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "classes")
		f := distill.Fit{
			Classes: n, Head: rapid.SampledFrom([]distill.Head{distill.HeadSoftmax, distill.HeadOrdinal}).Draw(t, "head"),
			Loss:    distill.Loss{Temperature: rapid.Float64Range(0.5, 4).Draw(t, "temperature"), Soft: rapid.Float64Range(0, 1).Draw(t, "soft")},
			Answers: []int{2, 3}, StepWeight: rapid.Float64Range(0, 2).Draw(t, "weight"),
		}
		e := distill.Example{Belief: distribution(t, n, "teacher"), Label: rapid.IntRange(-1, n-1).Draw(t, "label")}
		e.Steps = [][]float64{nil, distribution(t, 3, "answers")}
		z := rapid.SliceOfN(rapid.Float64Range(-4, 4), f.Outputs(), f.Outputs()).Draw(t, "outputs")
		_, grad := evalOne(t, f, e, z)
		requireDerivative(t, z, grad, func(x []float64) float64 {
			l, _ := evalOne(t, f, e, x)
			return l
		})
	})
}

func TestOrdinalClosedForms(t *testing.T) {
	// Cumulative logits log 3 and 0: P(class > 0) = 3/4, P(class > 1) = 1/2. The
	// distance log 3 is softplus of log 2.
	p := distill.HeadOrdinal.Probs([]float64{math.Log(3), math.Log(2)}, 3)
	require.InDeltaSlice(t, []float64{.25, .25, .5}, p, 1e-12)
	// All outputs give a distribution, far from 0 too.
	rapid.Check(t, func(t *rapid.T) {
		z, sum := rapid.SliceOfN(rapid.Float64Range(-300, 300), 4, 4).Draw(t, "z"), 0.0
		for _, p := range distill.HeadOrdinal.Probs(z, 5) {
			require.False(t, math.IsNaN(p))
			sum += p
		}
		require.InDelta(t, 1, sum, 1e-9)
	})
	require.ErrorContains(t, distill.HeadOrdinal.Validate(1), "at least 2 classes")
	require.ErrorContains(t, distill.Head("x").Validate(3), `the head is "x"`)
	require.Panics(t, func() { distill.HeadOrdinal.LogProbs(make([]float64, 3), make([]float64, 3)) })
}

// The steps' part is the cross-entropy less the entropy of what the teacher said.
func TestStepsClosedForm(t *testing.T) {
	f := distill.Fit{Classes: 2, Answers: []int{2, 2}, StepWeight: .5}
	e := distill.Example{Label: 0, Steps: [][]float64{{0, 1}, nil}}
	loss, grad := evalOne(t, f, e, []float64{0, 0, math.Log(3), 0, 7, 8})
	require.InDelta(t, math.Log(2)+.5*math.Log(4), loss, 1e-12)
	require.InDeltaSlice(t, []float64{-.5, .5, .375, -.375, 0, 0}, grad, 1e-12)
}

// Of two classes the loss is the binary cross-entropy of the single output, with a label
// that may be soft: log(1 + e^z) - q·z.
func TestOrdinalOfTwoClassesIsBinary(t *testing.T) {
	f := distill.Fit{Classes: 2, Head: distill.HeadOrdinal, Loss: distill.Loss{Soft: 1}}
	require.Equal(t, 1, f.Outputs())
	z, q := math.Log(3), .9
	loss, grad := evalOne(t, f, distill.Example{Belief: []float64{1 - q, q}, Label: -1}, []float64{z})
	entropy := -(q*math.Log(q) + (1-q)*math.Log(1-q))
	require.InDelta(t, math.Log(4)-q*z-entropy, loss, 1e-12)
	require.InDelta(t, .75-q, grad[0], 1e-12)
	loss, grad = evalOne(t, f, distill.Example{Label: 1}, []float64{z})
	require.InDelta(t, -math.Log(.75), loss, 1e-12)
	require.InDelta(t, .75-1, grad[0], 1e-12)
}

// narrow knows that it has one output.
type narrow struct{ fixed }

func (narrow) Outputs() int { return 1 }

// What does not fit is an error of Validate, and of what computes.
func TestOutputsOfTheStudentAreChecked(t *testing.T) {
	f := distill.Fit{
		Student: &narrow{}, Examples: []distill.Example{{Input: []int32{1}, Label: 1}}, Classes: 2, Batch: 1, Epochs: 1, LR: rl.Constant{LR: 1},
	}
	const want = `2 classes with the head "": the student has outputs: 1, want 2 (with HeadOrdinal one fewer than classes)`
	require.ErrorContains(t, f.Validate(), "Fit has "+want)
	_, err := f.Step(t.Context(), 0)
	require.ErrorContains(t, err, want)
	g := &distill.Grader{Student: f.Student, Classes: 2}
	require.ErrorContains(t, g.Scores(t.Context(), []distill.Query{{Documents: [][]int32{{0}}}}, [][]float64{{0}}, true), "Grader has "+want)
	f.Head = distill.HeadOrdinal
	require.NoError(t, f.Validate())
	f.Classes = 1
	require.ErrorContains(t, f.Validate(), "a student with a single score has 2, with Head: HeadOrdinal")
}
