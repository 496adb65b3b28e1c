package eval

import (
	"maps"
	"math"
	"slices"
)

// Pair is one example of a classification: its gold label and the predicted
// one. Labels are any integers. A metric that needs their order or distances
// takes those of the integers.
type Pair struct{ Gold, Pred int }

// Accuracy returns the share of examples whose prediction is the gold label.
func Accuracy(pairs []Pair) float64 {
	return share(pairs, func(p Pair) bool { return p.Gold == p.Pred })
}

// Right returns 1 for every example whose prediction is the gold label, and 0 for the
// others: a run's values for CompareRuns. Their mean is Accuracy.
func Right(pairs []Pair) []float64 {
	right := make([]float64, len(pairs))
	for i, p := range pairs {
		if p.Gold == p.Pred {
			right[i] = 1
		}
	}
	return right
}

// BinaryAccuracy returns the share of examples whose two labels are on the same
// side of the cut: both at least cut, or both less.
func BinaryAccuracy(pairs []Pair, cut int) float64 {
	return share(pairs, func(p Pair) bool { return (p.Gold >= cut) == (p.Pred >= cut) })
}

func share(pairs []Pair, right func(Pair) bool) float64 {
	if len(pairs) == 0 {
		return math.NaN()
	}
	n := 0
	for _, p := range pairs {
		if right(p) {
			n++
		}
	}
	return float64(n) / float64(len(pairs))
}

// F1 returns the harmonic mean of precision and recall for one label,
//
//	2·TP / (2·TP + FP + FN)
//
// It is NaN if the label is neither a gold label nor a prediction of any example.
func F1(pairs []Pair, label int) float64 {
	var both, either int // TP; 2·TP + FP + FN
	for _, p := range pairs {
		if p.Gold == label {
			either++
		}
		if p.Pred == label {
			either++
		}
		if p.Gold == label && p.Pred == label {
			both++
		}
	}
	if either == 0 {
		return math.NaN()
	}
	return 2 * float64(both) / float64(either)
}

// MacroF1 returns the unweighted mean of F1 over the labels for which it is
// defined; NaN if there is none. With nil labels it takes all that occur.
func MacroF1(pairs []Pair, labels []int) float64 {
	if labels == nil {
		labels = NewConfusion(pairs).Labels
	}
	scores := make([]float64, len(labels))
	for i, label := range labels {
		scores[i] = F1(pairs, label)
	}
	mean, _ := Mean(scores)
	return mean
}

// Answered returns the pairs whose prediction is a label, which means not negative:
// rl.Rollouts.Pairs gives -1 for an answer that could not be parsed. It is for metrics
// that take labels as numbers, such as QuadraticKappa.
func Answered(pairs []Pair) []Pair {
	var out []Pair
	for _, p := range pairs {
		if p.Pred >= 0 {
			out = append(out, p)
		}
	}
	return out
}

// QuadraticKappa returns Cohen's kappa with quadratic weights (Cohen 1968,
// doi:10.1037/h0026256),
//
//	1 - Σ_i (gold_i - pred_i)² / (1/n Σ_i Σ_j (gold_i - pred_j)²)
//
// 1 is full agreement, 0 the agreement of chance with the same label counts.
// Distances are those of the labels as integers, so a label of the scale that
// does not occur keeps its place on it, and a prediction that stands for no label
// would distort it; see Answered. It is NaN if all gold labels and predictions are
// the same label.
func QuadraticKappa(pairs []Pair) float64 {
	if len(pairs) == 0 {
		return math.NaN()
	}
	// The origin does not matter to distances. One inside the data keeps the
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

// Confusion counts examples by gold label and predicted label.
type Confusion struct {
	// Labels holds every label that occurs, ascending.
	Labels []int
	// Counts[i][j] is the number of examples with gold label Labels[i] and
	// predicted label Labels[j].
	Counts [][]int
}

// NewConfusion counts the pairs by their labels.
func NewConfusion(pairs []Pair) Confusion {
	index := make(map[int]int)
	for _, p := range pairs {
		index[p.Gold], index[p.Pred] = 0, 0
	}
	c := Confusion{Labels: slices.Sorted(maps.Keys(index))}
	c.Counts = make([][]int, len(c.Labels))
	for i, label := range c.Labels {
		index[label] = i
		c.Counts[i] = make([]int, len(c.Labels))
	}
	for _, p := range pairs {
		c.Counts[index[p.Gold]][index[p.Pred]]++
	}
	return c
}

// Mean returns the mean of the values that are not NaN, and their number. The
// mean is NaN if there are none.
func Mean(values []float64) (mean float64, n int) {
	sum := 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			sum += v
			n++
		}
	}
	return sum / float64(n), n
}
