package advantage

import (
	"errors"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/rollout"
)

// OPO is the advantage with the length-weighted baseline of "On-Policy RL with
// Optimal reward baseline" (arXiv:2505.23585), which minimises the variance of
// the gradient if its squared norm grows with the length l of a completion:
//
//	A_i = r_i − Σ_j l_j·r_j / Σ_j l_j
//
// where l is Completion.Tokens. Unscorable completions stay out of the sums
// and get 0, a dead group gets exact zeros, a singleton as Singleton sets.
type OPO struct {
	Combine Combine `json:"combine"`
	// Singleton is the advantage in a group with a single usable reward; verl
	// takes the raw reward.
	Singleton Singleton `json:"singleton"`
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none.
	Tolerance float64 `json:"tolerance"`
}

// Validate implements Estimator.
func (e OPO) Validate() error {
	return errors.Join(e.Combine.Validate(), settings.CheckEnum("advantage: OPO.Singleton", singletonNames, e.Singleton), checkTolerance("OPO", e.Tolerance))
}

// Estimate implements Estimator.
func (e OPO) Estimate(batch []rollout.Group) error {
	var scratch []float64
	for gi, g := range batch {
		r := grow(&scratch, len(g))
		if err := e.Combine.group(r, gi, g); err != nil {
			return err
		}
		e.normalize(r, g)
		for i := range g {
			Broadcast(&g[i], r[i])
		}
	}
	return nil
}

// normalize turns the combined rewards r of a group into advantages.
func (e OPO) normalize(r []float64, g rollout.Group) {
	var sum, tokens float64
	for i, x := range r {
		if !math.IsNaN(x) {
			sum += x * float64(len(g[i].Tokens))
			tokens += float64(len(g[i].Tokens))
		}
	}
	m, baseline := momentsOf(r), 0.0
	if tokens > 0 && !(m.n == 1 && e.Singleton == SingletonRaw) {
		baseline = sum / tokens
	}
	if m.n > 1 && m.constant(e.Tolerance) || m.n == 1 && e.Singleton == SingletonZero {
		clear(r)
		return
	}
	affine(r, r, baseline, 1, m.rounding(e.Tolerance))
}

// Dead implements Estimator.
func (e OPO) Dead(g rollout.Group) string {
	return dead(e.Combine, g, func(r []float64) { e.normalize(r, g) })
}

// WithWeights implements Weighter.
func (e OPO) WithWeights(w []float64) Estimator {
	e.Combine.Weights = w
	return e
}

// FoldsShaping implements ShapingFolder.
func (e OPO) FoldsShaping() bool { return e.Combine.FoldShaping }
