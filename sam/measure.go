package sam

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/advantage"
)

// Measure is what a rule of your own needs besides its idea: it checks every
// group as the rules of this package do, calls credit to rewrite the group's
// Adv and Keep, sets Adv to 0 where Keep is cleared, and returns the Stats of
// what was done. Credit must leave the number of tokens, the steps and their
// verdicts as they are. Its error, and that of advantages that are not finite
// afterwards, ends it and names the group.
func Measure(batch []advantage.Group, credit func(g advantage.Group) error) (Stats, error) {
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
// foreign rule left behind makes no sense.
func (c completion) settle() error {
	tokens := 0
	if n := len(c.segments); n > 0 {
		tokens = c.segments[n-1].end
	}
	if len(c.Adv) != tokens || len(c.Keep) != tokens || c.Tokens != tokens {
		return fmt.Errorf("the rule left %d advantages and %d keep flags for %d tokens", len(c.Adv), len(c.Keep), tokens)
	}
	for t, a := range c.Adv {
		if !c.Keep[t] {
			c.Adv[t] = 0
		} else if !finite(a) {
			return fmt.Errorf("the rule gave token %d the advantage %v, want a finite number", t, a)
		}
	}
	return nil
}
