package sam

import "github.com/stepwise-rl/stepwise/rl/advantage"

// Rule is step credit: it rewrites Adv and Keep of a batch after an
// advantage.Estimator has filled them from the outcome rewards. It sees whole
// groups, because some rules compare the same step across a group.
//
// A token whose Keep it clears gets an Adv of 0, for a user may look at either.
// Rules of one's own are best written with [Measure], which sees to that.
//
// An error names group, completion and step. Settings that cannot be are an
// error too, also of an empty batch, so that a trainer can find them before it
// samples anything.
type Rule interface {
	Credit(batch []advantage.Group) (Stats, error)
}
