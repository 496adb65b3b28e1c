package sam

import (
	"cmp"
	"math"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// ReturnToGo is process-supervised GRPO (DeepSeekMath, arXiv:2402.03300,
// section 4.1.3): all step rewards of a group are normalised together, and a
// token gets the sum of those whose steps end at or after it,
//
//	r̃ = normalise({r_{j,k} : all steps of all completions of the group})
//	Â_{i,t} = Σ_{k : end(k) ≥ t} r̃_{i,k}
//
// so that a step answers for everything after it, and the text between steps for
// the steps after it. A token after which no judged step ends keeps the outcome
// advantage, and so does a completion without judged steps.
//
// The sum grows with the number of steps to come, so early tokens weigh more; and
// it is biased where the policy controls that number, because every extra step
// above the group's mean adds advantage. Therefore a completion has one reward
// per step name: duplicates count once, with the worst reward, at the place of
// the last; a missing step counts at the token where it should have begun. A step
// that is not listed in Completion.Steps was not asked for.
type ReturnToGo struct {
	// Norm normalises the step rewards of a group.
	Norm advantage.Normalizer `json:"norm"`
	// BrokenReward is the reward of a step that the policy broke, or the
	// step's own if that is worse. The default, 0, fits rewards in [0, 1].
	BrokenReward float64 `json:"broken_reward"`
}

// Validate implements Credit.
func (r ReturnToGo) Validate() error {
	return cmp.Or(checkNorm("ReturnToGo", r.Norm), checkBrokenReward("ReturnToGo", r.BrokenReward))
}

// Assign implements Credit.
func (r ReturnToGo) Assign(batch []rollout.Group) (Stats, error) {
	w := returnToGo{ReturnToGo: r}
	return eachGroup(batch, w.credit)
}

// returnToGo is ReturnToGo with its working memory.
type returnToGo struct {
	ReturnToGo
	criteria criteria
	pool     []float64 // all rewards of the group, name-major
	last     []int     // per name, the token at which its reward falls due
	due      []float64 // per token, the normalised rewards that fall due
}

func (w *returnToGo) credit(g []completion) {
	w.criteria.collect(g, w.BrokenReward)
	w.pool = w.pool[:0]
	for _, row := range w.criteria.rewards {
		w.pool = append(w.pool, row...)
	}
	w.Norm.Normalize(w.pool, w.pool)
	for i, c := range g {
		w.completion(g, i, c)
	}
}

func (w *returnToGo) completion(g []completion, i int, c completion) {
	w.last = w.last[:0]
	for range w.criteria.rewards {
		w.last = append(w.last, -1)
	}
	for k := range c.Steps {
		s, n := &c.Steps[k], w.criteria.of[i][k]
		t := s.End - 1
		if s.Start == s.End {
			t, _ = c.Blamed(s) // -1 if there is no token
		}
		w.last[n] = max(w.last[n], t)
	}
	if cap(w.due) < c.n {
		w.due = make([]float64, c.n)
	}
	w.due = w.due[:c.n]
	clear(w.due)
	end := -1
	for n, t := range w.last {
		if t >= 0 && !math.IsNaN(w.criteria.rewards[n][i]) {
			w.due[t] += w.pool[n*len(g)+i]
			end = max(end, t)
		}
	}
	sum := 0.0
	for t := end; t >= 0; t-- {
		sum += w.due[t]
		c.Adv[t] = sum
	}
}
