package relevance

import (
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/relevance/linear"
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
		s.Grade = linear.Expected(s.P)
	} else if k := slices.Index(labels, s.Label); k >= 0 {
		s.Grade = float64(k)
	}
	if c.Cuts != nil && !math.IsNaN(s.Grade) {
		s.ByGrade = labels[linear.Grade(s.Grade, c.Cuts)]
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

// calibrate finds the temperature of the smallest log-loss, and the cut points of the
// largest quadratic kappa, on rows with known labels. Rows without a distribution are
// left out; with fewer than ten the result is the zero value.
func calibrate(ps [][]float64, gold []int, queries []string) Calibration {
	var known [][]float64
	var labels []int
	var of []string
	for i, p := range ps {
		if p != nil && gold[i] >= 0 {
			known, labels, of = append(known, p), append(labels, gold[i]), append(of, queries[i])
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
		grades[i] = linear.Expected(best.soften(p))
	}
	best.Cuts = linear.BaggedCuts(grades, labels, of, len(known[0]), 1)
	return best
}
