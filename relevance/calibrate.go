package relevance

import (
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/eval"
)

// Calibration makes the probabilities of a model mean what they say. It is found on
// validation rows.
type Calibration struct {
	// Temperature softens the distribution: P^(1/Temperature), normalised. 0 means 1.
	Temperature float64 `json:"temperature"`
	// Cuts are the expected grades from which the second, third, … label is said,
	// chosen for quadratic kappa; nil without.
	Cuts []float64 `json:"cuts,omitempty"`
}

// apply fills in what follows from a distribution, or if that is nil from the label.
func (c *Calibration) apply(s *Score, p []float64, labels []string) {
	s.Grade = math.NaN()
	if p != nil {
		s.P = c.soften(p)
		s.Grade = grade(s.P)
	} else if k := slices.Index(labels, s.Label); k >= 0 {
		s.Grade = float64(k)
	}
	if c.Cuts != nil && !math.IsNaN(s.Grade) {
		s.ByGrade = labels[cut(s.Grade, c.Cuts)]
	}
}

func (c *Calibration) soften(p []float64) []float64 {
	if c.Temperature == 0 || c.Temperature == 1 {
		return p
	}
	z := make([]float64, len(p))
	for i, v := range p {
		z[i] = math.Log(max(v, 1e-12)) / c.Temperature
	}
	return softmax(z)
}

func argmax(p []float64) int { return slices.Index(p, slices.Max(p)) }

// grade is the expected label as a position among the labels.
func grade(p []float64) float64 {
	sum := 0.0
	for i, v := range p {
		sum += float64(i) * v
	}
	return sum
}

// cut is the number of cut points that a grade reaches.
func cut(grade float64, cuts []float64) int {
	n := 0
	for _, c := range cuts {
		if grade >= c {
			n++
		}
	}
	return n
}

// calibrate finds the temperature of the smallest log-loss, and the cut points of the
// largest quadratic kappa, on rows with known labels. Rows without a distribution are
// left out; with fewer than ten the result is the zero value.
func calibrate(ps [][]float64, gold []int) Calibration {
	var known [][]float64
	var labels []int
	for i, p := range ps {
		if p != nil && gold[i] >= 0 {
			known, labels = append(known, p), append(labels, gold[i])
		}
	}
	if len(known) < 10 {
		return Calibration{}
	}
	best := Calibration{Temperature: 1}
	loss := math.Inf(1)
	for t := .5; t <= 5; t *= 1.1 {
		c, sum := Calibration{Temperature: t}, 0.0
		for i, p := range known {
			sum -= math.Log(max(c.soften(p)[labels[i]], 1e-9))
		}
		if sum < loss {
			loss, best.Temperature = sum, t
		}
	}
	grades := make([]float64, len(known))
	for i, p := range known {
		grades[i] = grade(best.soften(p))
	}
	best.Cuts = tuneCuts(grades, labels, len(known[0]))
	return best
}

// tuneCuts finds ordered cut points on the expected grade by coordinate search for
// quadratic kappa.
func tuneCuts(grades []float64, gold []int, labels int) []float64 {
	kappa := func(cuts []float64) float64 {
		pairs := make([]eval.Pair, len(grades))
		for i, g := range grades {
			pairs[i] = eval.Pair{Gold: gold[i], Pred: cut(g, cuts)}
		}
		v := eval.QuadraticKappa(pairs)
		if math.IsNaN(v) {
			return -1
		}
		return v
	}
	cuts := make([]float64, labels-1)
	for i := range cuts {
		cuts[i] = float64(i) + .5
	}
	best := kappa(cuts)
	for range 4 {
		before := best
		for k := range cuts {
			lo, hi := 0.0, float64(labels-1)
			if k > 0 {
				lo = cuts[k-1]
			}
			if k+1 < len(cuts) {
				hi = cuts[k+1]
			}
			old := cuts[k]
			kept := old
			for x := .05; x < float64(labels-1); x += .05 {
				if x < lo || x > hi {
					continue
				}
				cuts[k] = x
				if v := kappa(cuts); v > best+1e-9 {
					best, kept = v, x
				}
			}
			cuts[k] = kept
		}
		if best-before < 1e-6 {
			break
		}
	}
	return cuts
}
