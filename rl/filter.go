package rl

import (
	"fmt"
	"math"
	"strconv"

	"github.com/stepwise-rl/stepwise/rl/advantage"
)

// GroupFilter says whether a judged group is worth training on: it returns ""
// to keep it, else the reason to leave it out. Reasons are counted and become
// names of metrics, so they should be few and short.
type GroupFilter func(g advantage.Group) (reason string)

// DropConstant is the filter for dead groups: a group is kept if at least one
// of the rewards with the given indices (none = all rewards) differs between
// two of its completions. Name the task's own reward (usually 0) where others,
// such as a length penalty, should not keep a group alive.
//
// tolerance is how far apart the rewards of a dead group may lie, relative to
// the larger of 1 and the largest absolute reward: 0 means
// advantage.DefaultTolerance, negative that only equal rewards are equal.
//
// The reasons are "unscorable" (no completion has a usable reward), "single"
// (one has, and there is nothing to compare it with), and "constant_0",
// "constant_1", … with the first reward that is usable, rounded to tenths.
func DropConstant(tolerance float64, rewards ...int) GroupFilter {
	for _, k := range rewards {
		if k < 0 {
			panic(fmt.Sprintf("rl: DropConstant of reward %d", k))
		}
	}
	if tolerance == 0 {
		tolerance = advantage.DefaultTolerance
	}
	tolerance = max(tolerance, 0)
	return func(g advantage.Group) string {
		indices := rewards
		if len(indices) == 0 {
			indices = indicesOf(g)
		}
		reason := "unscorable"
		for _, k := range indices {
			n, lo, hi := rangeOf(g, k)
			switch {
			case n > 0 && (math.IsInf(lo, 0) || math.IsInf(hi, 0)):
				return "" // an error for the estimator to report
			case n >= 2 && hi-lo > tolerance*max(1, math.Abs(lo), math.Abs(hi)):
				return ""
			case n >= 2 && (reason == "unscorable" || reason == "single"):
				tenths := math.Round(lo*10) / 10
				reason = "constant_" + strconv.FormatFloat(tenths+0, 'f', -1, 64)
			case n == 1 && reason == "unscorable":
				reason = "single"
			}
		}
		return reason
	}
}

// DropMeanOutside keeps the groups whose mean of the given reward lies
// strictly between low and high: with 0/1 rewards and (0, 1), those with both
// right and wrong completions. It is a filter for difficulty, not for dead
// groups: a constant 0.5 passes. The reasons are "unscorable", "too_hard" and
// "too_easy". It panics unless low < high and reward >= 0.
func DropMeanOutside(reward int, low, high float64) GroupFilter {
	if reward < 0 || !(low < high) {
		panic(fmt.Sprintf("rl: DropMeanOutside of reward %d, from %v to %v", reward, low, high))
	}
	return func(g advantage.Group) string {
		var m mean
		for i := range g {
			if r := rewardOf(&g[i], reward); !math.IsNaN(r) {
				m.add(r)
			}
		}
		switch v := m.sum / m.n; {
		case m.n == 0:
			return "unscorable"
		case v <= low:
			return "too_hard"
		case v >= high:
			return "too_easy"
		}
		return ""
	}
}

// rangeOf returns how many completions have a usable reward k, and its bounds.
func rangeOf(g advantage.Group, k int) (n int, lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for i := range g {
		if r := rewardOf(&g[i], k); !math.IsNaN(r) {
			n++
			lo, hi = min(lo, r), max(hi, r)
		}
	}
	return n, lo, hi
}

// rewardOf is the completion's reward k, NaN if it has none.
func rewardOf(c *advantage.Completion, k int) float64 {
	if k < len(c.Rewards) {
		return c.Rewards[k]
	}
	return math.NaN()
}

func indicesOf(g advantage.Group) []int {
	n := 0
	for i := range g {
		n = max(n, len(g[i].Rewards))
	}
	indices := make([]int, n)
	for k := range indices {
		indices[k] = k
	}
	return indices
}
