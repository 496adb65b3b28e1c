package rl

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// GroupFilter says whether a judged group that the estimator calls live is worth
// training on: it returns "" to keep it, else the reason to leave it out. Reasons
// are counted and become names of metrics, so they should be few and short.
type GroupFilter func(g rollout.Group) (reason string)

// DropConstant leaves out the groups in which the given outcome reward is the
// same for all completions. The estimator leaves out dead groups by itself; this
// is for tasks where other rewards, such as a length penalty, should not keep a
// group alive: name the task's own reward, usually 0. The reasons are those of
// advantage.SameReward. It panics if reward is negative.
func DropConstant(reward int) GroupFilter {
	if reward < 0 {
		panic(fmt.Sprintf("rl: DropConstant of reward %d", reward))
	}
	return func(g rollout.Group) string {
		rewards := make([]float64, len(g))
		for i := range g {
			rewards[i] = rewardOf(&g[i], reward)
		}
		return advantage.SameReward(rewards)
	}
}

// DropMeanOutside keeps the groups whose mean of the given reward lies
// strictly between low and high: with 0/1 rewards and (0, 1), those with both
// right and wrong completions. The reasons are "unscorable", "too_hard" and
// "too_easy". It panics unless low < high and reward >= 0.
func DropMeanOutside(reward int, low, high float64) GroupFilter {
	if reward < 0 || !(low < high) {
		panic(fmt.Sprintf("rl: DropMeanOutside of reward %d, from %v to %v", reward, low, high))
	}
	return func(g rollout.Group) string {
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

// rewardOf is the completion's reward k, NaN if it has none.
func rewardOf(c *rollout.Completion, k int) float64 {
	if k < len(c.Rewards) {
		return c.Rewards[k]
	}
	return math.NaN()
}
