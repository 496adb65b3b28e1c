package advantage

import (
	"errors"

	"github.com/stepwise-rl/stepwise/rollout"
)

// ReinforcePP is REINFORCE++ (arXiv:2501.03262): discounted token returns,
// whitened over all tokens of the batch. There is no group baseline.
//
//	R_t = s_t + γ·R_{t+1}    with the outcome reward r added to the last s_t
//	A_t = (R_t − mean_batch(R)) / std_batch(R)
//
// The shaping rewards s (a KL penalty) are part of the return. Scalar, whose
// sign step credit goes by, is the outcome reward alone, shifted and scaled
// like the returns.
//
// Groups mean nothing here: a singleton is like any other, and a dead group
// gets the advantage that its reward has in the batch. An unscorable
// completion stays out of the statistics and gets 0. A batch of equal returns
// gets exact zeros.
type ReinforcePP struct {
	Combine Combine
	// Gamma is the discount γ per token; 0 means 1.
	Gamma float64
	// Whitening says how mean and spread are taken.
	Whitening Whitening
}

// Validate implements Estimator.
func (e ReinforcePP) Validate() error {
	return errors.Join(e.Combine.Validate(), checkGamma("ReinforcePP", e.Gamma), e.Whitening.Validate())
}

// Dead implements Estimator: every group with a usable reward is live.
func (e ReinforcePP) Dead(g rollout.Group) string { return deadIfUnscorable(e.Combine, g) }

// Estimate implements Estimator.
func (e ReinforcePP) Estimate(batch []rollout.Group) error {
	rewards, err := e.Combine.batch(batch)
	if err != nil {
		return err
	}
	if err := returns(batch, rewards, discount(e.Gamma), !e.Combine.FoldShaping); err != nil {
		return err
	}
	e.Whitening.batch(batch, rewards)
	return nil
}

// FoldsShaping implements ShapingFolder: always.
func (ReinforcePP) FoldsShaping() bool { return true }

func discount(gamma float64) float64 {
	if gamma == 0 {
		return 1
	}
	return gamma
}
