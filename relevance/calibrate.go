package relevance

import (
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/report"
)

// Calibration makes the probabilities of a model mean what they say. It is found on
// validation rows.
type Calibration struct {
	// Temperature softens the distribution: P^(1/Temperature), normalised. 0 means 1.
	Temperature float64 `json:"temperature"`
	// Cuts are the expected grades from which the second, third, … label is said,
	// chosen for quadratic kappa; nil where they do not help on other queries.
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
	return distill.HeadSoftmax.Probs(z, len(z))
}

// calibrate finds the temperature of the smallest log-loss on rows, and the cut points of
// the largest quadratic kappa if they help on other queries. Rows without a distribution
// are left out; with fewer than ten the result is the zero value.
func calibrate(all []report.Outcome) Calibration {
	var known []report.Outcome
	for _, o := range all {
		if o.P != nil {
			known = append(known, o)
		}
	}
	if len(known) < 10 {
		return Calibration{}
	}
	best := Calibration{Temperature: 1}
	loss := math.Inf(1)
	for t := .5; t <= 5; t *= 1.1 {
		c, sum := Calibration{Temperature: t}, 0.0
		for _, o := range known {
			sum -= math.Log(max(c.soften(o.P)[o.Gold], 1e-9))
		}
		if sum < loss {
			loss, best.Temperature = sum, t
		}
	}
	for i := range known {
		known[i].P = best.soften(known[i].P)
	}
	if cutsHelp(known) {
		best.Cuts = cutsOf(known)
	}
	return best
}

func cutsOf(all []report.Outcome) []float64 {
	grades, labels, queries := make([]float64, len(all)), make([]int, len(all)), make([]string, len(all))
	for i, o := range all {
		grades[i], labels[i], queries[i] = linear.Expected(o.P), o.Gold, o.Query
	}
	return linear.BaggedCuts(grades, labels, queries, len(all[0].P), 1)
}

// cutsHelp reports whether cut points gain more kappa on queries that they were not
// chosen on than they lose accuracy, beside the most probable label. It is false with
// fewer queries than folds.
func cutsHelp(all []report.Outcome) bool {
	const folds = 5
	fold := map[string]int{}
	for _, o := range all {
		if _, ok := fold[o.Query]; !ok {
			fold[o.Query] = len(fold) % folds
		}
	}
	if len(fold) < folds {
		return false
	}
	var plain, cut []eval.Pair
	for f := range folds {
		var held, rest []report.Outcome
		for _, o := range all {
			if fold[o.Query] == f {
				held = append(held, o)
			} else {
				rest = append(rest, o)
			}
		}
		cuts := cutsOf(rest)
		for _, o := range held {
			plain = append(plain, eval.Pair{Gold: o.Gold, Pred: linear.MostProbable(o.P)})
			cut = append(cut, eval.Pair{Gold: o.Gold, Pred: linear.Grade(linear.Expected(o.P), cuts)})
		}
	}
	before := eval.QuadraticKappa(plain)
	if math.IsNaN(before) {
		before = 0 // one label for all
	}
	gain, loss := eval.QuadraticKappa(cut)-before, eval.Accuracy(plain)-eval.Accuracy(cut)
	return gain > max(loss, 0)
}
