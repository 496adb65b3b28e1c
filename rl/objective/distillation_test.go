package objective_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// What other programs compute on the same logits; testdata/distillation.py made the
// file.
func TestDistillationGoldens(t *testing.T) {
	type golden struct {
		Name string
		Loss float64
		Grad [][]float64 // of the student's logits
	}
	var file struct {
		Student, Teacher [][]float64
		IDs              [][]int32
		Cases, Rest      []golden
	}
	text, err := os.ReadFile("testdata/distillation.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &file))
	objectives := map[string]objective.Objective{
		"jsd 0": objective.JSD{}, "jsd 0.1": objective.JSD{Beta: .1}, "jsd 0.5": objective.JSD{Beta: .5}, "jsd 0.9": objective.JSD{Beta: .9},
		"jsd 1": objective.JSD{Beta: 1}, "forward kl_div": objective.ForwardKL{}, "reverse kl_div": objective.ReverseKL{},
		"single step": objective.ReverseKL{}, "rest forward": objective.ForwardKL{}, "rest reverse": objective.ReverseKL{},
		"rest jsd 0.3": objective.JSD{Beta: .3},
	}
	all := make([]int32, len(file.Student[0]))
	for i := range all {
		all[i] = int32(i)
	}
	check := func(c golden, ids func(token int) []int32) {
		o := objectives[c.Name]
		require.NotNil(t, o, c.Name)
		delete(objectives, c.Name)
		loss := 0.0
		for i, logits := range file.Student {
			s := compared(buckets(file.Teacher[i], ids(i)), buckets(logits, ids(i)))
			l, _ := eval(t, o, s)
			loss += l
			require.InDeltaSlice(t, c.Grad[i], logitGradient(logits, ids(i), s.Cand), 1e-6, "%s, token %d", c.Name, i)
		}
		require.InDelta(t, c.Loss, loss, 1e-6, c.Name)
	}
	for _, c := range file.Cases {
		check(c, func(int) []int32 { return all })
	}
	for _, c := range file.Rest {
		check(c, func(i int) []int32 { return file.IDs[i] })
	}
	require.Empty(t, objectives)
}

// buckets returns the log-probs of the candidates and of the rest.
func buckets(logits []float64, ids []int32) []float64 {
	p := logSoftmax(append([]float64(nil), logits...)...)
	out, rest := []float64(nil), 0.0
	for _, id := range ids {
		out = append(out, p[id])
		p[id] = math.Inf(-1)
	}
	for _, x := range p {
		rest += math.Exp(x)
	}
	return append(out, math.Log(rest))
}

// logitGradient carries the gradient of the candidates' log-probs to the logits.
func logitGradient(logits []float64, ids []int32, c *objective.Candidates) []float64 {
	p := logSoftmax(append([]float64(nil), logits...)...)
	sum := 0.0
	for _, g := range c.Grad {
		sum += g
	}
	rest := math.Exp(c.LogP[c.K])
	grad := make([]float64, len(p))
	for z := range p {
		grad[z] = -math.Exp(p[z]) * sum
		if rest > 0 {
			grad[z] += c.Grad[c.K] * math.Exp(p[z]) / rest
		}
	}
	for k, id := range ids {
		grad[id] = c.Grad[k] - math.Exp(p[id])*sum
	}
	return grad
}
