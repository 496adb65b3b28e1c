package advantage

import (
	"errors"

	"github.com/stepwise-rl/stepwise/rollout"
)

// PerGroup lifts a Normalizer to an Estimator of the weighted sum of the
// rewards; without weights, of their plain sum. Set Combine on the result for
// other ways to combine them. It panics if n is nil.
func PerGroup(n Normalizer, weights ...float64) GroupEstimator {
	if n == nil {
		panic("advantage: PerGroup of a nil Normalizer")
	}
	return GroupEstimator{Norm: n, Combine: Combine{Weights: weights}}
}

// GroupEstimator is an Estimator that compares completions within each group
// and gives every token its completion's advantage.
type GroupEstimator struct {
	Norm    Normalizer `json:"norm"`
	Combine Combine    `json:"combine"`
}

// Validate implements Estimator.
func (e GroupEstimator) Validate() error {
	if e.Norm == nil {
		return errors.New("advantage: GroupEstimator.Norm is nil, want a normaliser such as GRPO")
	}
	return errors.Join(e.Norm.Validate(), e.Combine.Validate())
}

// Dead implements Estimator.
func (e GroupEstimator) Dead(g rollout.Group) string {
	return dead(e.Combine, g, func(r []float64) { e.Norm.Normalize(r, r) })
}

// Estimate implements Estimator.
func (e GroupEstimator) Estimate(batch []rollout.Group) error {
	var scratch []float64
	for gi, g := range batch {
		r := grow(&scratch, len(g))
		if err := e.Combine.group(r, gi, g); err != nil {
			return err
		}
		e.Norm.Normalize(r, r)
		for i := range g {
			Broadcast(&g[i], r[i])
		}
	}
	return nil
}

// WithWeights implements Weighter.
func (e GroupEstimator) WithWeights(w []float64) Estimator {
	e.Combine.Weights = w
	return e
}

// FoldsShaping implements ShapingFolder.
func (e GroupEstimator) FoldsShaping() bool { return e.Combine.FoldShaping }

// grow returns n elements of *buf, enlarging it if it is too small.
func grow(buf *[]float64, n int) []float64 {
	if cap(*buf) < n {
		*buf = make([]float64, n)
	}
	return (*buf)[:n]
}
