package rl_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// watcher sees every sequence that its objective is evaluated on.
type watcher struct {
	objective.Objective
	see func(*objective.Sequence)
}

func (w watcher) Eval(s *objective.Sequence, m objective.Metrics) (float64, error) {
	w.see(s)
	return w.Objective.Eval(s, m)
}

// off is an engine whose log-probs of the first of two tokens are wrong by that much in
// every second completion.
func off(e rollout.Engine, by float64) rollout.Engine {
	return tampered{e, func(c rollout.Completion, emit func(rollout.Completion) error) error {
		if c.Index%2 == 1 {
			c.LogP[0] -= by
		}
		return emit(c)
	}}
}

// Rejection looks at the log-probs before the first update, in every mini-batch and
// epoch, whether or not there is more than one update.
func TestReject(t *testing.T) {
	for _, c := range []struct {
		unit     objective.Unit
		batching rl.Batching
		rejected float64
	}{
		{objective.UnitToken, rl.Batching{}, 16. / 64},
		{objective.UnitWorst, rl.Batching{}, 32. / 64},
		{objective.UnitWorst, rl.Batching{MiniBatches: 2, Epochs: 2}, 32. / 64},
	} {
		cfg, p := setup()
		cfg.Engine = off(p, 0.5)
		cfg.Credit = sam.Outcome{}
		cfg.Batching.Epochs, cfg.Batching.MiniBatches = c.batching.Epochs, c.batching.MiniBatches
		cfg.Reject = []objective.Rejection{{Estimator: objective.KAbs, Unit: c.unit, Max: 0.25}}
		tokens := map[bool]int{} // by whether they have a weight
		sum := 0.
		cfg.Objective = watcher{cfg.Objective, func(s *objective.Sequence) {
			for i, w := range s.Weight {
				tokens[w != 0]++
				sum += w
				require.Equal(t, w, s.KLWeight[i])
			}
		}}
		tr, err := rl.NewTrainer(cfg)
		require.NoError(t, err)
		m, err := tr.Step(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.rejected, m["objective/rejected"])
		require.InDelta(t, 0.125, m["objective/engine_mismatch"], 1e-12, "of all tokens: a quarter is 0.5 off")
		require.InDelta(t, 0.25, m["objective/engine_mismatch_over_01"], 1e-12)
		n := float64(tokens[true] + tokens[false])
		require.Equal(t, c.rejected, float64(tokens[false])/n)
		require.InDelta(t, m["optimizer_steps"], sum, 1e-12, "the weights of every step are a mean over the tokens that are left")
	}
}

func TestEverythingIsRejected(t *testing.T) {
	c, p := setup()
	c.Reject = []objective.Rejection{{Estimator: objective.K2, Max: 0.25}}
	before := logits(p)
	c.Engine = tampered{p, func(c rollout.Completion, emit func(rollout.Completion) error) error {
		c.LogP[0], c.LogP[1] = c.LogP[0]-1, c.LogP[1]-1
		return emit(c)
	}}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	m, err := tr.Step(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1., m["objective/rejected"])
	require.Zero(t, m["optimizer_steps"])
	require.Equal(t, before, logits(p))
}

// The tokens of low entropy are masked, and stay where the aggregation has them stay.
func TestTopEntropy(t *testing.T) {
	for _, accumulate := range []int{1, 3} {
		c, p := setup()
		p.Randomize(5, 1) // so that entropies differ
		c.Batching.Accumulate, c.Batching.Epochs, c.TopEntropy = accumulate, 2, 0.5
		c.Credit = sam.Outcome{}
		high, low, threshold := math.Inf(1), 0., 0.
		kept, all := 0, 0
		c.Objective = watcher{objective.Terms{c.Objective, objective.EntropyBonus{}}, func(s *objective.Sequence) {
			if all >= 64 { // only in the first epoch are the entropies those of the choice
				return
			}
			for i, keep := range s.Keep {
				all++
				if keep {
					kept++
					high = min(high, s.Entropy[i])
				} else {
					low = max(low, s.Entropy[i])
				}
				require.Equal(t, 1./64, s.Weight[i])
			}
		}}
		tr, err := rl.NewTrainer(c)
		require.NoError(t, err)
		m, err := tr.Step(t.Context())
		require.NoError(t, err)
		threshold = m["objective/entropy_threshold"]
		require.Less(t, low, threshold)
		require.GreaterOrEqual(t, high, threshold)
		require.GreaterOrEqual(t, kept, 32)
		require.InDelta(t, float64(kept)/64, m["objective/kept"], 1e-12)
		require.Less(t, kept, 64)
	}
}

// MaskLowEntropy leaves the completions' own masks, and what step credit masked, alone.
func TestTopEntropyAndStepCredit(t *testing.T) {
	keep := []bool{true, false, true, true}
	b := &rl.Batch{Prompts: [][]int32{{0}}, Samples: []rl.Sample{
		{Tokens: []int32{1}, Excluded: true}, // has no entropy, and needs none
		{Tokens: []int32{1, 2, 3, 4}, Sequence: objective.Sequence{Keep: keep, Entropy: []float64{.1, .9, .8, .7}}},
	}}
	threshold, err := b.MaskLowEntropy(.5)
	require.NoError(t, err)
	require.InDelta(t, .75, threshold, 1e-15)
	require.Equal(t, []bool{false, false, true, false}, b.Samples[1].Keep)
	require.Equal(t, []bool{true, false, true, true}, keep)
	b.Samples[1].Entropy = nil
	_, err = b.MaskLowEntropy(.5)
	require.EqualError(t, err, "objective: sequence 1: 0 entropies, want 4 as in Layout.Include")
	_, err = b.Reject(objective.Rejection{Estimator: objective.K3, Max: 1})
	require.EqualError(t, err, "objective: sequence 1: 0 old log-probs, want 4 as in Layout.Include")
}

// The bonus acts after a step whose entropy is below the target, and a run continues
// from a checkpoint bit for bit.
func TestAdaptiveEntropy(t *testing.T) {
	config := func() (rl.Config, *policytest.TablePolicy) {
		c, p := setup()
		c.AdaptiveEntropy = &objective.AdaptiveEntropy{Coef: 0.02, Target: 1.6068, Delta: 0.01, Max: 0.05}
		return c, p
	}
	c, p := config()
	var coefs, on, entropies []float64
	c.Recorder = rl.RecorderFunc(func(_ int64, m map[string]float64) error {
		coefs = append(coefs, m["objective/entropy_coef"])
		on = append(on, m["objective/entropy_bonus_on"])
		entropies = append(entropies, m["objective/entropy"])
		return nil
	})
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	const cut = 5
	var saved []byte
	for range 8 {
		_, err := tr.Step(t.Context())
		require.NoError(t, err)
		if tr.Steps() == cut {
			saved, err = tr.Save(t.Context(), "cut")
			require.NoError(t, err)
		}
	}
	twin := objective.AdaptiveEntropy{Coef: 0.02, Target: 1.6068, Delta: 0.01, Max: 0.05}
	acted := false
	for i := range coefs {
		require.Equal(t, twin.On, on[i] == 1, "step %d", i)
		require.NoError(t, twin.Update(entropies[i]))
		require.Equal(t, twin.Coef, coefs[i], "step %d", i) // kept while the bonus is off
		acted = acted || i < cut && twin.On
	}
	require.Equal(t, twin, *c.AdaptiveEntropy)
	require.True(t, acted, "the entropy fell below its target: %v", entropies)

	want := logits(p)
	again, _ := config()
	again.Policy, again.Engine = p, p // whose memory has the checkpoint
	tr, err = rl.NewTrainer(again)
	require.NoError(t, err)
	require.NoError(t, tr.Restore(t.Context(), saved))
	require.NotEqual(t, want, logits(p))
	for range 8 - cut {
		_, err := tr.Step(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, want, logits(p))
	require.Equal(t, twin, *again.AdaptiveEntropy)

	// A state of another run is refused.
	plain, _ := setup()
	plain.Policy, plain.Engine = p, p
	other, err := rl.NewTrainer(plain)
	require.NoError(t, err)
	require.ErrorContains(t, other.Restore(t.Context(), saved), "it has adaptive_entropy, but Config.AdaptiveEntropy is not set")
	without, err := other.Save(t.Context(), "without")
	require.NoError(t, err)
	require.ErrorContains(t, tr.Restore(t.Context(), without), "it has no adaptive_entropy, but Config.AdaptiveEntropy is set")
	var s map[string]any
	require.NoError(t, json.Unmarshal(saved, &s))
	s["adaptive_entropy"] = map[string]any{"coef": 7, "on": true}
	bad, err := json.Marshal(s)
	require.NoError(t, err)
	require.ErrorContains(t, tr.Restore(t.Context(), bad), "adaptive_entropy.coef is 7, want 0 to 0.05, as Config.AdaptiveEntropy says")
}

// KLCov holds the share of each mini-batch's tokens whose covariance was the largest before
// the first update, in every epoch.
func TestKLCov(t *testing.T) {
	c, p := setup()
	p.Randomize(5, 1) // so that log-probs differ
	c.Credit = sam.Outcome{}
	c.Batching.MiniBatches, c.Batching.Epochs = 2, 2
	chosen, all := 0, 0
	c.Objective = watcher{objective.Terms{c.Objective, objective.KLCov{Share: .25, Coef: .5}}, func(s *objective.Sequence) {
		require.Equal(t, len(s.LogP), len(s.CovRank))
		for i, r := range s.CovRank {
			require.NotZero(t, s.Weight[i])
			all++
			if r <= .25 {
				chosen++
			}
		}
	}}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	m, err := tr.Step(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4*32, all)
	require.Equal(t, 4*8, chosen)
	require.Positive(t, m["objective/kl_cov"], "the policy has moved after the first epoch")

	// On its own: Old, or Rollout without it, and nothing of excluded samples.
	b := &rl.Batch{Prompts: [][]int32{{0}}, Samples: []rl.Sample{
		{Tokens: []int32{1}, Excluded: true},
		{Tokens: []int32{1, 2}, Sequence: objective.Sequence{Adv: []float64{1, 0}, Rollout: []float64{-2, -1}}},
		{Tokens: []int32{1}, Sequence: objective.Sequence{Adv: []float64{-1}, Rollout: []float64{-3}}},
	}}
	require.NoError(t, b.FillCovRank()) // covariances 0, 0 and 1
	require.Equal(t, [][]float64{{0}, {2. / 3, 1}, {0}}, [][]float64{b.Samples[0].CovRank, b.Samples[1].CovRank, b.Samples[2].CovRank})
	b.Samples[1].Old = []float64{-1, -3}
	require.NoError(t, b.FillCovRank()) // mean -7/3: 4/3, 0 and 2/3
	require.Equal(t, [][]float64{{0, 1}, {2. / 3}}, [][]float64{b.Samples[1].CovRank, b.Samples[2].CovRank})
	b.Samples[1].Adv = nil
	require.EqualError(t, b.FillCovRank(), "objective: sequence 1: 0 advantages, want 2 as in Layout.Include")
}

// unsure is a policy without entropies.
type unsure struct{ *policytest.TablePolicy }

func (unsure) Supports() rl.Capabilities { return rl.CapAll &^ rl.CapEntropy }

func TestSelectionsAreChecked(t *testing.T) {
	k3 := []objective.Rejection{{Estimator: objective.K3, Max: 1}}
	adaptive := &objective.AdaptiveEntropy{Target: 1, Delta: 1, Max: 1}
	for want, spoil := range map[string]func(*rl.Config){
		"Config.Reject[1]: objective: Rejection.Max is 0": func(c *rl.Config) { c.Reject = append(k3, objective.Rejection{Estimator: objective.K1}) },
		"but Config.TrustRollout takes those":             func(c *rl.Config) { c.Reject, c.TrustRollout = k3, true },
		"Config.TopEntropy is 20":                         func(c *rl.Config) { c.TopEntropy = 20 },
		"Config.TopEntropy is 0.2, and leaves the tokens of a completion different advantages: objective: GSPO": func(c *rl.Config) {
			c.Objective, c.TopEntropy = objective.Terms{objective.GSPO{ClipLow: 0.1, ClipHigh: 0.1}}, 0.2
		},
		"Config.TopEntropy is NaN": func(c *rl.Config) { c.TopEntropy = math.NaN() },
		"Config.AdaptiveEntropy: objective: AdaptiveEntropy.Target is 0": func(c *rl.Config) {
			c.AdaptiveEntropy = &objective.AdaptiveEntropy{Delta: 1, Max: 1}
		},
		"Config.TopEntropy or AdaptiveEntropy: the policy does not support entropies": func(c *rl.Config) {
			c.Policy, c.TopEntropy = unsure{c.Policy.(*policytest.TablePolicy)}, 0.2
		},
		"AdaptiveEntropy: the policy does not support entropies": func(c *rl.Config) {
			c.Policy, c.AdaptiveEntropy = unsure{c.Policy.(*policytest.TablePolicy)}, adaptive
		},
	} {
		c, _ := setup()
		spoil(&c)
		_, err := rl.NewTrainer(c)
		require.ErrorContains(t, err, want)
	}

	// What fails on the way says which setting asked for it.
	c, p := setup()
	c.TopEntropy = 0.2
	c.Policy = failing{TablePolicy: p}
	tr, err := rl.NewTrainer(c)
	require.NoError(t, err)
	_, err = tr.Step(t.Context())
	require.EqualError(t, err, "rl: entropies for Config.TopEntropy: no forward pass")
	c, p = setup()
	c.Reject = k3
	c.Policy = failing{TablePolicy: p}
	tr, err = rl.NewTrainer(c)
	require.NoError(t, err)
	_, err = tr.Step(t.Context())
	require.EqualError(t, err, "rl: log-probs for Config.Reject: of the policy: no forward pass")
}

// failing is a policy that cannot compute.
type failing struct{ *policytest.TablePolicy }

var errNoPass = errors.New("no forward pass")

func (failing) LogProbs(context.Context, *rl.Batch, [][]float64) error { return errNoPass }

func (failing) ForwardBackward(context.Context, *rl.Batch, objective.Objective) (float64, objective.Metrics, error) {
	return 0, nil, errNoPass
}
