package advantage

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Combine turns the rewards of a completion into one number, their weighted sum.
// With the zero value the weights are 1, and a completion is unscorable if any of
// its rewards is.
type Combine struct {
	// Weights holds one factor per reward; nil = all 1. A reward of weight 0 is
	// ignored, even if unscorable.
	Weights []float64 `json:"weights"`
	// SkipUnscorable leaves unscorable rewards out of the sum, so that only a
	// completion whose rewards are all unscorable is unscorable (TRL). By
	// default one unscorable reward makes the completion unscorable: a sum
	// with a missing part is not comparable with a full one.
	SkipUnscorable bool `json:"skip_unscorable"`
	// FoldShaping adds the sum of the completion's Shaping to its reward, as do
	// trainers that put a KL penalty into the reward before they compare
	// completions (verl, TRL's RLOO). The penalty then helps to decide the sign
	// of the advantage; by default it does not (see AddShaping).
	FoldShaping bool `json:"fold_shaping"`
}

// Validate returns an error that names the first weight that is not finite.
func (m Combine) Validate() error {
	for k, w := range m.Weights {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			return fmt.Errorf("advantage: Weights[%d] is %v, want a finite number", k, w)
		}
	}
	return nil
}

// MaxReward is the largest absolute value of a reward: the squares of larger ones
// could overflow, and a spread that overflows hides every difference.
const MaxReward = 1e100

// CheckReward returns an error unless r is NaN or at most MaxReward in absolute
// value.
func CheckReward(r float64) error {
	if math.Abs(r) > MaxReward {
		return fmt.Errorf("%v, want a number from %v to %v, or NaN (unscorable)", r, -MaxReward, MaxReward)
	}
	return nil
}

// Reward returns the completion's combined reward, NaN if it is unscorable. A
// completion without rewards is unscorable. It is an error if a reward, or the sum,
// is beyond MaxReward, or if their number differs from that of the weights.
func (m Combine) Reward(c *rollout.Completion) (float64, error) {
	if m.Weights != nil && len(m.Weights) != len(c.Rewards) {
		return 0, fmt.Errorf("the number of rewards is %d, want %d: one per weight", len(c.Rewards), len(m.Weights))
	}
	sum, judged := 0.0, false
	for k, r := range c.Rewards {
		w := 1.0
		if m.Weights != nil {
			w = m.Weights[k]
		}
		if w == 0 {
			continue
		}
		if err := CheckReward(r); err != nil {
			return 0, fmt.Errorf("reward %d is %w", k, err)
		}
		switch {
		case !math.IsNaN(r):
			sum += w * r
			judged = true
		case !m.SkipUnscorable:
			return math.NaN(), nil
		}
	}
	if !judged {
		return math.NaN(), nil
	}
	if m.FoldShaping {
		if err := checkShaping(c); err != nil {
			return 0, err
		}
		for _, x := range c.Shaping {
			sum += x
		}
	}
	if err := CheckReward(sum); err != nil {
		return 0, fmt.Errorf("the sum of the rewards is %w", err)
	}
	return sum, nil
}

// group writes the combined rewards of group number gi into dst, and notes which
// completions are unscorable.
func (m Combine) group(dst []float64, gi int, g rollout.Group) error {
	for i := range g {
		r, err := m.Reward(&g[i])
		if err != nil {
			return at(gi, i, err)
		}
		dst[i], g[i].Unscorable = r, math.IsNaN(r)
	}
	return nil
}

// peek returns what group would write, and leaves g as it is.
func (m Combine) peek(g rollout.Group) ([]float64, error) {
	rewards := make([]float64, len(g))
	for i := range g {
		r, err := m.Reward(&g[i])
		if err != nil {
			return nil, err
		}
		rewards[i] = r
	}
	return rewards, nil
}

// batch returns the combined rewards of all groups, end to end.
func (m Combine) batch(batch []rollout.Group) ([]float64, error) {
	n := 0
	for _, g := range batch {
		n += len(g)
	}
	rewards := make([]float64, n)
	rest := rewards
	for gi, g := range batch {
		if err := m.group(rest[:len(g)], gi, g); err != nil {
			return nil, err
		}
		rest = rest[len(g):]
	}
	return rewards, nil
}

// at adds the place in a batch to an error.
func at(group, completion int, err error) error {
	return fmt.Errorf("advantage: group %d, completion %d: %w", group, completion, err)
}
