package preset_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
	"github.com/stepwise-rl/stepwise/rollout"
)

func TestNames(t *testing.T) {
	names := preset.Names()
	assert.True(t, slices.IsSorted(names))
	assert.Equal(t, []string{"openrlhf-0.11.2", "skyrl-0.4.0", "tinker", "trl-1.16", "verl-0.9.1"}, names)
	for _, name := range names {
		p, err := preset.Get(name)
		require.NoError(t, err)
		assert.Equal(t, name, p.Name)
		require.NoError(t, p.Validate(), name)
	}
}

func TestUnknownNameListsTheKnownOnes(t *testing.T) {
	_, err := preset.Get("trl-2")
	assert.EqualError(t, err, `preset: unknown preset "trl-2", want one of openrlhf-0.11.2, skyrl-0.4.0, tinker, trl-1.16, verl-0.9.1`)
}

// Two callers may each change what they got.
func TestPresetsShareNothing(t *testing.T) {
	a, b := get("openrlhf-0.11.2"), get("openrlhf-0.11.2")
	a.RewardKL.Beta = 7
	assert.Equal(t, 0.01, b.RewardKL.Beta)
}

// The KL term is in the loss exactly if it has a coefficient.
func TestObjective(t *testing.T) {
	p := get("trl-1.16")
	assert.Equal(t, p.Policy, p.Objective())
	p.KL.Beta = 0.04
	assert.Equal(t, objective.Terms{p.Policy, p.KL}, p.Objective())
}

// A preset as JSON is the preset, whatever it is laid over, and an overlay
// leaves its base alone.
func TestJSON(t *testing.T) {
	for _, name := range preset.Names() {
		p := get(name)
		text, err := preset.Encode(p)
		require.NoError(t, err)
		for _, base := range []Preset{{}, p, get("openrlhf-0.11.2")} {
			got, err := preset.Decode(text, base)
			require.NoError(t, err)
			require.Equal(t, p, got)
		}
		got, err := preset.Decode([]byte(`{"kl":{"beta":0.5},"reward_kl":{"estimator":"k2","beta":7},"weights":{"a":2},
			"reject":[{"estimator":"k1","unit":"mean","min":-0.01,"max":0.01}],"top_entropy":0.2}`), p)
		require.NoError(t, err)
		require.Equal(t, []objective.Rejection{{Estimator: objective.K1, Unit: objective.UnitMean, Min: -0.01, Max: 0.01}}, got.Reject)
		require.Equal(t, 0.2, got.TopEntropy)
		require.Equal(t, 7., got.RewardKL.Beta)
		require.Equal(t, get(name), p)
		p.KL.Beta = .5
		require.Equal(t, p.KL, got.KL)
	}
}

func TestValidate(t *testing.T) {
	for text, want := range map[string]string{
		`{"estimator":null}`:                                "settings: estimator is missing, want an object with a kind",
		`{"estimator":{"norm":{"epsilon":-1}}}`:             "settings: estimator.norm.epsilon is -1, want a finite number of at least 0",
		`{"kl":{"beta":-1}}`:                                "settings: kl.beta is -1, want a finite number of at least 0",
		`{"reward_kl":{"beta":1}}`:                          "settings: reward_kl.estimator is not set, want k1, k2, k3 or abs",
		`{"weights":{"a":"inf"}}`:                           "settings: weights.a is +Inf, want a finite number",
		`{"reject":[{"estimator":"k1","max":1}]}`:           "settings: reject[0].min is 0, want a negative number of nats for k1, which has either sign",
		`{"top_entropy":2}`:                                 "settings: top_entropy is 2, want a share of the tokens, or 0 for all",
		`{"temperature":0}`:                                 "settings: temperature is 0, want a positive number",
		`{"estimator":{"kind":"gdpo","fold_shaping":true}}`: "settings: estimator.fold_shaping: unknown field, want norm, weights, skip_unscorable, std, epsilon, tolerance or whitening",
	} {
		_, err := preset.Decode([]byte(text), get("trl-1.16"))
		require.EqualError(t, err, want)
	}
}

// plainEstimator has no weights.
type plainEstimator struct{ advantage.Estimator }

// Weights by name come in the order of the rewards.
func TestWeighted(t *testing.T) {
	p := get("trl-1.16")
	e, err := p.Weighted([]string{"a", "b"})
	require.NoError(t, err)
	require.Equal(t, p.Estimator, e)
	p.Weights = map[string]float64{"b": .5}
	e, err = p.Weighted([]string{"a", "b", "c"})
	require.NoError(t, err)
	require.Equal(t, []float64{1, .5, 1}, e.(advantage.GroupEstimator).Combine.Weights)
	_, err = p.Weighted([]string{"a", "c"})
	require.EqualError(t, err, `preset: weights has "b", but the rewards are named a, c`)
	p.Estimator = plainEstimator{p.Estimator}
	_, err = p.Weighted([]string{"b"})
	require.EqualError(t, err, "preset: weights are set, but an estimator of type preset_test.plainEstimator has none")
}

// The values of each preset are the defaults that its release states.
func TestDefaults(t *testing.T) {
	type settings = map[string]any
	ppo := func(p Preset) objective.PPO { return p.Policy.(objective.PPO) }
	for _, c := range []struct {
		preset, file string
		// set is what the preset comes to, in the release's own words; a
		// setting that is not here is one that the preset does not concern.
		set func(p Preset) settings
	}{
		{"trl-1.16", "trl-1.16.0", func(p Preset) settings {
			return settings{
				"beta": p.KL.Beta, "epsilon": ppo(p).ClipLow, "epsilon_high": same(ppo(p).ClipHigh, ppo(p).ClipLow),
				"delta": none(ppo(p).DualClip), "temperature": p.Temperature,
				"mask_truncated_completions": p.ExcludeTruncated, "use_bias_correction_kl": p.KL.Importance,
				"loss_type": "dapo", "scale_rewards": "group", "importance_sampling_level": "token",
				"multi_objective_aggregation": "sum_then_normalize", "entropy_coef": 0., "use_vllm": false,
			}
		}},
		{"verl-0.9.1", "verl-0.9.1", func(p Preset) settings {
			return settings{
				"clip_ratio_low": ppo(p).ClipLow, "clip_ratio_high": ppo(p).ClipHigh, "clip_ratio_c": ppo(p).DualClip,
				"use_kl_loss": p.KL.Beta != 0, "use_kl_in_reward": p.RewardKL != nil, "temperature": p.Temperature,
				"loss_mode": "vanilla", "loss_agg_mode": "token-mean", "entropy_coeff": 0., "kl_loss_type": "low_var_kl",
				"norm_adv_by_std_in_grpo": true, "rollout_correction": nil,
			}
		}},
		{"skyrl-0.4.0", "skyrl-0.4.0", func(p Preset) settings {
			return settings{
				"eps_clip_low": ppo(p).ClipLow, "eps_clip_high": ppo(p).ClipHigh, "kl_estimator_type": p.KL.Estimator.String(),
				"use_kl_loss": p.KL.Beta != 0, "kl_loss_coef": p.KL.Beta, "use_kl_in_reward": p.RewardKL != nil,
				"temperature": p.Temperature, "apply_overlong_filtering": p.ExcludeTruncated,
				"advantage_estimator": "grpo", "grpo_norm_by_std": true, "policy_loss_type": "regular",
				"loss_reduction": "token_mean", "use_entropy_loss": false, "tis_ratio_type": nil, "sequence_mask_metric": nil,
			}
		}},
		{"openrlhf-0.11.2", "openrlhf-0.11.2", func(p Preset) settings {
			return settings{
				"actor.eps_clip": ppo(p).ClipLow, "actor.eps_clip_low_high": same(ppo(p).ClipHigh, ppo(p).ClipLow),
				"actor.dual_clip": none(ppo(p).DualClip), "algo.kl.init_coef": penalty(p),
				"algo.kl.use_loss": p.KL.Beta != 0, "algo.kl.estimator": p.RewardKL.Estimator.String(),
				"algo.advantage.gamma": p.RewardKL.Discount, "rollout.temperature": p.Temperature,
				"actor.policy_loss_type": "ppo", "actor.loss_agg_mode": "token-mean", "actor.entropy_coef": nil,
				"algo.kl.target": nil, "algo.advantage.is_correction_level": "off",
			}
		}},
		{"tinker", "tinker", func(p Preset) settings {
			return settings{
				"loss_fn": "importance_sampling", "kl_penalty_coef": penalty(p), "temperature": p.Temperature,
			}
		}},
	} {
		defaults := readGolden(t, c.file).Defaults
		for name, v := range c.set(get(c.preset)) {
			want, ok := defaults[name]
			require.True(t, ok, "%s has no default of %s", c.file, name)
			assert.Equal(t, want, v, "%s: %s", c.preset, name)
		}
	}
}

// penalty is the coefficient of the KL penalty in the reward.
func penalty(p Preset) float64 {
	if p.RewardKL == nil {
		return 0
	}
	return p.RewardKL.Beta
}

// none is a bound of 0 as the trainers have it: None.
func none(x float64) any {
	if x == 0 {
		return nil
	}
	return x
}

// same is None for an upper bound that follows the lower one.
func same(high, low float64) any {
	if high == low {
		return nil
	}
	return high
}

// A group whose rewards are equal up to rounding has no signal under any
// preset, and an unscorable completion none either.
func TestNoSignal(t *testing.T) {
	for _, name := range preset.Names() {
		g := rollout.Group{
			{Rewards: []float64{0.3}, Tokens: make([]int32, 2)}, {Rewards: []float64{math.Nextafter(0.3, 1)}, Tokens: make([]int32, 1)},
			{Rewards: []float64{math.NaN()}, Tokens: make([]int32, 1)},
		}
		require.NoError(t, get(name).Estimator.Estimate([]rollout.Group{g}))
		for i := range g {
			assert.Zero(t, g[i].Advantage, "%s: completion %d", name, i)
		}
	}
}
