package preset

import (
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// verl is verl 0.9.1 with algorithm.adv_estimator=grpo (the default, gae, needs
// a critic) and nothing else changed. Defaults are those of AlgoConfig
// (verl/trainer/config/algorithm.py) and ActorConfig
// (verl/workers/config/actor.py); formulas are in
// verl/trainer/ppo/core_algos.py.
func verl() Preset {
	return Preset{
		Name: "verl-0.9.1",
		// compute_grpo_outcome_advantage: norm_adv_by_std_in_grpo=True, sample
		// std plus epsilon=1e-6. A group of one has mean 0 and std 1, so that
		// the raw reward comes through. A KL penalty in the reward is part of
		// the scores that are compared.
		Estimator: advantage.GroupEstimator{
			Norm:    advantage.GRPO{Epsilon: 1e-6, Singleton: advantage.SingletonRaw},
			Combine: advantage.Combine{FoldShaping: true},
		},
		// loss_mode="vanilla" (compute_policy_loss_vanilla): clip_ratio_low and
		// clip_ratio_high 0.2; clip_ratio_c=3.0 is always on; the log-ratio is
		// clamped to ±20.
		Policy: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2, DualClip: 3, LogRatioClamp: 20},
		// use_kl_loss=False. Its guide to GRPO switches it on, which makes Beta
		// kl_loss_coef=0.001. kl_loss_type="low_var_kl" is k3 with the log-ratio
		// clamped to ±20 and the value to ±10 (kl_penalty_forward).
		KL: objective.KL{Estimator: objective.K3, LogRatioClamp: 20, ValueClamp: 10},
		// loss_agg_mode="token-mean" (agg_loss) over batch_num_tokens, those of
		// the whole mini-batch.
		Aggregation: objective.TokenMean{},
		// temperature=1.0 (RolloutConfig, verl/workers/config/rollout.py).
		Temperature: 1,
		// There is no such setting: truncated completions are trained on.
		MaskTruncated: false,
	}
}
