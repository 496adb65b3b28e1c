package sam

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// OutcomePlusVerdict is the control that every claim about step credit needs:
// plain outcome credit on r_i plus the mean of the verdicts (correct 1,
// incorrect or broken 0). It has the information that Mask has, without its
// placement: all tokens of a completion get the same advantage,
//
//	Â_i = normalise({r_j + mean_k v_{j,k} : j in the group})_i
//
// The mean is over all steps, the final one too: where its rule does not judge as
// the outcome reward does, the control sees two judgements of the answer, and Mask one.
// A step that no rule can judge stays out of the mean. A completion without any
// judged step gets the mean of the others' means, which is neutral. An unscorable
// completion keeps advantage 0.
type OutcomePlusVerdict struct {
	// Norm compares the sums across the group; use the estimator's.
	Norm advantage.Normalizer `json:"norm"`
	// Combine turns the outcome rewards into r; use the estimator's. The zero value adds
	// up all of them, those too to which the estimator gives weight 0.
	Combine advantage.Combine `json:"combine"`
}

// Validate implements Credit.
func (r OutcomePlusVerdict) Validate() error {
	if err := checkNorm("OutcomePlusVerdict", r.Norm); err != nil {
		return err
	}
	return r.Combine.Validate()
}

// Assign implements Credit.
func (r OutcomePlusVerdict) Assign(batch []rollout.Group) (Stats, error) {
	rewards := make([][]float64, len(batch))
	for gi, g := range batch {
		var err error
		if rewards[gi], err = r.Combine.Rewards(g); err != nil {
			return Stats{}, fmt.Errorf("sam: group %d, %w", gi, err)
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
	var right, judged float64
	for k := range c.Steps {
		v := c.Steps[k].Verdict
		if v == rollout.VerdictCorrect {
			right++
		}
		if v.Known() {
			judged++
		}
	}
	if judged == 0 {
		return math.NaN()
	}
	return right / judged
}
