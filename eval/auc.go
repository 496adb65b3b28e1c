package eval

import (
	"cmp"
	"math"
	"slices"
)

// Scored is one example of a binary classification with a score.
type Scored struct {
	Score    float64
	Positive bool
}

// AUC returns the area under the ROC curve: the probability that a positive
// example scores higher than a negative one, where a tie counts half (the
// Mann-Whitney statistic; Hanley and McNeil 1982,
// doi:10.1148/radiology.143.1.7063747). It is NaN without examples of both
// classes, and if any score is NaN.
func AUC(examples []Scored) float64 {
	sorted := slices.Clone(examples)
	slices.SortFunc(sorted, func(a, b Scored) int { return cmp.Compare(a.Score, b.Score) })
	if len(sorted) == 0 || math.IsNaN(sorted[0].Score) { // NaN sorts first
		return math.NaN()
	}
	var negatives, positives int // so far, with lower scores
	wins := 0.0                  // pairs in which the positive scores higher
	for i := 0; i < len(sorted); {
		var neg, pos int // with this score
		for score := sorted[i].Score; i < len(sorted) && sorted[i].Score == score; i++ {
			if sorted[i].Positive {
				pos++
			} else {
				neg++
			}
		}
		wins += float64(pos) * (float64(negatives) + float64(neg)/2)
		negatives += neg
		positives += pos
	}
	if negatives == 0 || positives == 0 {
		return math.NaN()
	}
	return wins / (float64(negatives) * float64(positives))
}
