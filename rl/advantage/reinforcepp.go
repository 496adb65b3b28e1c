package advantage

import (
	"cmp"
	"errors"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/rollout"
)

// ReinforcePP is REINFORCE++ (arXiv:2501.03262): discounted token returns,
// whitened over all tokens of the batch. There is no group baseline.
//
//	R_t = s_t + γ·R_{t+1}    with the outcome reward r added to the last s_t
//	A_t = (R_t − mean_batch(R)) / std_batch(R)
//
// The shaping rewards s (a KL penalty) are part of the return. The completion's
// Advantage, whose sign step credit reads, is the outcome reward alone, shifted
// and scaled like the returns.
//
// Groups play no part here: a singleton is like any other, and a dead group gets
// the advantage that its reward has in the batch. An unscorable completion stays
// out of the statistics and gets 0. A batch of equal returns gets exact zeros.
type ReinforcePP struct {
	Combine Combine `json:"combine"`
	// Gamma is the discount γ per token; 0 means 1.
	Gamma float64 `json:"gamma"`
	// Whitening holds the settings of the whitening.
	Whitening Whitening `json:"whitening"`
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

// WithWeights implements Weighter.
func (e ReinforcePP) WithWeights(w []float64) Estimator {
	e.Combine.Weights = w
	return e
}

// FoldsShaping implements ShapingFolder: always.
func (ReinforcePP) FoldsShaping() bool { return true }

// discount is the γ that a setting of gamma means.
func discount(gamma float64) float64 { return cmp.Or(gamma, 1) }

// ReinforcePPBaseline is the variant of REINFORCE++ (arXiv:2501.03262) with a
// group baseline: the outcome reward less its group's mean takes the place of
// the reward.
//
//	R_t = s_t + γ·R_{t+1}    with r − mean_group(r) added to the last s_t
//	A_t = (R_t − mean_batch(R)) / std_batch(R)
//
// A dead group, and a singleton by default, has a centred reward of exactly 0,
// but whitening moves it with the mean of the batch. Unscorable completions stay
// out of both means and get 0. For the completion's Advantage see ReinforcePP.
type ReinforcePPBaseline struct {
	Combine Combine `json:"combine"`
	// Gamma is the discount γ per token; 0 means 1.
	Gamma float64 `json:"gamma"`
	// Singleton is the advantage in a group with a single usable reward, before
	// whitening; verl takes the raw reward.
	Singleton Singleton `json:"singleton"`
	// Whitening holds the settings of the whitening. Its tolerance also applies
	// to dead groups.
	Whitening Whitening `json:"whitening"`
}

// Validate implements Estimator.
func (e ReinforcePPBaseline) Validate() error {
	return errors.Join(e.Combine.Validate(), checkGamma("ReinforcePPBaseline", e.Gamma), settings.CheckEnum("advantage: ReinforcePPBaseline.Singleton", singletonNames, e.Singleton), e.Whitening.Validate())
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

// WithWeights implements Weighter.
func (e ReinforcePPBaseline) WithWeights(w []float64) Estimator {
	e.Combine.Weights = w
	return e
}

// FoldsShaping implements ShapingFolder: always.
func (ReinforcePPBaseline) FoldsShaping() bool { return true }
