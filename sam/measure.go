package sam

import (
	"cmp"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/advantage"
)

// Measure is what a rule of your own needs besides its idea: it checks every
// group as the rules of this package do, calls credit to rewrite the group's
// Adv and Keep, and returns the Stats of what that did. Credit must leave the
// number of tokens, the steps and their verdicts as they are. An error of
// credit comes with the number of the group; it is not called again then.
func Measure(batch []advantage.Group, credit func(g advantage.Group) error) (Stats, error) {
	var failed error
	group := 0
	stats, err := eachGroup(batch, func([]completion) {
		if failed == nil {
			if err := credit(batch[group]); err != nil {
				failed = fmt.Errorf("sam: group %d: %w", group, err)
			}
		}
		group++
	})
	if err := cmp.Or(failed, err); err != nil {
		return Stats{}, err
	}
	return stats, nil
}
