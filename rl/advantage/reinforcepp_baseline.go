package advantage

import (
	"errors"
	"math"

	"github.com/stepwise-rl/stepwise/rollout"
)

// ReinforcePPBaseline is the variant of REINFORCE++ (arXiv:2501.03262) with a
// group baseline: the outcome reward less its group's mean takes the place of
// the reward.
//
//	R_t = s_t + γ·R_{t+1}    with r − mean_group(r) added to the last s_t
//	A_t = (R_t − mean_batch(R)) / std_batch(R)
//
// A dead group, and a singleton by default, has a centred reward of exactly 0,
// but whitening moves it with the mean of the batch. The unscorable stay out
// of both means and get 0. For Scalar see ReinforcePP.
type ReinforcePPBaseline struct {
	Combine Combine
	// Gamma is the discount γ per token; 0 means 1.
	Gamma float64
	// Singleton is the rule for a single usable reward in a group; verl
	// takes the raw reward.
	Singleton Singleton
	// Whitening says how mean and spread are taken. Its tolerance is that of
	// dead groups, too.
	Whitening Whitening
}

// Validate implements Estimator.
func (e ReinforcePPBaseline) Validate() error {
	return errors.Join(e.Combine.Validate(), checkGamma("ReinforcePPBaseline", e.Gamma), checkSingleton("ReinforcePPBaseline", e.Singleton), e.Whitening.Validate())
}

// Dead implements Estimator: every group with a usable reward is live, because
// whitening gives even a constant one an advantage.
func (e ReinforcePPBaseline) Dead(g rollout.Group) string { return deadIfUnscorable(e.Combine, g) }

// Estimate implements Estimator.
func (e ReinforcePPBaseline) Estimate(batch []rollout.Group) error {
	rewards, err := e.Combine.batch(batch)
	if err != nil {
		return err
	}
	rest := rewards
	norm := DrGRPO{Singleton: e.Singleton, Tolerance: e.Whitening.Tolerance}
	var scratch []float64
	for _, g := range batch {
		r := grow(&scratch, len(g))
		norm.Normalize(r, rest[:len(g)])
		for i, x := range r {
			if !math.IsNaN(rest[i]) {
				rest[i] = x
			}
		}
		rest = rest[len(g):]
	}
	if err := returns(batch, rewards, discount(e.Gamma), !e.Combine.FoldShaping); err != nil {
		return err
	}
	e.Whitening.batch(batch, rewards)
	return nil
}

// FoldsShaping implements ShapingFolder: always.
func (ReinforcePPBaseline) FoldsShaping() bool { return true }
