package explain

import (
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// Type is one possible completion and its probability.
type Type struct {
	// Completion has the fields that the estimator and the credit read: rewards,
	// tokens, steps.
	Completion rollout.Completion
	Prob       float64
}

// maxGroups bounds the number of groups that are listed.
const maxGroups = 5_000_000

// Groups lists all groups of n independent completions of the given types, runs
// estimator and credit on each as a batch of one group, and calls visit with the
// group's probability, the type of each completion, and the credited group, which
// visit must not keep. Groups that differ only in the order of their completions
// are listed once, so the credit must not depend on that order.
//
// It returns the first error of estimator or credit, and an error if there are
// more than five million groups.
func Groups(types []Type, n int, est advantage.Estimator, credit sam.Credit, visit func(prob float64, pick []int, g rollout.Group)) error {
	if n < 1 || len(types) == 0 {
		return fmt.Errorf("explain: groups of %d out of %d types, want at least 1 of each", n, len(types))
	}
	if err := errors.Join(est.Validate(), credit.Validate()); err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	count := 1.0 // C(types+n-1, n)
	for i := range n {
		count = count * float64(len(types)+i) / float64(i+1)
	}
	if count > maxGroups {
		return fmt.Errorf("explain: %.0f groups of %d out of %d types, want at most %d", count, n, len(types), maxGroups)
	}
	pick := make([]int, n)
	batch := []rollout.Group{make(rollout.Group, n)}
	g := batch[0]
	for {
		for i, j := range pick {
			adv, keep := g[i].Adv, g[i].Keep
			g[i] = types[j].Completion
			g[i].Adv, g[i].Keep = adv, keep
		}
		if err := est.Estimate(batch); err != nil {
			return fmt.Errorf("explain: %w", err)
		}
		if _, err := credit.Assign(batch); err != nil {
			return fmt.Errorf("explain: %w", err)
		}
		visit(probability(types, pick), pick, g)
		if !next(pick, len(types)) {
			return nil
		}
	}
}

// next steps to the next non-decreasing list of numbers below m; false after
// the last.
func next(pick []int, m int) bool {
	for i := len(pick) - 1; i >= 0; i-- {
		if pick[i]+1 < m {
			v := pick[i] + 1
			for j := i; j < len(pick); j++ {
				pick[j] = v
			}
			return true
		}
	}
	return false
}

// probability is that of the group in any order: n!/(m₁!·m₂!·…)·Π p.
func probability(types []Type, pick []int) float64 {
	p, run := 1.0, 0
	for i, j := range pick {
		if i > 0 && pick[i-1] == j {
			run++
		} else {
			run = 1
		}
		p *= types[j].Prob * float64(i+1) / float64(run)
	}
	return p
}
