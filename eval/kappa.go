package eval

import "math"

// QuadraticKappa returns Cohen's kappa with quadratic weights (Cohen 1968,
// doi:10.1037/h0026256),
//
//	1 - Σ_i (gold_i - pred_i)² / (1/n Σ_i Σ_j (gold_i - pred_j)²)
//
// 1 is full agreement, 0 what chance would give with the same label counts.
// Distances are those of the labels themselves: a missing label in the middle
// of the scale still counts as a place on it. It is NaN where every gold label
// and every prediction are the same.
func QuadraticKappa(pairs []Pair) float64 {
	if len(pairs) == 0 {
		return math.NaN()
	}
	// Distances do not change with the origin; one inside the data keeps the
	// sums small, and exact for any usual scale.
	origin := pairs[0].Gold
	var observed, squares, gold, pred float64
	for _, p := range pairs {
		g, q := float64(p.Gold-origin), float64(p.Pred-origin)
		observed += (g - q) * (g - q)
		squares += g*g + q*q
		gold += g
		pred += q
	}
	n := float64(len(pairs))
	// 1/n Σ_i Σ_j (g_i - p_j)² = Σ g² + Σ p² - 2/n Σg Σp
	expected := n*squares - 2*gold*pred
	if expected == 0 {
		return math.NaN()
	}
	return 1 - n*observed/expected
}
