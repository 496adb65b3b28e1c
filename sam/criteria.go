package sam

import (
	"math"

	"github.com/stepwise-rl/stepwise/rollout"
)

// criteria collects, per step name, the step rewards of a group.
type criteria struct {
	index   map[string]int
	rewards [][]float64 // per name, one per completion; NaN = none
	counts  []int       // per name, how many of them are not NaN
	of      [][]int     // per completion and step, the index of its name
}

// collect reads a group. Steps of one name in one completion count as one with
// the worst of their rewards, so that a duplicate is no loophole. A broken
// step has the reward broken, or its own if that is worse.
func (cr *criteria) collect(g []completion, broken float64) {
	if cr.index == nil {
		cr.index = make(map[string]int)
	}
	clear(cr.index)
	for len(cr.of) < len(g) {
		cr.of = append(cr.of, nil)
	}
	for i, c := range g {
		cr.of[i] = cr.of[i][:0]
		for k := range c.Steps {
			n, ok := cr.index[c.Steps[k].Name]
			if !ok {
				n = len(cr.index)
				cr.index[c.Steps[k].Name] = n
			}
			cr.of[i] = append(cr.of[i], n)
		}
	}
	cr.rewards = matrix(cr.rewards, len(cr.index), len(g))
	for _, row := range cr.rewards {
		for i := range row {
			row[i] = math.NaN()
		}
	}
	for i, c := range g {
		for k, n := range cr.of[i] {
			cr.rewards[n][i] = worse(cr.rewards[n][i], stepReward(&c.Steps[k], broken))
		}
	}
	cr.counts = cr.counts[:0]
	for _, row := range cr.rewards {
		judged := 0
		for _, r := range row {
			if !math.IsNaN(r) {
				judged++
			}
		}
		cr.counts = append(cr.counts, judged)
	}
}

// matrix returns m with the given shape, its memory used again.
func matrix(m [][]float64, rows, columns int) [][]float64 {
	m = m[:cap(m)]
	for len(m) < rows {
		m = append(m, nil)
	}
	m = m[:rows]
	for n := range m {
		if cap(m[n]) < columns {
			m[n] = make([]float64, columns)
		}
		m[n] = m[n][:columns]
	}
	return m
}

// stepReward is the step's reward, NaN if it cannot be judged: a judge of one's own
// may leave the reward of an unknown step at 0.
func stepReward(s *rollout.Step, broken float64) float64 {
	switch s.Verdict {
	case rollout.VerdictUnknown:
		return math.NaN()
	case rollout.VerdictBroken:
		return worse(s.Reward, broken)
	}
	return s.Reward
}

// worse is the smaller of two rewards, of which either may be missing.
func worse(a, b float64) float64 {
	switch {
	case math.IsNaN(a):
		return b
	case math.IsNaN(b):
		return a
	}
	return min(a, b)
}
