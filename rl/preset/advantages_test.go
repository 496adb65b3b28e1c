package preset_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// estimators says for every case of the golden files what the same is here.
// "preset" is the preset's own.
var estimators = map[string]map[string]advantage.Estimator{
	"trl-1.16.0": {
		"group": get("trl-1.16").Estimator,
		"batch": advantage.GRPOBatchStd{Combine: skip, Epsilon: 1e-4},
		"none":  advantage.GroupEstimator{Norm: advantage.DrGRPO{}, Combine: skip},
		"normalize_then_sum": advantage.GDPO{
			Norm: advantage.GRPO{Epsilon: 1e-4}, SkipUnscorable: true,
			Epsilon: 1e-4, Tolerance: -1,
		},
		"rloo": advantage.GroupEstimator{Norm: advantage.RLOO{}, Combine: advantage.Combine{SkipUnscorable: true, FoldShaping: true}},
	},
	"verl-0.9.1": {
		"grpo":                          get("verl-0.9.1").Estimator,
		"grpo_vectorized":               get("verl-0.9.1").Estimator,
		"grpo-no-std":                   advantage.PerGroup(advantage.DrGRPO{Singleton: advantage.SingletonRaw}),
		"grpo_passk":                    advantage.PerGroup(advantage.PassAtK{DivideByStd: true, Epsilon: 1e-6}),
		"grpo_passk-no-std":             advantage.PerGroup(advantage.PassAtK{}),
		"rloo":                          folded(advantage.RLOO{Singleton: advantage.SingletonRaw}),
		"rloo_vectorized":               folded(advantage.RLOO{}),
		"opo":                           advantage.OPO{Singleton: advantage.SingletonRaw},
		"reinforce_plus_plus-gamma-1.0": advantage.ReinforcePP{Whitening: whitening},
		"reinforce_plus_plus-gamma-0.9": advantage.ReinforcePP{Gamma: 0.9, Whitening: whitening},
		"reinforce_plus_plus_baseline":  advantage.ReinforcePPBaseline{Singleton: advantage.SingletonRaw, Whitening: whitening},
		"gdpo": advantage.GDPO{
			Norm:      advantage.GRPO{Epsilon: 1e-6, Singleton: advantage.SingletonRaw},
			Whitening: &whitening,
		},
	},
	"skyrl-0.4.0": {
		"grpo":                  get("skyrl-0.4.0").Estimator,
		"grpo-no-std":           advantage.PerGroup(advantage.DrGRPO{Singleton: advantage.SingletonRaw}),
		"rloo":                  advantage.PerGroup(advantage.RLOO{}),
		"maxrl":                 advantage.PerGroup(advantage.MaxRL{Epsilon: 1e-6, NegativeMean: true, Singleton: advantage.SingletonRaw}),
		"reinforce++":           advantage.ReinforcePP{Whitening: whitening},
		"reinforce++-gamma-0.9": advantage.ReinforcePP{Gamma: 0.9, Whitening: whitening},
	},
	"openrlhf-0.11.2": {
		"group_norm":          get("openrlhf-0.11.2").Estimator,
		"dr_grpo":             advantage.PerGroup(advantage.DrGRPO{}),
		"rloo":                advantage.PerGroup(advantage.RLOO{}),
		"reinforce":           advantage.ReinforcePP{Whitening: clampedWhitening},
		"reinforce-gamma-0.9": advantage.ReinforcePP{Gamma: 0.9, Whitening: clampedWhitening},
		"reinforce_baseline":  advantage.ReinforcePPBaseline{Whitening: clampedWhitening},
	},
	"tinker": {
		"centred": get("tinker").Estimator,
	},
	"prime-rl-559b447": {
		"grpo":   withoutEmpty{advantage.PerGroup(advantage.DrGRPO{})},
		"max_rl": withoutEmpty{advantage.PerGroup(advantage.MaxRL{})},

		"grpo-length_penalty":     advantage.GroupEstimator{Norm: advantage.DrGRPO{}, Combine: advantage.Combine{LengthPenalty: 0.25}},
		"grpo-length_penalty-1.5": advantage.GroupEstimator{Norm: advantage.DrGRPO{}, Combine: advantage.Combine{LengthPenalty: 1.5}},
	},
}

// withoutEmpty takes completions without a token out of their group, as prime-rl
// does: their rewards become unscorable.
type withoutEmpty struct{ advantage.Estimator }

func (e withoutEmpty) Estimate(batch []rollout.Group) error {
	for _, g := range batch {
		for i := range g {
			if len(g[i].Tokens) == 0 {
				g[i].Rewards = []float64{math.NaN()}
			}
		}
	}
	return e.Estimator.Estimate(batch)
}

func (e withoutEmpty) WithWeights([]float64) advantage.Estimator { return e }

var (
	skip             = advantage.Combine{SkipUnscorable: true}
	whitening        = advantage.Whitening{Epsilon: 1e-8}
	clampedWhitening = advantage.Whitening{Std: advantage.StdPopulation, MinVar: 1e-8}
)

func folded(n advantage.Normalizer) advantage.Estimator {
	return advantage.GroupEstimator{Norm: n, Combine: advantage.Combine{FoldShaping: true}}
}

func TestAdvantages(t *testing.T) {
	in := read[inputs](t, "inputs.json")
	for file, own := range estimators {
		seen := map[string]bool{}
		for _, c := range readGolden(t, file).Advantages {
			seen[c.Name] = true
			t.Run(file+"/"+c.Name+"/"+c.Batch, func(t *testing.T) {
				est, ok := own[c.Name]
				require.True(t, ok, "a case without a counterpart")
				est = est.(advantage.Weighter).WithWeights(in.Advantages[c.Batch].Weights)
				got := assign(t, est, in.groups(c.Batch))
				if n, ok := noise[c.Batch]; ok {
					got = requireNoise(t, c, got, n)
				}
				requireClose(t, plain(c.Advantages), got, c.DType)
			})
		}
		for name := range own {
			assert.True(t, seen[name], "%s has no case %q", file, name)
		}
	}
}

// assign estimates and adds what the estimator does not fold in: a penalty of
// each token counts for it and all before it, as in OpenRLHF.
func assign(t *testing.T, est advantage.Estimator, batch []rollout.Group) [][]float64 {
	t.Helper()
	folder, ok := est.(advantage.ShapingFolder)
	if !ok || !folder.FoldsShaping() {
		for _, g := range batch {
			for i := range g {
				g[i].Shaping = toGo(t, g[i].Shaping)
			}
		}
	}
	require.NoError(t, est.Estimate(batch))
	require.NoError(t, advantage.AddShaping(est, batch))
	var adv [][]float64
	for _, g := range batch {
		for i := range g {
			adv = append(adv, g[i].Adv)
		}
	}
	return adv
}

func toGo(t *testing.T, shaping []float64) []float64 {
	if shaping == nil {
		return nil
	}
	k := *get("openrlhf-0.11.2").RewardKL
	k.Beta = 0.25 // as in golden_openrlhf.py
	dst, logp, ref := make([]float64, len(shaping)), make([]float64, len(shaping)), make([]float64, len(shaping))
	for i, x := range shaping {
		logp[i] = -x / k.Beta
	}
	_, err := k.Shape([][]float64{dst}, [][]float64{logp}, [][]float64{ref}, nil)
	require.NoError(t, err)
	return dst
}

// noise names the batches whose first group is constant but for rounding, and
// how many completions it has.
var noise = map[string]int{"noise": 4, "constant": 7}

// requireNoise checks that the first n completions have exact zeros here, and
// puts in their place what the peer makes of its rounding errors.
func requireNoise(t *testing.T, c advantageCase, got [][]float64, n int) [][]float64 {
	t.Helper()
	for i := range n {
		for j := range got[i] {
			require.Zero(t, got[i][j])
			got[i][j] = float64(c.Advantages[i][j])
		}
	}
	return got
}

// What the rounding errors of seven equal rewards come to: float32 and the
// smallest ε make a full advantage of them. This is why a preset differs here.
func TestNoiseOfConstantGroups(t *testing.T) {
	for file, want := range map[string]float64{
		"trl-1.16.0": 2.98e-4, "verl-0.9.1": 0.0289, "skyrl-0.4.0": 0.0289, "openrlhf-0.11.2": 0.898, "prime-rl-559b447": 2.98e-8,
	} {
		for _, c := range readGolden(t, file).Advantages {
			if c.Batch == "constant" && c.Name != "max_rl" {
				assert.InEpsilon(t, want, float64(c.Advantages[0][0]), 0.01, file)
			}
		}
	}
}

// plain is the peer's numbers with its NaNs, for completions that it cannot
// judge, as the zeros that they are here.
func plain(rows [][]number) [][]float64 {
	out := make([][]float64, len(rows))
	for i, r := range rows {
		out[i] = make([]float64, len(r))
		for j, x := range r {
			if !math.IsNaN(float64(x)) {
				out[i][j] = float64(x)
			}
		}
	}
	return out
}
