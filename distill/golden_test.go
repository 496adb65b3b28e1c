package distill_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/distill"
)

// The losses and gradients are those of torch's own functions.
func TestGolden(t *testing.T) {
	type rows struct {
		Temperature                  float64
		Outputs, Teacher, Logp, Grad [][]float64
		Loss                         []float64
		Label                        []int
	}
	var want struct {
		Soft, Ordinal []rows
		Hard          rows
		Ranking       struct {
			Scores, Teacher []float64
			Margin, KL      float64
			Temperature     float64
			MarginGrad      []float64 `json:"margin_grad"`
			KLGrad          []float64 `json:"kl_grad"`
		}
	}
	text, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &want))

	check := func(w rows, h distill.Head, l distill.Loss, classes int) {
		for i, outputs := range w.Outputs {
			f := distill.Fit{Classes: classes, Head: h, Loss: l}
			e := distill.Example{Label: -1}
			if w.Teacher != nil {
				e.Belief = w.Teacher[i]
			} else {
				e.Label = w.Label[i]
			}
			loss, grad := evalOne(t, f, e, outputs)
			require.InDelta(t, w.Loss[i], loss, 1e-10)
			require.InDeltaSlice(t, w.Grad[i], grad, 1e-10)
			if w.Logp != nil {
				logp := make([]float64, classes)
				h.LogProbs(outputs, logp)
				require.InDeltaSlice(t, w.Logp[i], logp, 1e-10)
			}
		}
	}
	for _, w := range want.Soft {
		check(w, distill.HeadSoftmax, distill.Loss{Soft: 1, Temperature: w.Temperature}, 4)
	}
	check(want.Hard, distill.HeadSoftmax, distill.Loss{}, 4)
	for _, w := range want.Ordinal {
		check(w, distill.HeadOrdinal, distill.Loss{Soft: 1, Temperature: w.Temperature}, 5)
	}
	r, grad := want.Ranking, make([]float64, 5)
	loss, err := distill.MarginMSE{}.Eval(r.Scores, r.Teacher, grad)
	require.NoError(t, err)
	require.InDelta(t, r.Margin, loss, 1e-10)
	require.InDeltaSlice(t, r.MarginGrad, grad, 1e-10)
	loss, err = distill.ListKL{Temperature: r.Temperature}.Eval(r.Scores, r.Teacher, grad)
	require.NoError(t, err)
	require.InDelta(t, r.KL, loss, 1e-10)
	require.InDeltaSlice(t, r.KLGrad, grad, 1e-10)
}
