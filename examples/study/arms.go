package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// arm is a way to give credit, with the denominator of the loss.
type arm struct {
	credit sam.Credit
	masked objective.Masked
}

// norm compares rewards within a group, in the estimator and in every arm.
var norm = advantage.GRPO{Epsilon: 1e-4}

// armNamed returns an arm; seed is that of what it draws.
func armNamed(name string, seed uint64) (arm, error) {
	a, ok := map[string]arm{
		"outcome":       {credit: sam.Outcome{}},
		"verdict":       {credit: sam.OutcomePlusVerdict{Norm: norm}},
		"mask":          {credit: sam.Mask{}},
		"mask-fill":     {credit: sam.Mask{Fill: norm}},
		"mask-rescale":  {credit: sam.Mask{Rescale: 4}},
		"mask-leave":    {credit: sam.Mask{}, masked: objective.MaskedExclude},
		"mask-positive": {credit: sam.Mask{Sign: sam.SignPositive}},
		"prefix":        {credit: sam.Prefix{}},
		"step-group":    {credit: sam.StepGroup{Norm: norm}},
		"step-loo":      {credit: sam.StepGroup{Norm: advantage.RLOO{}}},
		"permuted":      {credit: sam.Permuted{Credit: sam.Mask{}, Rand: rand.New(rand.NewPCG(seed, 1))}},
		"shuffled":      {credit: sam.Permuted{Credit: sam.Mask{}, Within: true, Rand: rand.New(rand.NewPCG(seed, 3))}},
		"random-mask":   {credit: sam.RandomMask{Rand: rand.New(rand.NewPCG(seed, 2))}},
		"all-steps": {credit: stricter(func(c *rollout.Completion) bool {
			return !slices.ContainsFunc(c.Steps, func(s rollout.Step) bool { return s.Verdict.Wrong() })
		})},
		"outcome-form": {credit: stricter(func(c *rollout.Completion) bool { return !c.Malformed })},
		"imitate":      {credit: own(imitate)},
	}[name]
	if !ok {
		return arm{}, fmt.Errorf("there is no arm %q", name)
	}
	return a, nil
}

// own is a credit of this program: what becomes of a group.
type own func(g rollout.Group)

func (own) Validate() error { return nil }

func (o own) Assign(batch []rollout.Group) (sam.Stats, error) {
	return sam.Measure(batch, func(g rollout.Group) error {
		o(g)
		return nil
	})
}

// stricter is outcome credit on a stricter outcome: a right answer that asks more of its
// text than the label.
func stricter(ask func(*rollout.Completion) bool) own {
	return func(g rollout.Group) {
		x := make([]float64, len(g))
		for i := range g {
			if ask(&g[i]) {
				x[i] = g[i].Rewards[0]
			}
		}
		norm.Normalize(x, x)
		for i := range g {
			for t := range g[i].Adv {
				g[i].Adv[t] = x[i]
			}
		}
	}
}

// imitate is supervised learning on the policy's own correct steps: they get the
// advantage 1, whatever the outcome, and everything else is masked.
func imitate(g rollout.Group) {
	for i := range g {
		c := &g[i]
		clear(c.Keep)
		for _, s := range c.Steps {
			for t := s.Start; t < s.End && s.Verdict == rollout.VerdictCorrect; t++ {
				c.Keep[t], c.Adv[t] = true, 1
			}
		}
	}
}
