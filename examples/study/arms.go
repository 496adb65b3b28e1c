package main

import (
	"fmt"
	"math/rand/v2"

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
		return arm{credit: &permuted{rng: rand.New(rand.NewPCG(seed, 1))}}, nil
	case "random-mask":
		return arm{credit: &randomMask{rng: rand.New(rand.NewPCG(seed, 2))}}, nil
	case "all-steps":
		return arm{credit: allSteps{}}, nil
	case "imitate":
		return arm{credit: imitate{}}, nil
	}
	return arm{}, fmt.Errorf("there is no arm %q", name)
}

// permuted is the mask with the verdicts of a step handed around in its group: the same
// verdicts in the wrong places.
type permuted struct{ rng *rand.Rand }

func (*permuted) Validate() error { return nil }

func (p *permuted) Assign(batch []rollout.Group) (sam.Stats, error) {
	var restore []func()
	for _, g := range batch {
		steps := map[string][]*rollout.Step{}
		var names []string
		for i := range g {
			for k := range g[i].Steps {
				s := &g[i].Steps[k]
				if s.Verdict == rollout.VerdictBroken {
					continue // its place is its fault
				}
				if steps[s.Name] == nil {
					names = append(names, s.Name)
				}
				steps[s.Name] = append(steps[s.Name], s)
			}
		}
		for _, name := range names {
			same := steps[name]
			verdicts := make([]rollout.Verdict, len(same))
			for i, s := range same {
				verdicts[i] = s.Verdict
			}
			restore = append(restore, func() {
				for i, s := range same {
					s.Verdict = verdicts[i]
				}
			})
			for i, j := range p.rng.Perm(len(same)) {
				same[i].Verdict = verdicts[j]
			}
		}
	}
	stats, err := sam.Mask{}.Assign(batch)
	for _, f := range restore {
		f()
	}
	return stats, err
}

// randomMask masks steps at random, as many of the batch as the mask would.
type randomMask struct{ rng *rand.Rand }

func (*randomMask) Validate() error { return nil }

func (r *randomMask) Assign(batch []rollout.Group) (sam.Stats, error) {
	masks := func(c *rollout.Completion, s *rollout.Step) bool {
		return c.Advantage > 0 && s.Verdict.Wrong() || c.Advantage < 0 && s.Verdict == rollout.VerdictCorrect
	}
	var open, masked float64
	for _, g := range batch {
		for i := range g {
			for k := range g[i].Steps {
				if s := &g[i].Steps[k]; !s.Final && g[i].Advantage != 0 {
					open++
					if masks(&g[i], s) {
						masked++
					}
				}
			}
		}
	}
	return sam.Measure(batch, func(g rollout.Group) error {
		for i := range g {
			c := &g[i]
			for k := range c.Steps {
				if s := &c.Steps[k]; !s.Final && c.Advantage != 0 && r.rng.Float64() < masked/open {
					clear(c.Keep[s.Start:s.End])
				}
			}
		}
		return nil
	})
}

// allSteps is outcome credit on a stricter outcome: the answer and all steps are right.
type allSteps struct{}

func (allSteps) Validate() error { return nil }

func (allSteps) Assign(batch []rollout.Group) (sam.Stats, error) {
	return sam.Measure(batch, func(g rollout.Group) error {
		x := make([]float64, len(g))
		for i := range g {
			x[i] = g[i].Rewards[0]
			for _, s := range g[i].Steps {
				if s.Verdict.Wrong() {
					x[i] = 0
				}
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
