package sam

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Credit decides which tokens deserve the advantage: it rewrites Adv and Keep of
// a batch after an advantage.Estimator has filled them from the outcome rewards.
// It sees whole groups, because some kinds compare the same step across a group.
type Credit interface {
	// Validate returns an error that names the first invalid setting.
	Validate() error
	// Assign rewrites the batch and returns statistics. A token whose Keep it
	// clears must have Adv 0, since callers may read either. An error names
	// group, completion and step. Write a custom credit with [Measure], which
	// takes care of all this.
	Assign(batch []rollout.Group) (Stats, error)
}

// Outcome is no step credit: every token keeps its completion's advantage. It is
// the control for all other kinds, and counts the same statistics.
type Outcome struct{}

// Validate implements Credit.
func (Outcome) Validate() error { return nil }

// Assign implements Credit.
func (Outcome) Assign(batch []rollout.Group) (Stats, error) {
	return eachGroup(batch, func([]completion) {})
}

// Measure does the bookkeeping of a custom credit: it checks every group as this
// package does, calls credit to rewrite the group's Adv and Keep, sets Adv to 0
// where Keep is cleared, and returns the Stats. Credit must leave the number of
// tokens, the steps and their verdicts alone. A step without tokens is blamed at
// rollout.Completion.Blamed. If credit fails or leaves a non-finite advantage,
// Measure stops with an error that names the group.
func Measure(batch []rollout.Group, credit func(g rollout.Group) error) (Stats, error) {
	group := 0
	return tryGroup(batch, func(view []completion) error {
		if err := credit(batch[group]); err != nil {
			return err
		}
		group++
		for i, c := range view {
			if err := c.settle(); err != nil {
				return fmt.Errorf("completion %d: %w", i, err)
			}
		}
		return nil
	})
}

// settle clears the advantages of masked tokens, or returns an error if what a
// custom credit left behind makes no sense.
func (c completion) settle() error {
	if len(c.Adv) != c.n || len(c.Keep) != c.n || len(c.Tokens) != c.n {
		return fmt.Errorf("the credit left Tokens, Adv and Keep with lengths %d, %d and %d, want %d as before", len(c.Tokens), len(c.Adv), len(c.Keep), c.n)
	}
	for t, a := range c.Adv {
		if !c.Keep[t] {
			c.Adv[t] = 0
		} else if !finite(a) {
			return fmt.Errorf("the credit gave token %d the advantage %v, want a finite number", t, a)
		}
	}
	return nil
}
