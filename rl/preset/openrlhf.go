package preset

import (
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// openRLHF is OpenRLHF 0.11.2 with --algo.advantage.estimator group_norm, its
// GRPO (the default, gae, needs a critic), and nothing else changed. Defaults
// are those of openrlhf/cli/train_ppo_ray.py.
func openRLHF() Preset {
	return Preset{
		Name: "openrlhf-0.11.2",
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
		MaskTruncated: false,
	}
}
