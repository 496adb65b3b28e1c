package sam

import "github.com/stepwise-rl/stepwise/rl/advantage"

// Outcome is no step credit: every token keeps its completion's advantage. It
// is the control for all other rules, and still counts the statistics.
type Outcome struct{}

// Credit implements Rule.
func (Outcome) Credit(batch []advantage.Group) (Stats, error) {
	return eachGroup(batch, func([]completion) {})
}
