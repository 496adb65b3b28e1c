package advantage

import "math"

// OPO is the advantage with the length-weighted baseline of "On-Policy RL with
// Optimal reward baseline" (arXiv:2505.23585), which minimises the variance of
// the gradient if its squared norm grows with the length l of a completion:
//
//	A_i = r_i − Σ_j l_j·r_j / Σ_j l_j
//
// where l is Completion.Tokens. Unscorable completions stay out of the sums
// and get 0, a dead group gets exact zeros, a singleton what Singleton says.
type OPO struct {
	Combine Combine
	// Singleton is the rule for a single usable reward; verl takes the raw
	// reward.
	Singleton Singleton
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
		m, baseline := momentsOf(r), 0.0
		if tokens > 0 && !(m.n == 1 && e.Singleton == SingletonRaw) {
			baseline = sum / tokens
		}
		affine(r, r, baseline, 1, m.noise(e.Tolerance))
		for i := range g {
			g[i].Broadcast(r[i])
		}
	}
	return nil
}

// FoldsShaping implements ShapingFolder.
func (e OPO) FoldsShaping() bool { return e.Combine.FoldShaping }
