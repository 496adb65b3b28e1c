package preset

import (
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// tinker is the synchronous loop of tinker-cookbook 0.6.1, whose defaults are
// those of Config (tinker_cookbook/rl/train.py), on a server of the Tinker
// protocol. Its losses are those of skyrl/tinker/loss_fns.py of SkyRL 0.4.0, an
// open server; they agree with the protocol's documentation.
func tinker() Preset {
	return Preset{
		Name: "tinker",
		// compute_advantages (tinker_cookbook/rl/data_processing.py): rewards
		// less their group's mean. A group of one gets 0.
		Estimator: advantage.PerGroup(advantage.DrGRPO{}),
		// loss_fn="importance_sampling": no bound, and the ratio is that to the
		// sampler's own log-probs.
		Policy: objective.FromRollout{Objective: objective.ImportanceSampling{}},
		// The server sums; the learning rate must fit the batch.
		Aggregation: objective.TokenSum{},
		// The protocol has no KL in the loss, and kl_penalty_coef=0.0 is none in
		// the advantages. With another coefficient it is {Kind: K1, Beta:
		// kl_penalty_coef, Center: true, Discount: kl_discount_factor}
		// (incorporate_kl_penalty, tinker_cookbook/rl/metrics.py).
		RewardKL: nil,
		// temperature=1.0.
		Temperature: 1,
		// There is no such setting: truncated completions are trained on.
		MaskTruncated: false,
	}
}
