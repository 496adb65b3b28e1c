package monitor

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// PassAtK returns, for each problem, the unbiased estimate of the probability
// that at least one of k completions is right (eval.PassAtK). A completion is
// right if its first reward is at least passAt. Unscorable completions are left
// out; a problem with fewer than k others has NaN. Pass the result to eval.Mean
// or eval.Bootstrap.
func PassAtK(r *rl.Rollouts, passAt float64, k int) []float64 {
	out := make([]float64, len(r.Groups))
	for g, group := range r.Groups {
		n, right := 0, 0
		for i := range group {
			if v := firstReward(group[i].Rewards); !math.IsNaN(v) {
				n++
				if v >= passAt {
					right++
				}
			}
		}
		out[g] = eval.PassAtK(n, right, k)
	}
	return out
}

// Answer returns the answer that a completion votes for; false if it has none.
type Answer func(c *rollout.Completion) (string, bool)

// FinalAnswer is prompt.Trace.FinalAnswer as an Answer; false also if nothing was
// parsed.
func FinalAnswer(c *rollout.Completion) (string, bool) {
	if c.Trace == nil {
		return "", false
	}
	return c.Trace.FinalAnswer()
}

// MajorityAtK returns, for each problem, the unbiased estimate of the probability
// that a majority vote among k completions is right (eval.MajorityAtK). An
// answer's value is the share of right completions among those that give it.
// Completions without an answer abstain; unscorable ones are left out, and a
// problem with fewer than k others has NaN.
func MajorityAtK(r *rl.Rollouts, passAt float64, k int, answer Answer) []float64 {
	out := make([]float64, len(r.Groups))
	for g, group := range r.Groups {
		index := make(map[string]int)
		var counts []int
		var values []float64 // right completions, then their share
		abstained := 0
		for i := range group {
			v := firstReward(group[i].Rewards)
			if math.IsNaN(v) {
				continue
			}
			a, ok := answer(&group[i])
			if !ok {
				abstained++
				continue
			}
			at, seen := index[a]
			if !seen {
				at = len(counts)
				index[a] = at
				counts, values = append(counts, 0), append(values, 0)
			}
			counts[at]++
			if v >= passAt {
				values[at]++
			}
		}
		for a := range values {
			values[a] /= float64(counts[a])
		}
		out[g] = eval.MajorityAtK(counts, values, abstained, k)
	}
	return out
}

// SampleMetrics returns the means over the problems of PassAtK and, if answer
// is not nil, MajorityAtK, as "pass@k" and "maj@k", for each k. A mean without
// any problem is left out. Use it in rl.Config.Eval, beside rl.Summarize.
func SampleMetrics(r *rl.Rollouts, passAt float64, answer Answer, ks ...int) map[string]float64 {
	m := make(map[string]float64)
	put := func(name string, k int, values []float64) {
		if mean, n := eval.Mean(values); n > 0 {
			m[fmt.Sprintf("%s@%d", name, k)] = mean
		}
	}
	for _, k := range ks {
		put("pass", k, PassAtK(r, passAt, k))
		if answer != nil {
			put("maj", k, MajorityAtK(r, passAt, k, answer))
		}
	}
	return m
}

// firstReward is the task's own reward, NaN if there is none.
func firstReward(rewards []float64) float64 {
	if len(rewards) == 0 {
		return math.NaN()
	}
	return rewards[0]
}
