package advantage_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

func ExampleDecode() {
	est, err := advantage.Decode([]byte(`{"kind":"group","norm":{"kind":"grpo","epsilon":1e-4}}`))
	if err != nil {
		panic(err)
	}
	batch := []rollout.Group{{{Rewards: []float64{1}}, {Rewards: []float64{0}}}}
	if err := est.Estimate(batch); err != nil {
		panic(err)
	}
	fmt.Printf("%.4f %.4f\n", batch[0][0].Advantage, batch[0][1].Advantage)
	text, _ := advantage.Encode(est)
	fmt.Printf("%s\n", text)
	_, err = advantage.Decode([]byte(`{"kind":"group","norm":{"kind":"grpo","eps":1e-4}}`))
	fmt.Println(err)
	// Output:
	// 0.7070 -0.7070
	// {"kind":"group","norm":{"kind":"grpo","std":"sample","epsilon":0.0001,"min_std":0,"singleton":"zero","tolerance":0},"combine":{"weights":null,"skip_unscorable":false,"fold_shaping":false,"length_penalty":0}}
	// settings: norm.eps: unknown field, want std, epsilon, min_std, singleton or tolerance
}

// mine is a custom estimator and normaliser.
type mine struct {
	advantage.DrGRPO `json:"base"`
	Shift            float64 `json:"shift"`
}

func (mine) Estimate([]rollout.Group) error { return nil }
func (mine) Dead(rollout.Group) string      { return "" }

// Every kind comes back from JSON as it was, with all settings away from zero.
func TestKinds(t *testing.T) {
	own := advantage.Kinds{"mine": mine{Shift: 2}}
	combine := advantage.Combine{Weights: []float64{1, -.5}, SkipUnscorable: true, FoldShaping: true, LengthPenalty: .25}
	whitening := advantage.Whitening{Std: advantage.StdPopulation, Epsilon: 1, MinVar: 2, Tolerance: -1}
	norms := []advantage.Normalizer{
		advantage.GRPO{Std: advantage.StdPopulation, Epsilon: 1, MinStd: 2, Singleton: advantage.SingletonRaw, Tolerance: -1},
		advantage.DrGRPO{Singleton: advantage.SingletonRaw, Tolerance: 1},
		advantage.RLOO{Singleton: advantage.SingletonRaw, Tolerance: 1},
		advantage.MaxRL{Epsilon: 1, NegativeMean: true, Singleton: advantage.SingletonRaw, Tolerance: 1},
		advantage.PassAtK{K: 2, DivideByStd: true, Std: advantage.StdPopulation, Epsilon: 1, Tolerance: 1},
		mine{Shift: 3},
	}
	ests := []advantage.Estimator{
		advantage.GRPOBatchStd{Combine: combine, Std: advantage.StdPopulation, Epsilon: 1, Tolerance: 1},
		advantage.OPO{Combine: combine, Singleton: advantage.SingletonRaw, Tolerance: 1},
		advantage.GDPO{Norm: mine{}, Weights: []float64{2}, SkipUnscorable: true, Std: advantage.StdPopulation, Epsilon: 1, Tolerance: 1, Whitening: &whitening},
		advantage.ReinforcePP{Combine: combine, Gamma: .5, Whitening: whitening},
		advantage.ReinforcePPBaseline{Combine: combine, Gamma: .5, Singleton: advantage.SingletonRaw, Whitening: whitening},
		mine{Shift: 1},
	}
	for _, n := range norms {
		ests = append(ests, advantage.GroupEstimator{Norm: n, Combine: combine})
	}
	seen := map[string]bool{}
	for _, e := range ests {
		text, err := advantage.Encode(e, own)
		require.NoError(t, err)
		got, err := advantage.Decode(text, own)
		require.NoError(t, err)
		require.Equal(t, e, got)
		seen[fmt.Sprintf("%T", e)] = true
		if g, ok := e.(advantage.GroupEstimator); ok {
			seen[fmt.Sprintf("%T", g.Norm)] = true
		}
		if w, ok := e.(advantage.Weighter); ok {
			text, err := advantage.Encode(w.WithWeights([]float64{7, 8}), own)
			require.NoError(t, err)
			require.Contains(t, string(text), `"weights":[7,8]`)
		}
	}
	for name, k := range advantage.BuiltInKinds() {
		require.True(t, seen[fmt.Sprintf("%T", k)], name)
	}
	e, err := advantage.Decode([]byte(`{"kind":"mine"}`), own)
	require.NoError(t, err)
	require.Equal(t, mine{Shift: 2}, e, "the prototype's default")
}

// What Validate refuses is not decoded, and an unknown type not encoded.
func TestKindsErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind":"group"}`: "settings: norm is nil, want a normaliser such as GRPO",
		`{"kind":"group","norm":{"kind":"grpo","epsilon":-1}}`:     "settings: norm.epsilon is -1, want a finite number of at least 0",
		`{"kind":"opo","combine":{"length_penalty":-1}}`:           "settings: combine.length_penalty is -1, want a finite number of at least 0",
		`{"kind":"group","norm":{"kind":"pass_at_k","k":1}}`:       "settings: norm.k is 1, want 0 (the whole group) or at least 2",
		`{"kind":"group","norm":{"kind":"grpo","std":"variance"}}`: `settings: norm.std: want sample or population, got "variance"`,
		`{"kind":"grpo"}`: `settings: kind: kind "grpo" stands for Go type advantage.GRPO, which is no advantage.Estimator, want gdpo, group, grpo_batch_std, opo, reinforce_pp or reinforce_pp_baseline`,
	} {
		_, err := advantage.Decode([]byte(text))
		require.EqualError(t, err, want)
	}
	_, err := advantage.Encode(mine{})
	require.ErrorContains(t, err, "Go type advantage_test.mine has no kind")
	_, err = advantage.Encode(advantage.PerGroup(advantage.GRPO{Epsilon: math.NaN()}))
	require.EqualError(t, err, "settings: norm.epsilon: want a number, got NaN")
}
