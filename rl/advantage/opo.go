package advantage

import "math"

// OPO is the advantage with the length-weighted baseline of "On-Policy RL with
// Optimal reward baseline" (arXiv:2505.23585), which minimises the variance of
// the gradient if its squared norm grows with the length l of a completion:
//
//	A_i = r_i − Σ_j l_j·r_j / Σ_j l_j
//
// where l is Completion.Tokens. Unscorable completions stay out of the sums
// and get 0, a dead group gets exact zeros, and so does a singleton.
type OPO struct {
	Combine Combine
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none.
	Tolerance float64
}

// Estimate implements Estimator.
func (e OPO) Estimate(batch []Group) error {
	var scratch []float64
	for gi, g := range batch {
		r := grow(&scratch, len(g))
		if err := e.Combine.group(r, gi, g); err != nil {
			return err
		}
		var sum, tokens float64
		for i, x := range r {
			if !math.IsNaN(x) {
				sum += x * float64(g[i].Tokens)
				tokens += float64(g[i].Tokens)
			}
		}
		baseline := 0.0
		if tokens > 0 {
			baseline = sum / tokens
		}
		affine(r, r, baseline, 1, momentsOf(r).noise(e.Tolerance))
		for i := range g {
			g[i].Broadcast(r[i])
		}
	}
	return nil
}

// FoldsShaping implements ShapingFolder.
func (e OPO) FoldsShaping() bool { return e.Combine.FoldShaping }
