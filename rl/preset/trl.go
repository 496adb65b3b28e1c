package preset

import (
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// trl is the GRPOTrainer of TRL 1.16.0. Defaults are those of GRPOConfig
// (trl/trainer/grpo_config.py); formulas are in trl/trainer/grpo_trainer.py.
func trl() Preset {
	return Preset{
		Name: "trl-1.16",
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
		// loss_type="dapo": the sum over num_items_in_batch, the live tokens of
		// the whole step on all processes.
		Aggregation: objective.TokenMean{},
		// temperature=1.0, which _get_per_token_logps_and_entropies divides by.
		Temperature: 1,
		// mask_truncated_completions=False.
		MaskTruncated: false,
	}
}
