package eval

import "math"

// F1 returns the harmonic mean of precision and recall for one label,
//
//	2·TP / (2·TP + FP + FN)
//
// It is NaN if no example has the label, neither as gold nor as prediction.
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
