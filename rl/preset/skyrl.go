package preset

import (
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// skyRL is SkyRL 0.4.0. Defaults are those of AlgorithmConfig
// (skyrl/train/config/config.py); formulas are in
// skyrl/backends/skyrl_train/utils/ppo_utils.py.
func skyRL() Preset {
	return Preset{
		Name: "skyrl-0.4.0",
		// advantage_estimator="grpo" (compute_grpo_outcome_advantage) with
		// grpo_norm_by_std=True: sample std plus epsilon=1e-6; a group of one
		// keeps its raw reward. A KL penalty in the reward is part of the
		// scores that are compared.
		Estimator: advantage.GroupEstimator{
			Norm:    advantage.GRPO{Epsilon: 1e-6, Singleton: advantage.SingletonRaw},
			Combine: advantage.Combine{FoldShaping: true},
		},
		// policy_loss_type="regular" (ppo_policy_loss): eps_clip_low and
		// eps_clip_high 0.2, no dual clip, the log-ratio clamped to ±20
		// (safe_exp_delta).
		Policy: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2, LogRatioClamp: 20},
		// use_kl_loss=True, kl_loss_coef=0.001, kl_estimator_type="k3", clamped
		// as in verl (compute_approx_kl).
		KL: objective.KL{Estimator: objective.K3, Beta: 0.001, LogRatioClamp: 20, ValueClamp: 10},
		// loss_reduction="token_mean", by scaling the advantages
		// (apply_loss_reduction_to_advantages_minibatch). The KL is the mean
		// over all sequences of their token means whatever the reduction
		// (skyrl/backends/skyrl_train/workers/worker.py).
		Aggregation: objective.Split{
			Loss:        objective.TokenMean{},
			Regularizer: objective.SeqMeanTokenMean{CountEmpty: true},
		},
		// temperature=None: that of SamplingParams, 1.0.
		Temperature: 1,
		// apply_overlong_filtering=False (GeneratorConfig).
		MaskTruncated: false,
	}
}
