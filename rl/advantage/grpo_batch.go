package advantage

import (
	"errors"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/rollout"
)

// GRPOBatchStd is GRPO with the standard deviation of the whole batch: every
// reward is centred on its group's mean and divided by one number, so that no
// prompt weighs more for being uniform (TRL's scale_rewards="batch", after
// arXiv:2508.08221):
//
//	A_i = (r_i − mean_group(r)) / (std_batch(r) + ε)
//
// Unscorable rewards stay out and get 0, a dead group gets exact zeros, and so
// does a singleton group. A batch whose rewards are all equal gets zeros.
type GRPOBatchStd struct {
	Combine Combine `json:"combine"`
	// Std is the kind of standard deviation.
	Std Std `json:"std"`
	// Epsilon is added to the standard deviation.
	Epsilon float64 `json:"epsilon"`
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none.
	Tolerance float64 `json:"tolerance"`
}

// Validate implements Estimator.
func (e GRPOBatchStd) Validate() error {
	return errors.Join(e.Combine.Validate(), settings.CheckEnum("advantage: GRPOBatchStd.Std", stdNames, e.Std), checkNonNegative("GRPOBatchStd.Epsilon", e.Epsilon), checkTolerance("GRPOBatchStd", e.Tolerance))
}

// Dead implements Estimator.
func (e GRPOBatchStd) Dead(g rollout.Group) string {
	return dead(e.Combine, g, func(r []float64) { DrGRPO{Tolerance: e.Tolerance}.Normalize(r, r) })
}

// Estimate implements Estimator.
func (e GRPOBatchStd) Estimate(batch []rollout.Group) error {
	rewards, err := e.Combine.batch(batch)
	if err != nil {
		return err
	}
	scale := inverse(momentsOf(rewards).std(e.Std) + e.Epsilon)
	for _, g := range batch {
		r := rewards[:len(g)]
		rewards = rewards[len(g):]
		DrGRPO{Tolerance: e.Tolerance}.Normalize(r, r)
		for i := range g {
			Broadcast(&g[i], r[i]*scale)
		}
	}
	return nil
}

// WithWeights implements Weighter.
func (e GRPOBatchStd) WithWeights(w []float64) Estimator {
	e.Combine.Weights = w
	return e
}

// FoldsShaping implements ShapingFolder.
func (e GRPOBatchStd) FoldsShaping() bool { return e.Combine.FoldShaping }
