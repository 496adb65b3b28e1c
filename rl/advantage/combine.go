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
	// LengthPenalty c > 0 makes long completions worth less, as a share of what the group
	// is worth (prime-rl's length_penalty, which has 0.25):
	//
	//	r_i := r_i − c·max(0, mean(r))·l_i / max_j l_j
	//
	// with l the number of tokens, and mean and maximum over the group without unscorable
	// completions. With 0/1 rewards the mean is the pass rate: length costs nothing where
	// nothing is right, and most where all is. A group whose rewards are all equal is then
	// live by its lengths alone; rl.DropConstant drops it. As the penalty may decide the
	// sign of an advantage, step credit takes the longest of several right answers for a
	// bad one, and sam.Mask.Fill leaves such a group alone, where it would reward right
	// steps. GRPO, which divides by the spread, gives the advantages there their full size
	// whatever c; with DrGRPO they are proportional to c. 0 = none. Unlike reward.Length it
	// needs no scale of lengths.
	LengthPenalty float64 `json:"length_penalty"`
}

// Validate returns an error that names the first invalid setting.
func (m Combine) Validate() error {
	if err := checkNonNegative("Combine.LengthPenalty", m.LengthPenalty); err != nil {
		return err
	}
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

// Rewards returns the combined reward of each completion of a group, NaN if it is
// unscorable. A completion without rewards is unscorable. It is an error, naming the
// completion, if a reward, or the sum, is beyond MaxReward, or if their number differs
// from that of the weights.
func (m Combine) Rewards(g rollout.Group) ([]float64, error) {
	rewards := make([]float64, len(g))
	if err := m.write(rewards, g); err != nil {
		return nil, err
	}
	return rewards, nil
}

// write is Rewards into dst.
func (m Combine) write(dst []float64, g rollout.Group) error {
	var sum, n float64
	longest := 0
	for i := range g {
		r, err := m.sum(&g[i])
		if err != nil {
			return fmt.Errorf("completion %d: %w", i, err)
		}
		if dst[i] = r; !math.IsNaN(r) {
			sum += r
			n++
			longest = max(longest, len(g[i].Tokens))
		}
	}
	if m.LengthPenalty == 0 || sum <= 0 || longest == 0 {
		return nil
	}
	for i := range g {
		dst[i] -= m.LengthPenalty * sum / n * float64(len(g[i].Tokens)) / float64(longest)
		if err := CheckReward(dst[i]); err != nil {
			return fmt.Errorf("completion %d: the reward after the length penalty is %w", i, err)
		}
	}
	return nil
}

// sum returns the completion's combined reward before the length penalty.
func (m Combine) sum(c *rollout.Completion) (float64, error) {
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
	if err := m.write(dst, g); err != nil {
		return fmt.Errorf("advantage: group %d, %w", gi, err)
	}
	for i := range g {
		g[i].Unscorable = math.IsNaN(dst[i])
	}
	return nil
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
