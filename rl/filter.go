package rl

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// GroupFilter decides which live groups are worth training on.
type GroupFilter interface {
	// Validate returns an error that names the first invalid setting.
	Validate() error
	// Drop returns "" to keep a judged group, or the reason to drop it. Reasons
	// are counted and become names of metrics, so keep them few and short.
	Drop(g rollout.Group) (reason string)
}

// DropConstant drops the groups in which one outcome reward is the same for all
// completions. Dead groups are dropped without it; it is for tasks where a second
// reward, such as a length penalty, should not keep a group alive. The reasons
// are those of advantage.SameReward.
type DropConstant struct {
	// Reward is the index of the reward, usually 0: the task's own.
	Reward int
}

// Validate returns an error if Reward is negative.
func (d DropConstant) Validate() error { return checkReward("DropConstant", d.Reward) }

// Drop implements GroupFilter.
func (d DropConstant) Drop(g rollout.Group) string {
	rewards := make([]float64, len(g))
	for i := range g {
		rewards[i] = rewardOf(&g[i], d.Reward)
	}
	return advantage.SameReward(rewards)
}

// DropMeanOutside drops the groups whose mean of one outcome reward is not
// strictly between Low and High. With 0/1 rewards and the bounds 0 and 1 it
// leaves the groups with both right and wrong completions. The reasons are
// "unscorable", "too_hard" and "too_easy".
type DropMeanOutside struct {
	// Reward is the index of the reward, usually 0: the task's own.
	Reward    int
	Low, High float64
}

// Validate returns an error that names the first invalid setting.
func (d DropMeanOutside) Validate() error {
	if !(d.Low < d.High) {
		return fmt.Errorf("rl: DropMeanOutside keeps means from %v to %v, want Low < High", d.Low, d.High)
	}
	return checkReward("DropMeanOutside", d.Reward)
}

// Drop implements GroupFilter.
func (d DropMeanOutside) Drop(g rollout.Group) string {
	var m mean
	for i := range g {
		if r := rewardOf(&g[i], d.Reward); !math.IsNaN(r) {
			m.add(r)
		}
	}
	switch v := m.sum / m.n; {
	case m.n == 0:
		return "unscorable"
	case v <= d.Low:
		return "too_hard"
	case v >= d.High:
		return "too_easy"
	}
	return ""
}

func checkReward(of string, index int) error {
	if index < 0 {
		return fmt.Errorf("rl: %s.Reward is %d, want the index of a reward", of, index)
	}
	return nil
}

// rewardOf is the completion's reward k, NaN if it has none.
func rewardOf(c *rollout.Completion, k int) float64 {
	if k < len(c.Rewards) {
		return c.Rewards[k]
	}
	return math.NaN()
}
