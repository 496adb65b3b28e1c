package sam

import "github.com/stepwise-rl/stepwise/rl/advantage"

// StepLOO is leave-one-out per criterion: each step's reward less the mean that
// the other completions of the group got at the same step,
//
//	Â_{i,t} = r_{i,k} − mean_{j≠i} r_{j,k}   for t in step k
//
// It is StepGroup with the one normaliser (advantage.RLOO) under which the
// gradient through a step's tokens is exactly that of E[Σ_k r_k] through them,
// for every group size; see there for what it leaves out and for broken and
// missing steps.
type StepLOO struct {
	// BrokenReward is the reward of a step that the policy broke, or the
	// step's own if that is worse.
	BrokenReward float64
}

// Credit implements Rule.
func (r StepLOO) Credit(batch []advantage.Group) (Stats, error) {
	return StepGroup{Norm: advantage.RLOO{}, BrokenReward: r.BrokenReward}.Credit(batch)
}
