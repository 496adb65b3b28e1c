package advantage

import (
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rollout"
)

// ShapingFolder is an Estimator that may include the Shaping rewards in its
// statistics.
type ShapingFolder interface {
	FoldsShaping() bool
}

// AddShaping adds each completion's Shaping to its Adv, unless est has already
// folded it into its advantages. It comes after step credit, so that a KL penalty
// never decides which steps are masked.
//
// Masked tokens get it too, because it does not depend on the task's verdict, but
// their Keep stays false, and the losses of package objective train no masked token,
// whatever its advantage. So there a penalty in the reward does not hold them; one in
// the loss does (objective.KL with objective.MaskedStay).
//
// It is an error, naming group and completion, if Shaping is not one finite
// number per token.
func AddShaping(est Estimator, batch []rollout.Group) error {
	if f, ok := est.(ShapingFolder); ok && f.FoldsShaping() {
		return nil
	}
	for gi, g := range batch {
		for i := range g {
			c := &g[i]
			if err := checkShaping(c); err != nil {
				return at(gi, i, err)
			}
			if len(c.Adv) != len(c.Tokens) {
				return at(gi, i, fmt.Errorf("the lengths of Tokens and Adv are %d and %d, want them equal: run an estimator first", len(c.Tokens), len(c.Adv)))
			}
			for t, x := range c.Shaping {
				c.Adv[t] += x
			}
		}
	}
	return nil
}

// checkShaping returns an error unless Shaping is absent or one finite number
// per token.
func checkShaping(c *rollout.Completion) error {
	if c.Shaping == nil {
		return nil
	}
	if len(c.Shaping) != len(c.Tokens) {
		return fmt.Errorf("%d shaping rewards, want one per token: %d", len(c.Shaping), len(c.Tokens))
	}
	for t, x := range c.Shaping {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("shaping reward of token %d is %v, want a finite number", t, x)
		}
	}
	return nil
}
