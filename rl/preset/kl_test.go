package preset_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// divergences says for every KL estimator of the golden files what the same is
// here, with Beta 1.
var divergences = map[string]map[string]objective.KL{
	"verl-0.9.1": {
		"k1":         {Estimator: objective.K1},
		"abs":        {Estimator: objective.KAbs},
		"k2":         {Estimator: objective.K2},
		"low_var_kl": get("verl-0.9.1").KL,
		"k1+":        {Estimator: objective.K1, StraightThrough: true},
		"k3+":        {Estimator: objective.K3, StraightThrough: true, LogRatioClamp: 20, ValueClamp: 10},
	},
	"skyrl-0.4.0": {
		"k1":  {Estimator: objective.K1},
		"abs": {Estimator: objective.KAbs},
		"k2":  {Estimator: objective.K2},
		"k3":  get("skyrl-0.4.0").KL,
	},
	"openrlhf-0.11.2": {
		"k1":          {Estimator: objective.K1, ValueClamp: 10},
		"k2":          {Estimator: objective.K2, ValueClamp: 10},
		"k3":          get("openrlhf-0.11.2").KL,
		"k1-unbiased": unbiased(objective.K1),
		"k2-unbiased": unbiased(objective.K2),
		"k3-unbiased": unbiased(objective.K3),
	},
}

// unbiased is OpenRLHF's algo.kl.unbiased_gradient.
func unbiased(e objective.KLEstimator) objective.KL {
	return objective.KL{Estimator: e, StraightThrough: true, Importance: true, ImportanceMax: 10, ValueClamp: 10}
}

func TestKL(t *testing.T) {
	in := read[inputs](t, "inputs.json")
	for file, own := range divergences {
		seen := map[string]bool{}
		for _, c := range readGolden(t, file).KL {
			seen[c.Name] = true
			t.Run(file+"/"+c.Name+"/"+c.Batch, func(t *testing.T) {
				k, ok := own[c.Name]
				require.True(t, ok, "a case without a counterpart")
				k.Beta = 1
				value, grad := perToken(t, k, in.Losses[c.Batch])
				requireWithin(t, c.Value, value, c.DType, cancellation(c.DType))
				requireClose(t, c.Grad, grad, c.DType)
			})
		}
		for name := range own {
			assert.True(t, seen[name], "%s has no case %q", file, name)
		}
	}
}

// cancellation is the rounding error of k3, in which terms of about 1 cancel.
func cancellation(dtype string) float64 {
	if dtype == "float32" {
		return 0x1p-23
	}
	return 0
}

// perToken evaluates a KL term on every position, masked ones too, as a
// sequence of one token.
func perToken(t *testing.T, k objective.KL, s step) (value, grad [][]float64) {
	t.Helper()
	for i := range s.LogP {
		value, grad = append(value, nil), append(grad, nil)
		for j := range s.LogP[i] {
			q := &objective.Sequence{
				LogP: s.LogP[i][j : j+1], Old: s.Old[i][j : j+1], Ref: s.Ref[i][j : j+1],
				Weight: []float64{1}, KLWeight: []float64{1}, Grad: []float64{0},
			}
			v, err := k.Eval(q, objective.Metrics{})
			require.NoError(t, err)
			value[i], grad[i] = append(value[i], v), append(grad[i], q.Grad[0])
		}
	}
	return value, grad
}

// The penalty of tinker-cookbook, which goes into the advantages.
func TestRewardKLOfTinker(t *testing.T) {
	s := read[inputs](t, "inputs.json").Losses["step"]
	penalties := map[string]objective.RewardKL{
		"penalty":              {Estimator: objective.K1, Beta: 0.1, Center: true},
		"penalty-discount-0.9": {Estimator: objective.K1, Beta: 0.1, Center: true, Discount: 0.9},
	}
	cases := readGolden(t, "tinker").KL
	require.Len(t, cases, len(penalties))
	for _, c := range cases {
		got := make([][]float64, len(s.Old))
		for i := range got {
			got[i] = make([]float64, len(s.Old[i]))
		}
		_, err := penalties[c.Name].Shape(got, s.Old, s.Ref, s.include())
		require.NoError(t, err)
		requireClose(t, s.masked(c.Value), got, c.DType)
	}
}

// masked is rows with zeros at excluded positions: there the cookbook writes the
// discounted penalties of later tokens, which no loss reads.
func (s step) masked(rows [][]float64) [][]float64 {
	out := make([][]float64, len(rows))
	for i := range rows {
		for j, x := range rows[i] {
			out[i] = append(out[i], x*float64(s.Mask[i][j]))
		}
	}
	return out
}

// The coefficients of TRL's adaptive entropy, and which of its steps apply them.
func TestAdaptiveEntropy(t *testing.T) {
	own := map[string]objective.AdaptiveEntropy{
		"adaptive":        {Target: 0.25, Delta: 0.005, Max: 1},
		"adaptive-bounds": {Coef: 0.01, Target: 0.5, Delta: 0.0075, Min: 0.0075, Max: 0.03},
	}
	cases := readGolden(t, "trl-1.16.0").Entropy
	require.Len(t, cases, len(own))
	for _, c := range cases {
		a, ok := own[c.Name]
		require.True(t, ok, c.Name)
		require.NoError(t, a.Validate())
		for i, s := range c.Steps {
			require.InDelta(t, s.Applied, a.Bonus().Coef, 1e-15, "%s, step %d", c.Name, i)
			require.NoError(t, a.Update(s.Entropy))
			require.Equal(t, s.Coef, a.Coef, "%s, step %d", c.Name, i)
		}
	}
}
