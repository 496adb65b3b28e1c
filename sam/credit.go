package sam

import "github.com/stepwise-rl/stepwise/rollout"

// Credit says which tokens deserve the advantage: it rewrites Adv and Keep of a
// batch after an advantage.Estimator has filled them from the outcome rewards.
// It sees whole groups, because some kinds compare the same step across a group.
type Credit interface {
	// Validate returns an error that names the first invalid setting.
	Validate() error
	// Assign rewrites the batch and says what it did. A token whose Keep it
	// clears gets an Adv of 0, for a user may look at either. An error names
	// group, completion and step. A custom credit is best written with
	// [Measure], which sees to all that.
	Assign(batch []rollout.Group) (Stats, error)
}

// Outcome is no step credit: every token keeps its completion's advantage. It
// is the control for everything else, and still counts the statistics.
type Outcome struct{}

// Validate implements Credit.
func (Outcome) Validate() error { return nil }

// Assign implements Credit.
func (Outcome) Assign(batch []rollout.Group) (Stats, error) {
	return eachGroup(batch, func([]completion) {})
}
