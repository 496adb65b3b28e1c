package sam

import (
	"cmp"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// StepGroup gives each step its own reward, compared with the same step (by name)
// of the other completions of the group. The outcome does not enter:
//
//	Â_{i,t} = normalise({r_{j,k} : j in the group})_i   for t in step k
//
// Tokens of no judged step (text outside every step, steps that no rule can
// judge) keep the outcome advantage.
//
// With Norm: advantage.RLOO{}, leave-one-out per criterion, the gradient through
// a step's tokens is exactly that of E[Σ_k r_k], for every group size, as far as
// a step's tokens determine its own reward; a step's effect on later ones gets no
// credit (see ReturnToGo).
//
// If a step that was left out cost nothing, this would be biased wherever the
// policy controls the number of steps: the baseline would depend on the action.
// So a missing step takes part with the reward BrokenReward, and its advantage is
// added to that of the token where it should have begun. A step that is not
// listed in Completion.Steps at all was not asked for and stays out.
//
// Steps of one name in one completion are one step with the worst of their
// rewards. A step for which no other completion has a reward keeps the outcome
// advantage too, but if it is broken (an invented name), only when that advantage
// is negative.
type StepGroup struct {
	// Norm compares the rewards of one step across the group.
	Norm advantage.Normalizer `json:"norm"`
	// BrokenReward is the reward of a step that the policy broke, or the
	// step's own if that is worse. The default, 0, fits rewards in [0, 1].
	BrokenReward float64 `json:"broken_reward"`
}

// Validate implements Credit.
func (r StepGroup) Validate() error {
	return cmp.Or(checkNorm("StepGroup", r.Norm), checkBrokenReward("StepGroup", r.BrokenReward))
}

func checkNorm(of string, n advantage.Normalizer) error {
	if n == nil {
		return fmt.Errorf("sam: %s.Norm is nil, want a normaliser such as advantage.RLOO", of)
	}
	return n.Validate()
}

func checkBrokenReward(of string, x float64) error {
	if !(math.Abs(x) <= advantage.MaxReward) {
		return fmt.Errorf("sam: %s.BrokenReward is %v, want a number from %v to %v", of, x, -advantage.MaxReward, advantage.MaxReward)
	}
	return nil
}

// Assign implements Credit.
func (r StepGroup) Assign(batch []rollout.Group) (Stats, error) {
	var w stepGroup
	return eachGroup(batch, func(g []completion) { w.credit(g, r.Norm, r.BrokenReward) })
}

// stepGroup is the working memory of StepGroup.
type stepGroup struct {
	criteria criteria
	adv      [][]float64 // per name, one per completion
}

func (w *stepGroup) credit(g []completion, norm advantage.Normalizer, broken float64) {
	w.criteria.collect(g, broken)
	w.adv = matrix(w.adv, len(w.criteria.rewards), len(g))
	for n, rewards := range w.criteria.rewards {
		norm.Normalize(w.adv[n], rewards)
	}
	for i, c := range g {
		for k := range c.Steps {
			if a, ok := w.of(c, i, k); ok {
				vecmath.Fill(c.Adv[c.Steps[k].Start:c.Steps[k].End], a)
			}
		}
		for k := range c.Steps {
			t, blamed := c.Blamed(&c.Steps[k])
			if a, ok := w.of(c, i, k); ok && blamed {
				c.Adv[t] += a
			}
		}
	}
}

// of is the advantage of step k of completion i; false if it keeps the
// outcome's.
func (w *stepGroup) of(c completion, i, k int) (float64, bool) {
	n := w.criteria.of[i][k]
	switch {
	case w.criteria.counts[n] > 1:
		return w.adv[n][i], !math.IsNaN(w.criteria.rewards[n][i])
	case c.Steps[k].Verdict == rollout.VerdictBroken:
		return min(c.Advantage, 0), true
	}
	return 0, false
}
