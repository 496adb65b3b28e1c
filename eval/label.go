package eval

import "math"

// Pair is one example of a classification: its gold label and the predicted
// one. Labels are any integers; where a metric needs an order or distances,
// they are those of the integers.
type Pair struct{ Gold, Pred int }

// Accuracy returns the share of examples whose prediction is the gold label.
func Accuracy(pairs []Pair) float64 {
	return share(pairs, func(p Pair) bool { return p.Gold == p.Pred })
}

// BinaryAccuracy returns the share of examples whose prediction is on the gold
// label's side of the cut: both labels at least cut, or both less.
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

// Mean returns the mean of the values that are not NaN, and their number; NaN
// if that is 0.
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
