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
	switch name {
	case "outcome":
		return arm{credit: sam.Outcome{}}, nil
	case "verdict":
		return arm{credit: sam.OutcomePlusVerdict{Norm: norm}}, nil
	case "mask":
		return arm{credit: sam.Mask{}}, nil
	case "mask-fill":
		return arm{credit: sam.Mask{Fill: norm}}, nil
	case "mask-rescale":
		return arm{credit: sam.Mask{Rescale: 4}}, nil
	case "mask-leave":
		return arm{credit: sam.Mask{}, masked: objective.MaskedExclude}, nil
	case "mask-positive":
		return arm{credit: sam.Mask{Sign: sam.SignPositive}}, nil
	case "prefix":
		return arm{credit: sam.Prefix{}}, nil
	case "step-group":
		return arm{credit: sam.StepGroup{Norm: norm}}, nil
	case "step-loo":
		return arm{credit: sam.StepGroup{Norm: advantage.RLOO{}}}, nil
	case "permuted":
		return arm{credit: sam.Permuted{Credit: sam.Mask{}, Rand: rand.New(rand.NewPCG(seed, 1))}}, nil
	case "random-mask":
		return arm{credit: sam.RandomMask{Rand: rand.New(rand.NewPCG(seed, 2))}}, nil
	case "all-steps":
		return arm{credit: stricter{func(c *rollout.Completion) bool {
			return !slices.ContainsFunc(c.Steps, func(s rollout.Step) bool { return s.Verdict.Wrong() })
		}}}, nil
	case "outcome-form":
		return arm{credit: stricter{func(c *rollout.Completion) bool { return !c.Malformed }}}, nil
	case "imitate":
		return arm{credit: imitate{}}, nil
	}
	return arm{}, fmt.Errorf("there is no arm %q", name)
}

// stricter is outcome credit on a stricter outcome: a right answer that asks more of its
// text than the label.
type stricter struct {
	ask func(*rollout.Completion) bool
}

func (stricter) Validate() error { return nil }

func (s stricter) Assign(batch []rollout.Group) (sam.Stats, error) {
	return sam.Measure(batch, func(g rollout.Group) error {
		x := make([]float64, len(g))
		for i := range g {
			if s.ask(&g[i]) {
				x[i] = g[i].Rewards[0]
			}
		}
		norm.Normalize(x, x)
		for i := range g {
			for t := range g[i].Adv {
				g[i].Adv[t] = x[i]
			}
		}
		return nil
	})
}

// imitate is supervised learning on the policy's own correct steps: they get the
// advantage 1, whatever the outcome, and everything else is masked.
type imitate struct{}

func (imitate) Validate() error { return nil }

func (imitate) Assign(batch []rollout.Group) (sam.Stats, error) {
	return sam.Measure(batch, func(g rollout.Group) error {
		for i := range g {
			c := &g[i]
			clear(c.Keep)
			for _, s := range c.Steps {
				if s.Verdict != rollout.VerdictCorrect {
					continue
				}
				for t := s.Start; t < s.End; t++ {
					c.Keep[t], c.Adv[t] = true, 1
				}
			}
		}
		return nil
	})
}
