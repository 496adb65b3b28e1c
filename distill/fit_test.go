package distill_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/rl"
)

// linear is a student with one row of logits per first token.
type linear struct {
	w, g   [4][2]float64
	inputs [][]int32
	saved  map[string][4][2]float64
}

func (s *linear) Logits(_ context.Context, inputs [][]int32, dst [][]float64, _ bool) error {
	s.inputs = inputs
	for i, in := range inputs {
		copy(dst[i], s.w[in[0]][:])
	}
	return nil
}

func (s *linear) Backward(_ context.Context, dlogits [][]float64) error {
	for i, in := range s.inputs {
		for c, d := range dlogits[i] {
			s.g[in[0]][c] += d
		}
	}
	return nil
}

func (s *linear) OptimStep(_ context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	for i := range s.w {
		for c := range s.w[i] {
			s.w[i][c] -= o.LR * s.g[i][c]
		}
	}
	s.g = [4][2]float64{}
	return rl.OptimInfo{}, nil
}

func (s *linear) Save(_ context.Context, name string) (string, error) {
	s.saved[name] = s.w
	return name, nil
}

func (s *linear) Load(_ context.Context, ref string) error {
	s.w = s.saved[ref]
	return nil
}

func fit(s distill.Student) *distill.Fit {
	return &distill.Fit{
		Student: s,
		Examples: []distill.Example{
			{Input: []int32{0}, Label: 0}, {Input: []int32{1}, Label: 1},
			{Input: []int32{2}, Belief: []float64{0.25, 0.75}, Label: -1}, {Input: []int32{3}, Label: 1},
			{Input: []int32{0}, Label: 0},
		},
		Classes: 2, Loss: distill.Loss{Soft: 0.5}, Batch: 2, Epochs: 200, Seed: 3,
		LR: rl.Constant{LR: 1},
	}
}

func TestFitLearnsLabelsAndBeliefs(t *testing.T) {
	s := &linear{}
	f := fit(s)
	require.NoError(t, f.Validate())
	require.Equal(t, 600, f.Steps())
	first, err := f.Step(t.Context(), 0)
	require.NoError(t, err)
	last := 0.0
	for i := 1; i < f.Steps(); i++ {
		last, err = f.Step(t.Context(), i)
		require.NoError(t, err)
	}
	require.Less(t, last, first)
	require.Greater(t, s.w[0][0]-s.w[0][1], 3.0)
	require.InDelta(t, 1.0986, s.w[2][1]-s.w[2][0], 0.01, "log odds of the belief")
}

// noting is a student that notes the inputs it is shown.
type noting struct {
	linear
	seen []int32
}

func (s *noting) Logits(ctx context.Context, inputs [][]int32, dst [][]float64, train bool) error {
	for _, tokens := range inputs {
		s.seen = append(s.seen, tokens[0])
	}
	return s.linear.Logits(ctx, inputs, dst, train)
}

func TestFitShowsAllExamplesInAnotherOrderEachEpoch(t *testing.T) {
	s := &noting{}
	f := fit(s)
	for i := range f.Steps() {
		_, err := f.Step(t.Context(), i)
		require.NoError(t, err)
	}
	require.Len(t, s.seen, 5*200)
	orders := map[string]bool{}
	for epoch := range 200 {
		order := s.seen[5*epoch : 5*epoch+5]
		require.ElementsMatch(t, []int32{0, 1, 2, 3, 0}, order)
		orders[fmt.Sprint(order)] = true
	}
	require.Greater(t, len(orders), 50, "of 60 orders of five examples, two of which are alike")
}

func TestFitContinuesFromAnyStep(t *testing.T) {
	whole := &linear{}
	f := fit(whole)
	for i := range 20 {
		_, err := f.Step(t.Context(), i)
		require.NoError(t, err)
	}
	parts := &linear{saved: map[string][4][2]float64{}}
	f = fit(parts)
	for i := range 10 {
		_, err := f.Step(t.Context(), i)
		require.NoError(t, err)
	}
	ref, err := parts.Save(t.Context(), "ten")
	require.NoError(t, err)
	resumed := &linear{saved: parts.saved}
	require.NoError(t, resumed.Load(t.Context(), ref))
	f = fit(resumed)
	for i := 10; i < 20; i++ {
		_, err := f.Step(t.Context(), i)
		require.NoError(t, err)
	}
	require.Equal(t, whole.w, resumed.w)
}

func TestFitErrorsNameTheField(t *testing.T) {
	for want, change := range map[string]func(*distill.Fit){
		"Fit.Student":             func(f *distill.Fit) { f.Student = nil },
		"Fit.LR":                  func(f *distill.Fit) { f.LR = nil },
		"Fit.Examples is empty":   func(f *distill.Fit) { f.Examples = nil },
		"batches of 0":            func(f *distill.Fit) { f.Batch = 0 },
		"Examples[1] has no":      func(f *distill.Fit) { f.Examples[1].Input = nil },
		"Examples[0] has neither": func(f *distill.Fit) { f.Examples[0].Label = -1 },
		"label 2 of 2":            func(f *distill.Fit) { f.Examples[3].Label = 2 },
		"belief over 2":           func(f *distill.Fit) { f.Classes = 3 },
		"Loss.Soft":               func(f *distill.Fit) { f.Loss.Soft = -1 },
		"Examples[3].Belief: the teacher's probabilities sum to 0.9": func(f *distill.Fit) { f.Examples[3].Belief = []float64{.5, .4} },
	} {
		f := fit(&linear{})
		change(f)
		require.ErrorContains(t, f.Validate(), want)
		if f.Examples == nil {
			continue // no training step to take
		}
		var err error // of some training step of the first epoch
		for i := 0; i < 3 && err == nil; i++ {
			_, err = f.Step(t.Context(), i)
		}
		require.ErrorContains(t, err, want)
	}
	f := fit(&linear{})
	f.Answers, f.Examples[0].Steps = []int{2, 2}, [][]float64{nil, {math.NaN(), 1}}
	require.ErrorContains(t, f.Validate(), "Examples[0].Steps[1]: the teacher's probability of class 0 is NaN")
}

// A step that is unknown has gradient 0, also in memory that was used before.
func TestEvalWritesTheWholeGradient(t *testing.T) {
	f := &distill.Fit{Classes: 2, Loss: distill.Loss{Soft: 1}, Answers: []int{2, 2}, StepWeight: 1}
	outputs := make([]float64, f.Outputs())
	for _, weight := range []float64{0, 1} {
		f.StepWeight = weight
		for _, steps := range [][][]float64{nil, {nil, nil}, {nil, {.75, .25}}} {
			grad := []float64{9, 9, 9, 9, 9, 9}
			_, err := f.Eval(&distill.Example{Belief: []float64{.5, .5}, Label: -1, Steps: steps}, outputs, grad)
			require.NoError(t, err)
			want := make([]float64, 6)
			if weight > 0 && len(steps) > 0 && steps[1] != nil {
				want[4], want[5] = -.25, .25
			}
			require.InDeltaSlice(t, want, grad, 1e-12)
		}
	}
}
