package eval

import (
	"fmt"
	"math"
)

// ECE is the expected calibration error (Naeini et al., AAAI 2015; Guo et al.,
// arXiv:1706.04599): predictions are put into bins of equal width by their confidence,
// a probability, and the distance between a bin's mean confidence and its share of right
// predictions is averaged, weighted by its size. It is 0 where probabilities mean what
// they say, and NaN without predictions. It panics if lengths differ or bins is less
// than 1.
func ECE(confidence []float64, right []bool, bins int) float64 {
	if len(right) != len(confidence) || bins < 1 {
		panic(fmt.Sprintf("eval: ECE of %d confidences, %d outcomes, %d bins", len(confidence), len(right), bins))
	}
	if len(confidence) == 0 {
		return math.NaN()
	}
	gap := make([]float64, bins) // sum of confidence less right
	for i, c := range confidence {
		b := min(max(int(c*float64(bins)), 0), bins-1)
		gap[b] += c
		if right[i] {
			gap[b]--
		}
	}
	sum := 0.0
	for _, g := range gap {
		sum += math.Abs(g)
	}
	return sum / float64(len(confidence))
}
