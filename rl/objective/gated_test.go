package objective_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// drifted has a drift of .5: the log-probs of four tokens have moved by 1, 0, 0 and 1
// since they were sampled (and those of an excluded one by NaN).
func drifted() *objective.Sequence {
	logp := []float64{-2, -1, -1, -3, excluded}
	s := newSequence(logp, logp, nil, []float64{-2, 3, -1, 0, excluded})
	s.Rollout = []float64{-1, -1, -1, -2, excluded}
	return s
}

func TestGated(t *testing.T) {
	is := objective.ImportanceSampling{}
	for _, c := range []struct {
		name     string
		maxDrift float64
		keep     []bool
		grad     []float64
		gated    float64
	}{
		{"at the bound", .5, nil, []float64{2, -3, 1, 0, 0}, 0},
		{"beyond it", .4999, nil, []float64{0, -3, 0, 0, 0}, 2},
		{"a masked mistake is part of the mean", .4999, []bool{false, true, true, true, true}, []float64{0, -3, 0, 0, 0}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := drifted()
			s.Keep = c.keep
			loss, m := eval(t, objective.Gated{Objective: is, MaxDrift: c.maxDrift}, s)
			assert.Equal(t, c.grad, s.Grad)
			assert.Equal(t, c.grad[0]+c.grad[1]+c.grad[2], loss) // each ratio is 1
			assert.Equal(t, objective.Sum{Sum: 2, Count: 4}, m["drift"])
			assert.Equal(t, objective.Sum{Sum: c.gated, Count: 4}, m["gated"])
			assert.Equal(t, []float64{1, 1, 1, 1, 0}, s.Weight, "the caller's weights stay")
		})
	}
}

// A policy that has come closer to a sequence, as to one that was reinforced, has a
// negative drift, and all of its tokens are trained on.
func TestGatedLetsClosePoliciesLearn(t *testing.T) {
	s := drifted()
	s.Rollout = []float64{-9, -9, -9, -9, excluded}
	loss, m := eval(t, objective.Gated{Objective: objective.ImportanceSampling{}, MaxDrift: 1e-9}, s)
	assert.Zero(t, loss)
	assert.Equal(t, []float64{2, -3, 1, 0, 0}, s.Grad)
	assert.Equal(t, objective.Sum{Sum: -29, Count: 4}, m["drift"])
	assert.Equal(t, objective.Sum{Count: 4}, m["gated"])
}

func TestGateLeavesRegularisersAlone(t *testing.T) {
	kl := objective.KL{Estimator: objective.K3, Beta: 1}
	s := drifted()
	s.Ref = []float64{-2, -1.5, -.5, -1, excluded}
	want, _ := eval(t, kl, s)
	grad := append([]float64(nil), s.Grad...)
	got, _ := eval(t, objective.Gated{Objective: kl, MaxDrift: .1}, s)
	assert.Equal(t, want, got)
	assert.Equal(t, grad, s.Grad)
}

func TestGatedNamesWhatItCannotRead(t *testing.T) {
	o := objective.Gated{Objective: objective.ImportanceSampling{}, MaxDrift: 1}
	s := drifted()
	s.Rollout[1] = excluded
	_, err := o.Eval(s, objective.Metrics{})
	require.EqualError(t, err, "objective: Rollout at position 1 is NaN, want a finite number")
	s.Rollout = nil
	_, err = o.Eval(s, objective.Metrics{})
	require.ErrorContains(t, err, "Rollout is missing")
	s = drifted()
	s.Adv = nil
	_, err = o.Eval(s, objective.Metrics{})
	require.ErrorContains(t, err, "Adv is missing")
}
