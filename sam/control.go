package sam

import (
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Permuted is a control for claims about placement: another credit that gets verdicts,
// with their rewards, at the wrong places. It sees as many right and wrong steps as the
// credit does. A step that the policy broke keeps its verdict. Afterwards all verdicts are
// as before; Stats counts those that the credit saw.
//
// It draws from Rand as it goes, so a training that is resumed goes on with other draws.
// A run file has no kind for it.
type Permuted struct {
	Credit Credit
	Rand   *rand.Rand
	// Within hands the verdicts of each completion around among its own inner steps, so
	// that the credit knows how many of them are right, but not which. By default the
	// verdicts of each step, the last one too, go around among the completions of the group.
	Within bool
}

// Validate implements Credit.
func (p Permuted) Validate() error {
	if p.Credit == nil || p.Rand == nil {
		return errors.New("sam: Permuted needs Credit and Rand")
	}
	return p.Credit.Validate()
}

// Assign implements Credit.
func (p Permuted) Assign(batch []rollout.Group) (Stats, error) {
	type judgement struct {
		verdict rollout.Verdict
		reward  float64
	}
	var restore []func()
	defer func() {
		for _, f := range slices.Backward(restore) { // groups may share steps
			f()
		}
	}()
	for _, g := range batch {
		pools := map[any][]*rollout.Step{} // steps that exchange their verdicts
		var keys []any                     // in the order of the group
		for i := range g {
			for k := range g[i].Steps {
				s := &g[i].Steps[k]
				var key any = s.Name
				if p.Within {
					key = i
				}
				if s.Verdict == rollout.VerdictBroken || p.Within && s.Final {
					continue
				}
				if pools[key] == nil {
					keys = append(keys, key)
				}
				pools[key] = append(pools[key], s)
			}
		}
		for _, key := range keys {
			pool := pools[key]
			was := make([]judgement, len(pool))
			for i, s := range pool {
				was[i] = judgement{s.Verdict, s.Reward}
				restore = append(restore, func() { s.Verdict, s.Reward = was[i].verdict, was[i].reward })
			}
			for i, j := range p.Rand.Perm(len(pool)) {
				pool[i].Verdict, pool[i].Reward = was[j].verdict, was[j].reward
			}
		}
	}
	return p.Credit.Assign(batch)
}

// RandomMask is a control for Mask: it masks inner steps at random, each with the
// probability that makes them as many as Mask{} would mask in the batch. It shows what
// fewer tokens alone do. For Rand see Permuted.
type RandomMask struct{ Rand *rand.Rand }

// Validate implements Credit.
func (r RandomMask) Validate() error {
	if r.Rand == nil {
		return errors.New("sam: RandomMask needs Rand")
	}
	return nil
}

// Assign implements Credit.
func (r RandomMask) Assign(batch []rollout.Group) (Stats, error) {
	var open, masked float64
	for _, g := range batch {
		for i := range g {
			for k := range g[i].Steps {
				s := &g[i].Steps[k]
				if s.Final || g[i].Advantage == 0 {
					continue
				}
				open++
				if g[i].Advantage > 0 && s.Verdict.Wrong() || g[i].Advantage < 0 && s.Verdict == rollout.VerdictCorrect {
					masked++
				}
			}
		}
	}
	return eachGroup(batch, func(g []completion) {
		for _, c := range g {
			for k := range c.Steps {
				if s := &c.Steps[k]; !s.Final && c.Advantage != 0 && r.Rand.Float64() < masked/open {
					multiply(c, s.Start, s.End, 0)
				}
			}
		}
	})
}
