package sam

import "github.com/stepwise-rl/stepwise/rl/advantage"

// StepStats counts what step credit did to the tokens of one step, over a batch.
type StepStats struct {
	// Kept and Masked count tokens by their Keep flag after the rule.
	Kept, Masked int
	// MassBefore and MassAfter are Σ|Adv| over the step's tokens before and
	// after the rule.
	MassBefore, MassAfter float64
	// Outcome counts completions by the step's verdict and the sign of the
	// outcome advantage: Outcome[verdict][0] negative, [1] zero, [2] positive.
	Outcome [3][3]int
}

// Stats is what a credit rule did to a batch. Stats of parts merge by addition.
type Stats struct {
	// Steps holds one entry per step name.
	Steps map[string]*StepStats
	// Outside counts the tokens outside every step.
	Outside StepStats
	// Completions counts completions; FullyMasked those without a kept
	// token; DeadGroups groups without any outcome advantage, and Groups all.
	Completions, FullyMasked, DeadGroups, Groups int
}

var _ = advantage.Unknown
