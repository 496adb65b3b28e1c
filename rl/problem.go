package rl

import (
	"context"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Problem is one example bound to its task: what to sample, and how to judge
// what comes back. Package task makes problems of examples; a user may write
// their own.
type Problem interface {
	// Request returns the prompt and how many completions to sample.
	Request() rollout.Request
	// Judge parses and scores one completion: it writes the judge's fields of
	// c. It may be called concurrently, for different completions.
	Judge(ctx context.Context, c *rollout.Completion) error
}

// Named is a Problem whose outcome rewards have names, under which metrics
// report them. Problems of package task are.
type Named interface {
	// RewardNames returns one name per outcome reward.
	RewardNames() []string
}

// Source yields problems. It is used by one goroutine.
type Source interface {
	// Next returns the next problem, or io.EOF when there is none left.
	Next(ctx context.Context) (Problem, error)
	// State returns where the source is; Restore goes back there.
	State() ([]byte, error)
	Restore(state []byte) error
}

// Lister is a Source that can say beforehand which problems it yields, in any
// order. NewTrainer looks at the first thousand, so that a request that cannot
// be sampled is found before the first step.
type Lister interface {
	List() []Problem
}

// Observer is a Source that learns from results, such as a curriculum. The
// trainer shows it every collection before it draws for the next.
type Observer interface {
	// Observe receives the problems of a collection, those that dynamic
	// sampling dropped included, and the judged group of each. It must not
	// change or keep them.
	Observe(problems []Problem, groups []rollout.Group) error
}
