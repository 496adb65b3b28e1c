package sam

import "github.com/stepwise-rl/stepwise/rl/advantage"

// Rule is step credit: it rewrites Adv and Keep of a batch after an
// advantage.Estimator has filled them from the outcome rewards. It sees whole
// groups, because some rules compare the same step across a group.
//
// An error names group, completion and step.
type Rule interface {
	Credit(batch []advantage.Group) (Stats, error)
}
