package preset

import (
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/sam"
)

// openRLHF is OpenRLHF 0.11.2 with --algo.advantage.estimator group_norm, its
// GRPO (the default, gae, needs a critic), and nothing else changed. Defaults
// are those of openrlhf/cli/train_ppo_ray.py.
func openRLHF() Preset {
	return Preset{
		Name:   "openrlhf-0.11.2",
		Credit: sam.Outcome{},
		// compute_advantages_and_returns of
		// openrlhf/trainer/ppo_utils/experience_maker.py: sample std plus 1e-9.
		// A group of one would be NaN there and is refused; here it gets 0.
		Estimator: advantage.PerGroup(advantage.GRPO{Epsilon: 1e-9}),
		// actor.policy_loss_type="ppo" (PolicyLoss, openrlhf/models/loss.py):
		// actor.eps_clip=0.2 on both sides, actor.dual_clip=None, the log-ratio
		// clamped to ±20. No correction for the sampling engine
		// (is_correction_level="off").
		Policy: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2, LogRatioClamp: 20},
		// algo.kl.use_loss=False: no KL in the loss. With it Beta is
		// algo.kl.init_coef=0.01, the kind algo.kl.estimator; k3 is what its
		// help recommends there, since k1, the default, has no gradient to
		// speak of. Values are clamped to ±10 (compute_approx_kl,
		// openrlhf/models/utils.py).
		KL: objective.KL{Estimator: objective.K3, ValueClamp: 10},
		// actor.loss_agg_mode="token-mean" (aggregate_loss) over the tokens of
		// the whole optimiser step.
		Aggregation: objective.TokenMean{},
		// algo.kl.init_coef=0.01, algo.kl.estimator="k1", in the reward: each
		// token's penalty is added to the returns of the tokens up to it
		// (get_cumulative_returns with gamma=1), after rewards are compared.
		RewardKL: &objective.RewardKL{Estimator: objective.K1, Beta: 0.01, ValueClamp: 10, Discount: 1},
		// rollout.temperature=1.0.
		Temperature: 1,
		// There is no such setting: truncated completions are trained on.
		ExcludeTruncated: false,
	}
}

// skyRL is SkyRL 0.4.0. Defaults are those of AlgorithmConfig
// (skyrl/train/config/config.py); formulas are in
// skyrl/backends/skyrl_train/utils/ppo_utils.py.
func skyRL() Preset {
	return Preset{
		Name:   "skyrl-0.4.0",
		Credit: sam.Outcome{},
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
		ExcludeTruncated: false,
	}
}

// tinker is the synchronous loop of tinker-cookbook 0.6.1, whose defaults are
// those of Config (tinker_cookbook/rl/train.py), on a server of the Tinker
// protocol. Its losses are those of skyrl/tinker/loss_fns.py of SkyRL 0.4.0, an
// open server; they agree with the protocol's documentation.
func tinker() Preset {
	return Preset{
		Name:   "tinker",
		Credit: sam.Outcome{},
		// compute_advantages (tinker_cookbook/rl/data_processing.py): rewards
		// less their group's mean. A group of one gets 0.
		Estimator: advantage.PerGroup(advantage.DrGRPO{}),
		// loss_fn="importance_sampling": no bound, and the ratio is that to the
		// sampler's own log-probs.
		Policy: objective.FromRollout{Objective: objective.ImportanceSampling{}},
		// The server sums; the learning rate must fit the batch.
		Aggregation: objective.TokenSum{},
		// The protocol has no KL in the loss; K3 is what the others have.
		KL: objective.KL{Estimator: objective.K3},
		// kl_penalty_coef=0.0 is none in the advantages. With another
		// coefficient it is {Estimator: K1, Beta: kl_penalty_coef, Center:
		// true, Discount: kl_discount_factor} (incorporate_kl_penalty,
		// tinker_cookbook/rl/metrics.py).
		RewardKL: nil,
		// temperature=1.0.
		Temperature: 1,
		// There is no such setting: truncated completions are trained on.
		ExcludeTruncated: false,
	}
}

// trl is the GRPOTrainer of TRL 1.16.0. Defaults are those of GRPOConfig
// (trl/trainer/grpo_config.py); formulas are in trl/trainer/grpo_trainer.py.
func trl() Preset {
	return Preset{
		Name:   "trl-1.16",
		Credit: sam.Outcome{},
		// scale_rewards="group": sample std (nanstd of trl/trainer/utils.py)
		// plus 1e-4, in _generate_and_score_completions. A group of one gets 0.
		// Rewards that are None are left out of the weighted sum (nansum); a
		// completion without any reward is out of the statistics and gets 0.
		Estimator: advantage.GroupEstimator{
			Norm:    advantage.GRPO{Epsilon: 1e-4},
			Combine: advantage.Combine{SkipUnscorable: true},
		},
		// epsilon=0.2, and epsilon_high None, hence the same; delta=None is no
		// dual clip (_compute_loss). Log-ratios are not clamped.
		Policy: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
		// beta=0.0: no KL. With another beta it is k3, in the loss, unclamped,
		// times the ratio (use_bias_correction_kl=True).
		KL: objective.KL{Estimator: objective.K3, Importance: true},
		// loss_type="dapo": the sum over num_items_in_batch, the included tokens
		// of the whole step on all processes.
		Aggregation: objective.TokenMean{},
		// temperature=1.0, which _get_per_token_logps_and_entropies divides by.
		Temperature: 1,
		// exclude_truncated_completions=False.
		ExcludeTruncated: false,
	}
}

// verl is verl 0.9.1 with algorithm.adv_estimator=grpo (the default, gae, needs
// a critic) and nothing else changed. Defaults are those of AlgoConfig
// (verl/trainer/config/algorithm.py) and ActorConfig
// (verl/workers/config/actor.py); formulas are in
// verl/trainer/ppo/core_algos.py.
func verl() Preset {
	return Preset{
		Name:   "verl-0.9.1",
		Credit: sam.Outcome{},
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
		ExcludeTruncated: false,
	}
}
