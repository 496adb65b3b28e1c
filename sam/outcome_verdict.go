package sam

import (
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
	"github.com/stepwise-rl/stepwise/rl/advantage"
)

// OutcomePlusVerdict is the control that every claim about step credit needs:
// plain outcome credit on r_i plus the mean of the verdicts (correct 1,
// incorrect or broken 0). It has the information that Mask has, without its
// placement: all tokens of a completion get the same advantage,
//
//	Â_i = normalise({r_j + mean_k v_{j,k} : j in the group})_i
//
// A step that the rule cannot judge stays out of the mean. A completion
// without any judged step gets the mean of the others' means, which tells it
// nothing. An unscorable completion keeps advantage 0.
type OutcomePlusVerdict struct {
	// Norm compares the sums across the group; use the estimator's own.
	Norm advantage.Normalizer
	// Combine says how the outcome rewards become r, as in the estimator.
	Combine advantage.Combine
}

// Credit implements Rule. It is an error if Norm is nil.
func (r OutcomePlusVerdict) Credit(batch []advantage.Group) (Stats, error) {
	if r.Norm == nil {
		return Stats{}, errors.New("sam: OutcomePlusVerdict.Norm is nil, want a normaliser such as advantage.RLOO")
	}
	rewards := make([][]float64, len(batch))
	for gi, g := range batch {
		rewards[gi] = make([]float64, len(g))
		for i := range g {
			x, err := r.Combine.Reward(&g[i])
			if err != nil {
				return Stats{}, fmt.Errorf("sam: group %d, completion %d: %w", gi, i, err)
			}
			rewards[gi][i] = x
		}
	}
	return eachGroup(batch, func(g []completion) {
		x := rewards[0]
		rewards = rewards[1:]
		addVerdicts(x, g)
		r.Norm.Normalize(x, x)
		for i, c := range g {
			vecmath.Fill(c.Adv, x[i])
		}
	})
}

// addVerdicts adds to each usable reward the completion's mean verdict.
func addVerdicts(rewards []float64, g []completion) {
	var sum, usable float64
	for i, c := range g {
		if v := meanVerdict(c); !math.IsNaN(v) && !math.IsNaN(rewards[i]) {
			sum += v
			usable++
		}
	}
	if usable == 0 {
		return
	}
	for i, c := range g {
		v := meanVerdict(c)
		if math.IsNaN(v) {
			v = sum / usable
		}
		rewards[i] += v
	}
}

// meanVerdict is the share of correct steps among the judged, NaN if none is.
func meanVerdict(c completion) float64 {
	var right, judgedSteps float64
	for k := range c.Steps {
		switch judged(&c.Steps[k]) {
		case advantage.Correct:
			right++
			judgedSteps++
		case advantage.Incorrect:
			judgedSteps++
		}
	}
	if judgedSteps == 0 {
		return math.NaN()
	}
	return right / judgedSteps
}
