package curriculum

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Options are the settings of a Source. The zero value draws in proportion to
// p(1−p), and a tenth of the problems uniformly.
type Options struct {
	// Seed determines the draws.
	Seed uint64
	// Weight is the weight of a problem with that estimated success rate, a
	// finite number of at least 0; nil means Variance. It must be a pure
	// function.
	Weight func(rate float64) float64
	// Explore is the share of draws that ignores the weights; 0 means 0.1,
	// negative none.
	Explore float64
	// Decay is the factor by which a new observation multiplies the older
	// counts, in (0, 1]; 0 means 0.5. With 1 nothing is forgotten.
	Decay float64
	// PriorRate is the assumed success rate of a problem before it is seen, and
	// PriorWeight the number of completions that this assumption counts as. If
	// both are 0 they are 0.5 and 2, the uniform distribution.
	PriorRate, PriorWeight float64
	// Success is the success of a completion, from 0 to 1; NaN if it is unknown.
	// nil means FirstReward.
	Success func(c *rollout.Completion) float64
}

func (o Options) withDefaults() Options {
	if o.Weight == nil {
		o.Weight = Variance
	}
	o.Explore = cmp.Or(o.Explore, .1)
	o.Explore = max(o.Explore, 0)
	o.Decay = cmp.Or(o.Decay, .5)
	if o.PriorRate == 0 && o.PriorWeight == 0 {
		o.PriorRate, o.PriorWeight = .5, 2
	}
	if o.Success == nil {
		o.Success = FirstReward
	}
	return o
}

// Validate returns an error that names every invalid setting.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	for _, f := range []struct {
		name string
		bad  bool
		v    float64
		want string
	}{
		{"Explore", !(o.Explore <= 1), o.Explore, "at most 1"},
		{"Decay", !(o.Decay > 0 && o.Decay <= 1), o.Decay, "above 0 and at most 1"},
		{"PriorRate", !(o.PriorRate >= 0 && o.PriorRate <= 1), o.PriorRate, "from 0 to 1"},
		{"PriorWeight", !(o.PriorWeight > 0 && !math.IsInf(o.PriorWeight, 0)), o.PriorWeight, "positive and finite"},
	} {
		if f.bad {
			errs = append(errs, fmt.Errorf("curriculum: Options.%s is %v, want it %s", f.name, f.v, f.want))
		}
	}
	return errors.Join(errs...)
}

// Variance is p(1−p): the variance of a 0/1 reward with success rate p.
func Variance(rate float64) float64 { return rate * (1 - rate) }

// LiveProbability is the probability that a group of n completions with 0/1
// rewards is live, that is, has both right and wrong ones: 1 − pⁿ − (1−p)ⁿ. It is
// flatter than Variance: for large groups all problems but the extremes weigh
// nearly the same. It panics if n is less than 2. Like Band, it panics because
// its arguments come from code.
func LiveProbability(n int) func(rate float64) float64 {
	if n < 2 {
		panic(fmt.Sprintf("curriculum: a group of %d is never live", n))
	}
	return func(rate float64) float64 {
		return max(1-math.Pow(rate, float64(n))-math.Pow(1-rate, float64(n)), 0)
	}
}

// Band is 1 from low to high and 0 elsewhere: only problems of medium difficulty
// are drawn, and the others by exploration. It panics unless low is at most high.
func Band(low, high float64) func(rate float64) float64 {
	if !(low <= high) {
		panic(fmt.Sprintf("curriculum: a band from %v to %v", low, high))
	}
	return func(rate float64) float64 {
		if low <= rate && rate <= high {
			return 1
		}
		return 0
	}
}

// FirstReward is the first reward, the task's own, clipped to [0, 1]; NaN if
// there is none.
func FirstReward(c *rollout.Completion) float64 {
	if len(c.Rewards) == 0 {
		return math.NaN()
	}
	return min(max(c.Rewards[0], 0), 1) // NaN stays NaN
}
