package objective_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// mismatched has importance weights of 4, 1 and 1/4 (and an excluded token), so that
// the sequence's is 1.
func mismatched() *objective.Sequence {
	ln4 := math.Log(4)
	s := newSequence([]float64{-1, -1, -1, excluded}, []float64{-1, -1, -1, excluded}, nil, []float64{1, 1, 1, excluded})
	s.Rollout = []float64{-1 - ln4, -1, -1 + ln4, excluded}
	return s
}

func TestCorrected(t *testing.T) {
	is := objective.ImportanceSampling{}
	for _, c := range []struct {
		name string
		o    objective.Corrected
		want [3]float64 // weight of each token
	}{
		{"truncated", objective.Corrected{Max: 2}, [3]float64{2, 1, .25}},
		{"truncated on both sides", objective.Corrected{Min: .5, Max: 2}, [3]float64{2, 1, .5}},
		{"dropped", objective.Corrected{Outside: objective.OutsideDrop, Min: .5, Max: 5}, [3]float64{4, 1, 0}},
		{"gated", objective.Corrected{Outside: objective.OutsideGate, Min: .5, Max: 5}, [3]float64{1, 1, 0}},
		{"unbounded", objective.Corrected{Max: math.Inf(1)}, [3]float64{4, 1, .25}},
		{"clamped", objective.Corrected{Max: math.Inf(1), LogRatioClamp: math.Log(2)}, [3]float64{2, 1, .5}},
		{"sequence", objective.Corrected{Level: objective.LevelSequence, Max: 2}, [3]float64{1, 1, 1}},
		{"sequence, dropped", objective.Corrected{Level: objective.LevelSequence, Outside: objective.OutsideDrop, Min: 1.5, Max: 2}, [3]float64{}},
		{"geometric", objective.Corrected{Level: objective.LevelGeometric, Max: .5}, [3]float64{.5, .5, .5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Objective = is
			s := mismatched()
			loss, _ := eval(t, c.o, s)
			assert.InDelta(t, -c.want[0]-c.want[1]-c.want[2], loss, 1e-12)
			assert.InDeltaSlice(t, []float64{-c.want[0], -c.want[1], -c.want[2], 0}, s.Grad, 1e-12)
			assert.Equal(t, []float64{1, 1, 1, 0}, s.Weight, "the caller's weights stay")
		})
	}
}

func TestCorrectedLevels(t *testing.T) {
	s := newSequence([]float64{-1, -1}, []float64{-1, -1}, nil, []float64{1, 1})
	s.Rollout = []float64{-1 - math.Log(2), -1 - math.Log(8)}
	for level, want := range map[objective.Level]float64{objective.LevelToken: 2 + 8, objective.LevelSequence: 2 * 16, objective.LevelGeometric: 2 * 4} {
		loss, _ := eval(t, objective.Corrected{Objective: objective.ImportanceSampling{}, Level: level, Max: 100}, s)
		assert.InDelta(t, -want, loss, 1e-12)
	}
}

// Metrics show the mismatch as it is, not what is left of it after truncation.
func TestCorrectedMetricsAreTakenBeforeTruncation(t *testing.T) {
	_, m := eval(t, objective.Corrected{Objective: objective.ImportanceSampling{}, Min: .5, Max: 2}, mismatched())
	ln4 := math.Log(4)
	for name, want := range map[string]objective.Sum{
		"rollout_weight":    {Sum: 5.25, Count: 3},
		"rollout_weight_sq": {Sum: 17.0625, Count: 3},
		"rollout_low":       {Sum: 1, Count: 3},
		"rollout_high":      {Sum: 1, Count: 3},
		"rollout_gap":       {Sum: 2 * ln4, Count: 3},
		"rollout_kl":        {Sum: ln4 * ln4, Count: 3},
	} {
		assert.InDelta(t, want.Sum, m[name].Sum, 1e-12, name)
		assert.Equal(t, want.Count, m[name].Count, name)
	}
	s := newSequence([]float64{0}, []float64{0}, nil, []float64{1})
	s.Rollout = []float64{-1000}
	loss, m := eval(t, objective.Corrected{Objective: objective.ImportanceSampling{}, Max: 2}, s)
	assert.Equal(t, -2., loss)
	assert.Equal(t, 1e6, m["rollout_weight"].Sum, "an infinite weight counts as a million")
}

// OpenRLHF's seq-mask-tis: sequences are selected by their geometric mean,
// tokens reweighted one by one.
func TestCorrectionsNest(t *testing.T) {
	tis := objective.Corrected{Objective: objective.ImportanceSampling{}, Max: 2}
	o := objective.Corrected{Objective: tis, Level: objective.LevelGeometric, Outside: objective.OutsideGate, Min: .5, Max: 5}
	s := mismatched()
	loss, _ := eval(t, o, s)
	assert.InDelta(t, -3.25, loss, 1e-12)
	o.Min = 1.1
	loss, _ = eval(t, o, s)
	assert.Zero(t, loss)
}

func TestCorrectionLeavesRegularisersAlone(t *testing.T) {
	kl := objective.KL{Estimator: objective.K3, Beta: 1}
	s := mismatched()
	s.Ref = []float64{-2, -1.5, -.5, excluded}
	want, _ := eval(t, kl, s)
	grad := append([]float64(nil), s.Grad...)
	got, _ := eval(t, objective.Corrected{Objective: kl, Max: .1}, s)
	assert.Equal(t, want, got)
	assert.Equal(t, grad, s.Grad)
}

func TestFromRollout(t *testing.T) {
	s := mismatched()
	loss, _ := eval(t, objective.FromRollout{Objective: objective.ImportanceSampling{}}, s)
	assert.InDelta(t, -5.25, loss, 1e-12)
	s.Old = nil
	again, _ := eval(t, objective.FromRollout{Objective: objective.ImportanceSampling{}}, s)
	assert.Equal(t, loss, again)
	assert.Equal(t, objective.InputRollout, objective.FromRollout{Objective: objective.ImportanceSampling{}}.Needs())
	s.Rollout = nil
	_, err := objective.FromRollout{Objective: objective.ImportanceSampling{}}.Eval(s, objective.Metrics{})
	require.ErrorContains(t, err, "Rollout is missing")
}

// Its expected gradient, by enumeration, is that of the reverse KL.
func TestDistilledFollowsTheReverseKL(t *testing.T) {
	policy, teacher := logSoftmax(.3, -.8, .5), logSoftmax(-.5, .1, .9)
	o := objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 2}
	want := reverseKLGradient(policy, teacher)
	for z := range want {
		want[z] *= 2
	}
	assert.InDeltaSlice(t, want, expected(t, o, policy, policy, teacher), 1e-15)
}

func TestDistilledAddsToTheAdvantage(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	s := randomSequence(rng, 8)
	_, m := eval(t, objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: .5}, s)
	got := append([]float64(nil), s.Grad...)
	adv := append([]float64(nil), s.Adv...)
	var kl float64
	for i, w := range s.Weight {
		if w != 0 {
			s.Adv[i] += .5 * (s.Ref[i] - s.Old[i])
			if s.Keep[i] {
				kl += s.Old[i] - s.Ref[i]
			}
		}
	}
	eval(t, objective.ImportanceSampling{}, s)
	assert.InDeltaSlice(t, s.Grad, got, 1e-12)
	assert.InDelta(t, kl, m["teacher_kl"].Sum, 1e-12)

	copy(s.Adv, adv)
	for i := range s.Adv {
		s.Adv[i] = 0
	}
	want, _ := eval(t, objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: .5}, s)
	s.Adv = nil
	alone, _ := eval(t, objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: .5}, s)
	require.Equal(t, want, alone, "absent advantages are 0")
}
