package advantage

import "errors"

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
	Norm    Normalizer
	Combine Combine
}

// Estimate implements Estimator. It is an error if Norm is nil.
func (e GroupEstimator) Estimate(batch []Group) error {
	if e.Norm == nil {
		return errors.New("advantage: GroupEstimator.Norm is nil, want a normaliser such as GRPO")
	}
	var scratch []float64
	for gi, g := range batch {
		r := grow(&scratch, len(g))
		if err := e.Combine.group(r, gi, g); err != nil {
			return err
		}
		e.Norm.Normalize(r, r)
		for i := range g {
			g[i].Broadcast(r[i])
		}
	}
	return nil
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
